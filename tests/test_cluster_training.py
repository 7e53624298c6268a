"""Real Ray workers: the same student for 1 and 2 of them, and after each kind of kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.vector_store import make_store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SETTINGS = [
    "--epochs", "12", "--batch-size", "32", "--embedding", "8", "--validation-rows", "200",
    "--checkpoint-every", "40", "--precision", "float32",
]  # fmt: skip


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("cluster") / "store", rows=3000)


def start(vectors, out, workers):
    command = [sys.executable, "-m", "distill_jobs", "train", "--store", vectors, "--out", out]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    return subprocess.Popen(
        [str(word) for word in [*command, "--workers", workers, *SETTINGS]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[1],
    )


def finish(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out[out.index("{\n") :])


def student(out):
    newest = max((out / "checkpoints").glob("step-*"))
    return safetensors.numpy.load_file(newest / "student.safetensors")


def wait_for_checkpoint(out, process):
    deadline = time.monotonic() + 300
    while not list((out / "checkpoints").glob("step-*/state.json")):
        assert process.poll() is None, process.stderr.read()[-3000:]
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


@pytest.fixture(scope="module")
def undisturbed(vectors, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "training"
    return finish(start(vectors, out, 2)), student(out)


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_two_workers_train_the_student_that_one_process_trains(vectors, undisturbed, tmp_path):
    summary, weights = undisturbed
    alone = finish(start(vectors, tmp_path / "training", 0))
    assert alone["steps"] == summary["steps"]
    assert alone["spearman"] == pytest.approx(summary["spearman"], abs=0.01)
    for name, value in student(tmp_path / "training").items():
        # Sums over the batch run in another order: equal up to rounding, amplified by 1,000 steps.
        np.testing.assert_allclose(weights[name], value, atol=0.02)


def test_after_kill_9_of_a_worker_the_same_weights(vectors, undisturbed, tmp_path):
    process = start(vectors, tmp_path / "training", 2)
    wait_for_checkpoint(tmp_path / "training", process)
    os.kill(training_workers(process.pid)[0], signal.SIGKILL)
    finish(process)
    assert_same(student(tmp_path / "training"), undisturbed[1])


def test_after_kill_9_of_the_driver_the_same_command_ends_with_the_same_weights(
    vectors, undisturbed, tmp_path
):
    process = start(vectors, tmp_path / "training", 2)
    wait_for_checkpoint(tmp_path / "training", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    summary = finish(start(vectors, tmp_path / "training", 2))
    assert not summary["already_done"]
    assert_same(student(tmp_path / "training"), undisturbed[1])


def test_one_ray_worker_equals_no_ray_to_the_bit(vectors, tmp_path):
    for workers in (0, 1):
        finish(start(vectors, tmp_path / f"with-{workers}", workers))
    assert_same(student(tmp_path / "with-0"), student(tmp_path / "with-1"))
