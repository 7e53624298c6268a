"""Workers that are not fit for a job are found before it is submitted."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from pipelines.idf import IdfConfig, count_idf
from pipelines.running import beam_options
from pipelines.workers import WorkersConfig, check_workers, show
from schemas import store
from schemas.code_version import code_version
from schemas.command import RetryLater
from tests import beam_cluster

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def service():
    with beam_cluster.job_service() as port:
        yield ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}"]


@pytest.fixture
def pool(service):
    """Options for a worker pool that is started with an environment of its own."""
    begun = []

    def begin(**environment):
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        one = beam_cluster.worker_pool(**{"PATH": path, **environment})
        begun.append(one)
        port = one.__enter__()
        return [*service, "--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]

    yield begin
    for one in begun:
        one.__exit__(None, None, None)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("今天天气很好\n北京欢迎你\n", "utf-8")
    return str(path)


def ask(options, **settings):
    return show(WorkersConfig(runner_options=tuple(options), **settings))


def test_workers_say_what_they_run_and_see(pool, corpus):
    found = ask(pool(), see=(corpus,))
    (worker,) = found["workers"]
    assert worker["ltd-bert"] == code_version()
    assert worker["missing"] == []
    assert found["here"].items() <= worker.items()


def test_a_worker_with_another_state_of_the_project_is_refused(pool, corpus, tmp_path):
    for package in ("schemas", "pipelines", "distill_jobs"):
        shutil.copytree(ROOT / package, tmp_path / "old" / package)
    with (tmp_path / "old" / "pipelines" / "blocks.py").open("a") as file:
        file.write("# as it was yesterday\n")
    options = pool(PYTHONPATH=str(tmp_path / "old"))
    with pytest.raises(ValueError, match=rf"has ltd-bert \S+, here it is {code_version()[:6]}"):
        count_idf(IdfConfig(corpus=(corpus,), out=str(tmp_path / "idf"), runner_options=options))
    assert not store.exists(tmp_path / "idf")
    assert {one.name for one in tmp_path.iterdir()} == {"old", "corpus.txt"}


def test_a_path_that_workers_do_not_see_is_named(pool):
    with pytest.raises(ValueError, match=r"does not see /no/such/corpus\.txt"):
        ask(pool(), see=("/no/such/corpus.txt",))


def test_a_worker_that_cannot_start_is_not_waited_for_for_ever(pool, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(RetryLater, match=r"no worker has answered within 0\.05 minutes"):
        ask(pool(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}"), wait_minutes=0.05)


def test_a_job_whose_workers_are_fit_runs_and_leaves_nothing_of_the_question(
    pool, corpus, tmp_path
):
    out = str(tmp_path / "idf")
    told = count_idf(IdfConfig(corpus=(corpus,), out=out, runner_options=tuple(pool())))
    assert told["sentences"] == 2
    assert not Path(f"{out}.staging").exists()


def test_runners_that_bring_their_workers_along_are_not_asked(tmp_path):
    check_workers(beam_options([]), ["/no/such/path"], str(tmp_path / "out"), 1)


def test_no_time_to_answer_is_refused():
    with pytest.raises(ValueError, match="wait_minutes must be more than 0, got 0"):
        WorkersConfig(wait_minutes=0)
