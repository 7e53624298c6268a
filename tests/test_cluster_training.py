"""Real Ray workers: the same student for 1 and 2 of them, and after each kind of kill."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tests.cluster_kit import (
    descendants,
    finish,
    newest_student,
    start,
    training_workers,
    wait_for_checkpoint,
)
from tests.vector_store import make_store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

SETTINGS = [
    "--epochs", "6", "--batch-size", "32", "--embedding", "8", "--validation-rows", "200",
    "--checkpoint-every", "100", "--precision", "float32",
]  # fmt: skip


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("cluster") / "store", rows=3000)


@pytest.fixture(scope="module")
def undisturbed(vectors, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "training"
    return finish(start(vectors, out, 2, SETTINGS), out), student(out)


def student(out):
    return safetensors.numpy.load_file(newest_student(out))


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_two_workers_train_the_student_that_one_process_trains(vectors, undisturbed, tmp_path):
    summary, weights = undisturbed
    alone = finish(start(vectors, tmp_path / "training", 0, SETTINGS), tmp_path / "training")
    assert alone["steps"] == summary["steps"]
    assert alone["spearman"] == pytest.approx(summary["spearman"], abs=0.01)
    for name, value in student(tmp_path / "training").items():
        # Sums over the batch run in another order: equal up to rounding, amplified by 500 steps.
        np.testing.assert_allclose(weights[name], value, atol=0.02)


def test_after_kill_9_of_a_worker_the_same_weights(vectors, undisturbed, tmp_path):
    process = start(vectors, tmp_path / "training", 2, SETTINGS)
    wait_for_checkpoint(tmp_path / "training", process)
    os.kill(training_workers(process.pid)[0], signal.SIGKILL)
    finish(process, tmp_path / "training")
    assert_same(student(tmp_path / "training"), undisturbed[1])


def test_after_kill_9_of_the_driver_the_same_command_ends_with_the_same_weights(
    vectors, undisturbed, tmp_path
):
    process = start(vectors, tmp_path / "training", 2, SETTINGS)
    wait_for_checkpoint(tmp_path / "training", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    summary = finish(start(vectors, tmp_path / "training", 2, SETTINGS), tmp_path / "training")
    assert not summary["already_done"]
    assert_same(student(tmp_path / "training"), undisturbed[1])


def test_one_ray_worker_equals_no_ray_to_the_bit(vectors, tmp_path):
    for workers in (0, 1):
        out = tmp_path / f"with-{workers}"
        finish(start(vectors, out, workers, SETTINGS), out)
    assert_same(student(tmp_path / "with-0"), student(tmp_path / "with-1"))


def test_an_evicted_driver_ends_with_143_and_takes_its_workers_along(vectors, tmp_path):
    process = start(vectors, tmp_path / "training", 1, [*SETTINGS, "--epochs", "60"])
    wait_for_checkpoint(tmp_path / "training", process)
    workers = descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.2)
