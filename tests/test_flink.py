"""A real Flink cluster of six processes: the embedded runner's tables, also after kill -9."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from schemas import store

ROOT = Path(__file__).parents[1]
TEACHER = ROOT / "deploy" / "demo" / "teacher-zh-tiny"
UNAVAILABLE = 69
PORTS = 6
ROWS = 8_000

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def run(*words, environment=None, **more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, **more
    )


def free_ports():
    """The first of six ports that nobody listens at."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, PORTS):
        with contextlib.ExitStack() as sockets, contextlib.suppress(OSError):
            for port in range(first, first + PORTS):
                sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no ports are free")


class Cluster:
    """A folder and ports of its own, driven by the commands that people use."""

    def __init__(self, folder, port=None):
        self.folder = folder
        self.port = port or free_ports()

    def __call__(self, *words, **environment):
        script = ROOT / "deploy" / "flink" / "cluster.py"
        environment = {"LTD_FLINK_PORT": str(self.port), **environment}
        return run(script, "--folder", self.folder, *words, environment=environment, timeout=900)

    def pids(self):
        return json.loads((self.folder / "processes.json").read_text())

    def options(self):
        return self("options").stdout.split()

    def jobs(self):
        """Name -> state, from Flink itself."""
        url = f"http://127.0.0.1:{self.port}/jobs/overview"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return {job["name"]: job["state"] for job in json.load(answer)["jobs"]}


@pytest.fixture(scope="module")
def flink(tmp_path_factory):
    if sys.platform != "linux":
        pytest.skip("needs Linux, which answers on all of 127.0.0.0/8")
    cluster = Cluster(tmp_path_factory.mktemp("flink"))
    begun = cluster("up")
    if begun.returncode == UNAVAILABLE:
        pytest.skip(begun.stderr)
    assert begun.returncode == 0, begun.stderr
    yield cluster
    ended = cluster("down")
    assert "ended job-server" in ended.stdout
    assert cluster("down").stdout == "nothing ran\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    made = run("-m", "pipelines", "sample", "--out", folder / "sample")
    assert made.returncode == 0, made.stderr
    lines = (folder / "sample" / "corpus.txt").read_text("utf-8").splitlines()[:ROWS]
    path = folder / "corpus.txt"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def idf(corpus, folder, options=()):
    return ["-m", "pipelines", "idf", "--corpus", corpus, "--out", folder / "idf", "--", *options]


def teacher(corpus, folder, idf, options=()):
    words = ["-m", "pipelines", "teacher", "--corpus", corpus, "--idf", idf, "--teacher", TEACHER]
    words += ["--out", folder / "teacher", "--date", "2026-01-01", "--rows-per-part", 800]
    return [*words, "--", *options]


def done(words):
    ended = run(*words, timeout=600)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout)


def begin(words, log):
    """A job in a process of its own, to be hit."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, words)]
    with log.open("w") as errors:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )


def wait_until(seen, job=None):
    deadline = time.monotonic() + 300
    while not seen():
        assert job is None or job.poll() is None, "it ended before it could be hit"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def embedded(corpus, tmp_path_factory):
    """Folder with the tables idf and teacher of the embedded runner."""
    folder = tmp_path_factory.mktemp("embedded")
    done(idf(corpus, folder))
    done(teacher(corpus, folder, folder / "idf"))
    return folder


def compare(one, other):
    return run(ROOT / "deploy" / "flink" / "same.py", one, other)


def assert_same(one, other):
    compared = compare(one, other)
    assert compared.returncode == 0, compared.stderr
    number = len(store.open_store(str(other)).parts)
    assert re.search(rf"the same {number} parts?, byte for byte", compared.stdout)


def started_workers(flink, number):
    log = flink.folder / "logs" / f"taskmanager-{number}-workers.log"
    return log.read_text().count("Starting worker")


def test_idf_and_teacher_on_flink_write_the_embedded_runner_s_bytes(
    flink, embedded, corpus, tmp_path
):
    done(idf(corpus, tmp_path, flink.options()))
    assert_same(tmp_path / "idf", embedded / "idf")
    summary = done(teacher(corpus, tmp_path, tmp_path / "idf", flink.options()))
    assert_same(tmp_path / "teacher", embedded / "teacher")
    assert summary["new"] == ROWS
    # Beam's counters come back from the workers of both TaskManagers.
    gauges = (tmp_path / "teacher.runs" / "teacher.prom").read_text()
    of = f'{{store="{tmp_path / "teacher"}"}}'
    assert f"ltd_teacher_beam_sentences_embedded{of} {ROWS}.0\n" in gauges
    assert min(started_workers(flink, number) for number in (1, 2)) >= 2


def test_a_taskmanager_is_killed_and_the_bytes_are_the_same(flink, embedded, corpus, tmp_path):
    words = teacher(corpus, tmp_path, embedded / "idf", flink.options())
    with begin(words, tmp_path / "log") as job:
        wait_until(lambda: list((tmp_path / "teacher.staging").glob("*/*.json")), job)
        before = flink.pids()
        assert "killed taskmanager-1" in flink("kill-taskmanager", "1").stdout
        assert not (tmp_path / "teacher" / "_delta_log").exists(), "it came too late"
        again = flink("up")
        assert again.returncode == 0, again.stderr
        after = flink.pids()
        assert {name for name in after if after[name] != before[name]} == {"taskmanager-1"}
        printed, _ = job.communicate(timeout=600)
    assert job.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert json.loads(printed)["parts_kept_from_earlier_try"] >= 1
    assert_same(tmp_path / "teacher", embedded / "teacher")
    assert len(store.open_store(str(tmp_path / "teacher")).commits) == 1


def test_too_many_bad_lines_are_told_through_flink_with_exit_code_65(flink, tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes("今天天气很好\n".encode() * 9 + b"\xff\xfe\n")
    ended = run(*idf(path, tmp_path, flink.options()), timeout=600)
    assert ended.returncode == 65, ended.stderr[-3000:]
    assert ended.stderr.splitlines()[-1].startswith("error: 1 of 10 records are bad")
    assert not (tmp_path / "idf" / "_delta_log").exists()


def test_an_evicted_command_takes_its_flink_job_along(flink, corpus, tmp_path):
    before = flink.jobs()
    with begin(idf(corpus, tmp_path, flink.options()), tmp_path / "log") as job:
        wait_until(lambda: len(flink.jobs().keys() - before.keys()) == 2, job)  # the first asks
        wait_until(lambda: "RUNNING" in flink.jobs().values(), job)
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=60)
    assert job.returncode == 143, (tmp_path / "log").read_text()[-3000:]
    wait_until(lambda: "RUNNING" not in flink.jobs().values())
    new = {name: state for name, state in flink.jobs().items() if name not in before}
    assert sorted(new.values()) == ["CANCELED", "FINISHED"]


def test_workers_that_cannot_start_end_the_job_with_75_and_its_slots_are_free(flink):
    before = flink.jobs()
    os.kill(flink.pids()["taskmanager-2-workers"][0], signal.SIGKILL)
    ended = run("-m", "pipelines", "workers", "--wait-minutes", "0.5", "--", *flink.options())
    assert ended.returncode == 75, ended.stderr[-3000:]
    assert "no worker has answered within 0.5 minutes" in ended.stderr
    new = {name: state for name, state in flink.jobs().items() if name not in before}
    wait_until(lambda: "CANCELED" in [flink.jobs()[name] for name in new])
    assert "started taskmanager-2-workers" in flink("up").stdout


def test_up_again_starts_nothing(flink):
    before = flink.pids()
    again = flink("up")
    assert again.stdout.startswith("Flink runs already\n")
    assert flink.pids() == before


def test_a_port_that_is_taken_is_named_and_how_to_move_it(flink, tmp_path):
    second = Cluster(tmp_path, flink.port)
    refused = second("up")
    assert refused.returncode == 1
    assert f"jobmanager needs port {flink.port} of 127.0.0.1" in refused.stderr
    assert "LTD_FLINK_PORT" in refused.stderr
    assert second("down").stdout == "nothing ran\n"


def test_a_start_that_fails_shows_the_log_and_leaves_nothing_behind(flink, tmp_path):
    java = tmp_path / "home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    says = 'openjdk version "17.0.1"'
    java.write_text(f"#!/bin/sh\n[ $1 = -version ] && echo '{says}' >&2 && exit\necho no luck\n")
    java.chmod(0o755)
    fake = tmp_path / "fake"
    broken = Cluster(fake)
    refused = broken("up", JAVA_HOME=str(java.parents[1]))
    assert refused.returncode == 1
    assert "jobmanager ended" in refused.stderr
    assert "no luck" in refused.stderr
    assert broken.pids() == {}


def test_without_java_it_says_what_is_missing(tmp_path):
    refused = Cluster(tmp_path)("up", JAVA_HOME=str(tmp_path))
    assert refused.returncode == UNAVAILABLE
    assert "Flink 1.19 needs Java 17" in refused.stderr


def test_a_jar_that_differs_is_named(flink, tmp_path):
    folder = tmp_path / "flink" / "flink-1.19.3"
    folder.mkdir(parents=True)
    (folder / "flink-cep-1.19.3.jar").write_bytes(b"something else")
    refused = Cluster(tmp_path / "cluster")("up", LTD_CACHE=str(tmp_path))
    assert refused.returncode == 1
    assert "flink-cep-1.19.3.jar has sha256" in refused.stderr
    assert "jars.sha256 says" in refused.stderr


def test_tables_that_differ_are_not_called_the_same(embedded):
    compared = compare(embedded / "idf", embedded / "teacher")
    assert compared.returncode == 1
    assert "fingerprint" in compared.stderr
