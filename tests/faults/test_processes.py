"""Workers that die, schedulers that evict, clocks that go back."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from schemas import command, store
from tests.cluster_kit import descendants
from tests.faults.kit import Child, Job, Stop, result_of, side_by_side, summary_of, wait_for
from tests.faults.test_resources import train

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
GRACE = 30  # seconds that Kubernetes gives by default


def sdk_workers(driver: int) -> list[int]:
    """Beam's worker processes below a driver."""
    found = []
    for pid in descendants(driver):
        try:
            if b"sdk_worker_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def busiest(pids: list[int]) -> int:
    """The process that has computed most: it has the bundle."""
    return max(pids, key=lambda pid: sum(map(int, _stat(pid)[11:13])))


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the third, the state, on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def is_running(pid: int) -> bool:
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def many_shards(job_flags, sentences, tmp_path):
    """Function (out) -> flags of a teacher job with some hundred shards."""
    lines = [f"{number}号{text}" for number in range(4) for text in sentences]
    (tmp_path / "many.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def flags(out: Path) -> list[object]:
        found = job_flags("teacher", out)
        found[found.index("--corpus") + 1] = tmp_path / "many.txt"
        return found

    return flags


def test_after_kill_9_of_a_beam_worker_the_driver_ends_and_the_same_command_finishes(
    many_shards, matrix, tmp_path
):
    matrix.rows(1)
    out = tmp_path / "out"
    beam = ["--", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    words = [sys.executable, "-m", "pipelines", "teacher", *many_shards(out), *beam]
    # With as many threads as a forked child has: another number rounds otherwise.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            list(map(str, words)), cwd=ROOT, env=environment, stdout=log, stderr=log
        ) as driver,
    ):
        try:
            wait_for(lambda: list(tmp_path.glob("out.staging/*/part-*.json")))
            workers = sdk_workers(driver.pid)
            began = time.monotonic()
            os.kill(busiest(workers), signal.SIGKILL)
            status = driver.wait(60)
        finally:
            driver.kill()
    seconds = time.monotonic() - began
    assert status == 1, (tmp_path / "log").read_text()[-3000:]
    wait_for(lambda: not any(map(is_running, workers)), 30)
    assert not store.exists(out)
    finished = len(list(tmp_path.glob("out.staging/*/part-*.json")))
    again = Job(tmp_path, "teacher", many_shards(out)).end()
    assert again.status == 0, again.told
    assert summary_of(again)["parts_kept_from_earlier_try"] == finished >= 1
    assert Job(tmp_path, "teacher", many_shards(tmp_path / "alone")).end().status == 0
    assert result_of(out) == result_of(tmp_path / "alone")
    matrix.count(most_seconds_until_the_driver_ended=round(seconds))


def test_a_job_that_is_evicted_at_any_step_ends_in_time_commits_nothing_and_goes_on_later(
    job_flags, matrix, tmp_path
):
    matrix.rows(24)
    alone = Job(tmp_path, "teacher", job_flags("teacher", tmp_path / "alone"))
    assert alone.end().status == 0
    result = result_of(tmp_path / "alone")
    commit = alone.steps().index(f"write {tmp_path / 'alone'}") + 1

    def evict(step: int) -> float:
        folder = tmp_path / str(step)
        flags = job_flags("teacher", folder / "out")
        job = Job(folder, "teacher", flags, Stop(step, until=folder / "never"))
        wait_for(lambda: len(job.steps()) == step)
        os.kill(job.process.pid, signal.SIGTERM)
        began = time.monotonic()
        ended = job.end()
        assert ended.status == 143, ended.told
        assert "ended by SIGTERM; the same command goes on from what is done" in ended.told
        assert not store.exists(folder / "out")
        assert Job(folder, "teacher", flags).end().status == 0
        assert result_of(folder / "out") == result
        return time.monotonic() - began

    seconds = side_by_side(evict, range(1, commit + 1, 2))
    assert max(seconds) < GRACE
    matrix.count(evictions=len(seconds))


@dataclasses.dataclass(frozen=True)
class StubbornConfig:
    """Nothing to set."""


def be_stubborn() -> None:
    """In a child: be a job with a thread that does not end."""
    command._GRACE = 1
    threading.Thread(target=time.sleep, args=(GRACE,)).start()

    def job(config: object) -> dict[str, object]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    command.run_job(StubbornConfig, [], job)


def test_a_thread_that_does_not_end_does_not_hold_up_an_evicted_job(matrix, tmp_path):
    matrix.rows(24)
    ended = Child(tmp_path, be_stubborn).end()
    assert ended.status == 143, ended.told
    assert ended.seconds < GRACE / 2


def test_an_evicted_training_keeps_its_checkpoint_and_ends_later_with_the_same_weights(
    small_store, matrix, tmp_path
):
    matrix.rows(24)
    assert Child(tmp_path, train, str(small_store), str(tmp_path / "alone")).end().status == 0
    out = tmp_path / "training"
    training = Child(tmp_path, train, str(small_store), str(out))
    wait_for(lambda: list(out.glob("checkpoints/step-*/state.json")))
    os.kill(training.process.pid, signal.SIGTERM)
    ended = training.end(GRACE)
    assert ended.status == 143, ended.told
    assert list(out.glob("checkpoints/step-*/state.json"))
    again = Child(tmp_path, train, str(small_store), str(out)).end()
    assert again.status == 0, again.told
    assert '"event": "resumed"' in again.told
    last = [max((one / "checkpoints").glob("step-*")) for one in (out, tmp_path / "alone")]
    students = [(path / "student.safetensors").read_bytes() for path in last]
    assert students[0] == students[1]


def set_clock_back(seconds: int, zone: str) -> None:
    """In a child: a clock that is late, in another time zone."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - seconds
    time.time_ns = lambda: now_ns() - seconds * 10**9
    os.environ["TZ"] = zone
    time.tzset()


# Europe/Berlin has changed to summer time in the day before; Lord Howe's changes by half an hour.
CLOCKS = [(86_400, "Europe/Berlin"), (-1_800, "Australia/Lord_Howe")]


@pytest.mark.parametrize("clock", CLOCKS)
def test_the_clock_and_its_zone_change_neither_run_ids_nor_bytes_nor_the_order_of_versions(
    clock, job_flags, sentences, matrix, tmp_path
):
    matrix.rows(12)
    first = functools.partial(set_clock_back, *clock)
    for job in ("idf", "teacher"):
        for name, before in (("usual", None), ("other", first)):
            flags = job_flags(job, tmp_path / name / job)
            assert Job(tmp_path, job, flags, first=before).end().status == 0
        assert result_of(tmp_path / "usual" / job) == result_of(tmp_path / "other" / job)
        again = summary_of(Job(tmp_path, job, flags).end())
        assert again["already_done" if job == "teacher" else "reused"]
    more = tmp_path / "more.txt"
    more.write_text("\n".join(sentences[50:55]) + "\n", encoding="utf-8")
    flags = [*job_flags("teacher", tmp_path / "usual" / "teacher"), "--corpus", more]
    ended = Job(tmp_path, "teacher", [*flags, "--date", "2026-01-02"], first=first).end()
    assert (summary_of(ended)["version"], summary_of(ended)["new"]) == (1, 5)
    assert summary_of(ended)["teacher_seconds"] >= 0
    times = [one.time for one in store.open_store(tmp_path / "usual" / "teacher").commits]
    assert len(times) == 2
