"""Trainings in processes of their own, to be watched and killed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


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
            cwd=Path(__file__).parents[1],
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
