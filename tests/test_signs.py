"""A job whose workers show nothing is ended; one that goes on is not."""

import time
from pathlib import Path

import apache_beam as beam
import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from pipelines import signs
from pipelines.running import beam_options, run_once
from pipelines.signs import Watch, staging_of
from schemas.command import RetryLater
from tests import beam_cluster

# The workers of a job service that has ended complain in their threads.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

SECOND = 1 / 60


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(signs, "EVERY", 0.0)
    monkeypatch.setattr(signs, "_LOOK", 0.0)


def test_a_process_leaves_one_sign_and_renews_it(tmp_path, often):
    staging = staging_of(str(tmp_path / "out"), "run")
    signs.work_for(staging)
    for _ in range(3):
        signs.show()
    assert [path.suffix for path in Path(staging).iterdir()] == [".sign"]


def test_signs_are_few(tmp_path):
    signs.work_for(staging_of(str(tmp_path / "out"), "run"))
    signs.show()
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_stalled_when_nothing_changes_for_the_stated_time(tmp_path, often):
    staging = staging_of(str(tmp_path / "out"), "run")
    watch = Watch(staging, 0.3 * SECOND)
    assert watch.complaint() is None
    time.sleep(0.2)
    signs.work_for(staging)
    signs.show()
    assert watch.complaint() is None
    time.sleep(0.2)
    assert watch.complaint() is None
    time.sleep(0.2)
    assert "no sign of any worker for 0.005 minutes (last were " in watch.complaint()


def test_without_any_sign_it_says_so(tmp_path, often):
    watch = Watch(str(tmp_path), 1e-9)
    watch.complaint()
    assert "there was none at all" in watch.complaint()


def test_a_run_may_be_waited_for_for_ever(tmp_path, often):
    watch = Watch(str(tmp_path), 0)
    time.sleep(0.01)
    assert watch.complaint() is None


@pytest.fixture(scope="module")
def options():
    with beam_cluster.job_service() as port:
        endpoint = f"--job_endpoint=localhost:{port}"
        yield ["--runner=PortableRunner", endpoint, "--environment_type=LOOPBACK"]


def waiting(options, step):
    pipeline = beam.Pipeline(options=beam_options(options))
    _ = pipeline | beam.Create([1]) | "Wait" >> beam.Map(step)
    return pipeline


def states(options):
    """Job -> its state, as the job service has it."""
    (endpoint,) = [one.partition("=")[2] for one in options if "endpoint" in one]
    with grpc.insecure_channel(endpoint) as channel:
        jobs = beam_job_api_pb2_grpc.JobServiceStub(channel).GetJobs(
            beam_job_api_pb2.GetJobsRequest()
        )
    return {one.job_id: beam_job_api_pb2.JobState.Enum.Name(one.state) for one in jobs.job_info}


def test_a_job_on_a_cluster_that_shows_nothing_is_cancelled(options, tmp_path, often):
    before = states(options)
    step = waiting(options, lambda _: time.sleep(60))
    began = time.monotonic()
    with pytest.raises(RetryLater, match="the same command goes on from what is done"):
        run_once(step, str(tmp_path / "out"), "run", 2 * SECOND)
    assert time.monotonic() - began < 30
    new = {job: state for job, state in states(options).items() if job not in before}
    assert len(new) == 1
    assert set(new.values()) <= {"CANCELLING", "CANCELLED"}, new


def raising(_):
    raise OSError(5, "Input/output error")


def test_a_storage_that_does_not_answer_for_a_while_stops_nothing(tmp_path, often, monkeypatch):
    watch = Watch(str(tmp_path), SECOND)
    with monkeypatch.context() as patch:
        patch.setattr(signs.parts, "filesystem", raising)
        assert watch.complaint() is None


def test_a_job_on_a_cluster_that_takes_long_and_shows_it_ends_well(options, tmp_path, often):
    staging = staging_of(str(tmp_path / "out"), "run")

    def work(_):
        signs.work_for(staging)
        for _ in range(30):
            time.sleep(0.2)
            signs.show()

    run_once(waiting(options, work), str(tmp_path / "out"), "run", 2 * SECOND)
