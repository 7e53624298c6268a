"""Trainings and Ray's nodes in processes of their own, to be watched and killed."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RAY = Path(sys.executable).with_name("ray")
ROOT = Path(__file__).parents[1]


def newest_student(out):
    """The weights of the newest checkpoint."""
    return max((out / "checkpoints").glob("step-*")) / "student.safetensors"


def start(store, out, workers, flags):
    """Begin a training in a process of its own."""
    command = [sys.executable, "-m", "distill_jobs", "train", "--store", store, "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    with log_of(out).open("a") as log:
        return subprocess.Popen(
            [str(word) for word in [*command, "--workers", workers, *flags]],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            cwd=ROOT,
        )


def log_of(out):
    """Where a training's messages go."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.with_suffix(".log")


def finish(process, out):
    """The summary of a training that must end well."""
    printed, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, log_of(out).read_text()[-3000:]
    return json.loads(printed[printed.index("{\n") :])


def wait_for_checkpoint(out, process):
    """Return when the first checkpoint is whole."""
    deadline = time.monotonic() + 600
    while not list((out / "checkpoints").glob("step-*/state.json")):
        assert process.poll() is None, log_of(out).read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def lines(out):
    """What a training has logged so far."""
    log = out / "metrics.jsonl"
    text = log.read_text() if log.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def wait_for_lines(out, more_than, process):
    """Return when a training has logged more than so many lines."""
    deadline = time.monotonic() + 300
    while len(lines(out)) <= more_than:
        assert process.poll() is None, log_of(out).read_text()[-3000:]
        assert time.monotonic() < deadline, log_of(out).read_text()[-3000:]
        time.sleep(0.1)


def resumed(out):
    """The steps at which a training's workers went on from a checkpoint, in order."""
    # Both nodes of one machine send on the same log: a line may be there twice.
    found = re.findall(r'pid=(\d+).*"event": "resumed", "step": (\d+)', log_of(out).read_text())
    return [int(step) for _, step in dict.fromkeys(found)]


def summary_of(out):
    """What a submitted training has printed last."""
    said = log_of(out).read_text()
    return json.loads(said[said.index("{\n") : said.rindex("\n}\n") + 2])


def descendants(pid):
    """Process ids below one, from /proc."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(
                (folder / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except (OSError, IndexError):
            continue
    found, edge = [], [pid]
    while edge:
        edge = [child for child, parent in parents.items() if parent in edge]
        found += edge
    return found


def training_workers(driver):
    """Ray renames a training worker's process after its actor class."""
    names = {}
    for pid in descendants(driver):
        try:
            names[pid] = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            continue
    return [pid for pid, name in names.items() if "RayTrainWorker" in name]


def free_port():
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


class Nodes:
    """A Ray cluster whose nodes all run on this machine, each with one processor.

    It asks for a token and has ports of its own. It ends no process but its own: `ray stop` would
    end every Ray on the machine.
    """

    def __init__(self, folder):
        self._log = folder / "nodes.log"
        token = folder / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        # Not below pytest's folder: the paths of Unix sockets must be short.
        self._temporary = Path(tempfile.mkdtemp(prefix="ray-"))
        self._port = free_port()
        self._started = []
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        self.environment = {
            **inherited,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{free_port()}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "OMP_NUM_THREADS": "1",
        }

    def __enter__(self):
        dashboard = self.environment["RAY_API_SERVER_ADDRESS"].rpartition(":")[2]
        try:
            self.head = self._start(
                *("--head", "--port", self._port, "--ray-client-server-port", free_port()),
                *("--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard),
                *("--temp-dir", self._temporary),
            )
            self.wait_for(1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node in self._started:
            self.kill(node)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add(self):
        """Start a node beside the head."""
        return self._start("--address", f"127.0.0.1:{self._port}")

    def kill(self, node):
        """End all of a node with signal 9, as a machine that loses power does."""
        if node.poll() is not None:
            return
        for pid in [node.pid, *descendants(node.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()

    def wait_for(self, number):
        """Return when so many nodes are alive."""
        deadline = time.monotonic() + 120
        while self._alive() != number:
            assert all(node.poll() is None for node in self._started[-1:]), self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.5)

    def submit(self, log, words, **environment):
        """`ray job submit` in a process of its own, which follows the job and ends as it does."""
        with log.open("w") as file:
            return subprocess.Popen(
                [str(word) for word in (RAY, "job", "submit", *words)],
                stdout=file,
                stderr=file,
                env={**self.environment, **environment},
            )

    def _alive(self):
        command = [RAY, "list", "nodes", "--format", "json", "--filter", "state=ALIVE"]
        command += ["--address", self.environment["RAY_API_SERVER_ADDRESS"]]
        asked = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        return asked.stdout.count('"state": "ALIVE"')

    def _start(self, *flags):
        command = [RAY, "start", "--block", "--num-cpus", 1, "--object-store-memory", 200 << 20]
        command += ["--min-worker-port", 0, "--max-worker-port", 0]
        for port in ("node-manager-port", "object-manager-port", "dashboard-agent-listen-port"):
            command += [f"--{port}", free_port()]
        with self._log.open("a") as log:
            node = subprocess.Popen(
                [str(word) for word in (*command, *flags)],
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        self._started.append(node)
        return node
