"""A Ray cluster of two nodes that asks for a token: a submitted training outlives one of them."""

import re
import shutil
import sys
import time

import numpy as np
import pytest
import safetensors.numpy

from distill_jobs import checkpoint
from tests.cluster_kit import (
    ROOT,
    Nodes,
    finish,
    lines,
    log_of,
    newest_student,
    resumed,
    start,
    summary_of,
    wait_for_checkpoint,
    wait_for_lines,
)
from tests.vector_store import make_store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SETTINGS = [
    "--epochs", 20, "--batch-size", 32, "--embedding", 8, "--validation-rows", 200,
    "--checkpoint-every", 200, "--precision", "float32", "--learning-rate", 0.002,
]  # fmt: skip


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("nodes") / "store", rows=3000)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Nodes(tmp_path_factory.mktemp("ray")) as nodes:
        # Before any training: Ray may learn of a node 20 s later, Ray Train grows once a minute.
        nodes.second = nodes.add()
        nodes.wait_for(2)
        yield nodes


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """What `--working-dir` sends to a cluster that does not have the project installed."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("distill_jobs", "schemas"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    return folder


def submit(cluster, package, vectors, out, **environment):
    train = [sys.executable, "-m", "distill_jobs", "train", "--store", vectors, "--out", out]
    train += ["--workers", 2, "--min-workers", 1, *SETTINGS]
    return cluster.submit(log_of(out), ["--working-dir", package, "--", *train], **environment)


def test_a_client_without_the_token_is_refused(cluster, package, vectors, tmp_path):
    out = tmp_path / "training"
    job = submit(cluster, package, vectors, out, RAY_AUTH_MODE="disabled")
    assert job.wait(timeout=60) != 0
    assert "Unauthorized: Missing authentication token" in log_of(out).read_text()
    assert not out.exists()


def test_an_error_of_ours_ends_the_job_at_once_and_is_what_it_says(
    cluster, package, vectors, tmp_path
):
    broken = tmp_path / "package"
    shutil.copytree(package, broken)
    loop = broken / "distill_jobs" / "loop.py"
    first = "    rank, world = _place()\n    device"
    assert first in loop.read_text()
    complaint = '    raise ValueError("the worker says no")\n'
    loop.write_text(loop.read_text().replace(first, complaint + first))
    out = tmp_path / "training"
    job = submit(cluster, broken, vectors, out)
    assert job.wait(timeout=120) != 0
    said = log_of(out).read_text()
    assert "\nerror: the worker says no\n" in said
    assert "command failed with exit code 65" in said
    workers = re.findall(r"RayTrainWorker pid=(\d+)\).*Error in training function", said)
    assert 1 <= len(set(workers)) <= 2  # one start of two workers, not four
    assert len(list((out / "ray").glob("attempt-*"))) == 1


def test_a_lost_node_costs_the_steps_since_a_checkpoint_and_nothing_else(
    cluster, package, vectors, tmp_path
):
    out = tmp_path / "training"
    job = submit(cluster, package, vectors, out)
    wait_for_checkpoint(out, job)
    wait_for_lines(out, len(lines(out)), job)
    killed = time.monotonic()
    cluster.kill(cluster.second)
    time.sleep(2)  # for lines that were on their way
    known = lines(out)
    wait_for_lines(out, len(known), job)
    took = time.monotonic() - killed
    cluster.add()
    assert job.wait(timeout=400) == 0, log_of(out).read_text()[-3000:]
    assert "from rank 1" in log_of(out).read_text()  # both nodes had a worker
    again = known[-1]["step"] - resumed(out)[0]
    assert 0 <= again <= 200  # as many steps as lie between two checkpoints
    sys.stderr.write(f"a node killed: next steps after {took:.1f} s, {again} done again\n")

    alone, summary = tmp_path / "alone", summary_of(out)
    undisturbed = finish(start(vectors, alone, 0, SETTINGS), alone)
    assert summary["steps"] == undisturbed["steps"] == lines(out)[-1]["step"]
    assert summary["rows_learned"] == 20 * [summary["training_rows"]]
    states = [checkpoint.read_state(newest_student(one).parent) for one in (out, alone)]
    assert states[0].rows_learned == states[1].rows_learned
    assert summary["spearman"] == pytest.approx(undisturbed["spearman"], abs=0.01)
    weights = safetensors.numpy.load_file(newest_student(alone))
    for name, value in safetensors.numpy.load_file(newest_student(out)).items():
        # Sums over the batch run in another order: equal up to rounding, amplified by the steps.
        np.testing.assert_allclose(value, weights[name], atol=0.02, err_msg=name)
