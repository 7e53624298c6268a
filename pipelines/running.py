"""Run a pipeline on the runner that the options name, and turn its failures into plain errors."""

import argparse
import functools
import re
import threading
import uuid
from collections.abc import Callable, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.runners.runner import PipelineResult

from pipelines import flink_jobs
from pipelines.monitoring import metrics_of
from pipelines.signs import Watch, staging_of
from schemas import store
from schemas.command import OutOfMemory, RetryLater

_KINDS: dict[str, type[Exception]] = {
    "ValueError": ValueError,
    "RetryLater": RetryLater,
    "OutOfMemory": OutOfMemory,
    "PermissionError": PermissionError,
    **dict.fromkeys(["OSError", "FileNotFoundError", "BadGzipFile", "EOFError"], OSError),
}
_LOOK = 1.0  # seconds between looks at a running job
_CANCEL = 4.0  # seconds for a runner to take a cancellation; twice that is left after SIGTERM
_TOLD = re.compile(rf"\b({'|'.join(_KINDS)}): (.*?)(?: \[while running|\n\n|\Z)", re.DOTALL)


def beam_options(arguments: Sequence[str]) -> PipelineOptions:
    """Read Beam's own options; the default runner is the embedded one.

    ``DirectRunner`` would first try to download another engine, so `FnApiRunner` is named outright.

    Raises:
        ValueError: for an option that Beam does not know, or the Dask runner.
    """
    options = PipelineOptions(list(arguments))
    unknown: list[str] = []

    def collect(parser: argparse.ArgumentParser) -> None:
        unknown.extend(parser.parse_known_args(list(arguments))[1])

    options.get_all_options(add_extra_args_fn=collect, display_warnings=False)
    if unknown:
        raise ValueError(f"Beam does not know these options: {' '.join(unknown)}")
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or "FnApiRunner"
    if "dask" in standard.runner.lower():
        raise ValueError(
            "DaskRunner loses tagged outputs and drops branches in Beam 2.77, silently; "
            "use FnApiRunner, FlinkRunner, DataflowRunner or SparkRunner"
        )
    return options


def run_once(
    pipeline: beam.Pipeline, location: str, run_id: str, stall_minutes: float = 0
) -> dict[str, float]:
    """Run to the end, or to where the same command, started twice, has done the work elsewhere.

    Who commits first also tidies up, so that the other one may miss its files.

    Args:
        pipeline: that ends with the commit.
        location: of the table that it writes.
        run_id: under which it commits.
        stall_minutes: without a sign of its workers after which the job is cancelled; 0 for ever.

    Returns:
        As `run`; nothing if another process has committed this very run.

    Raises:
        Exception: as `run`.
    """
    watch = Watch(staging_of(location, run_id), stall_minutes)
    try:
        return metrics_of(run(pipeline, watch.complaint))
    except Exception:
        if store.committed(location, run_id) is None:
            raise
        return {}


def run(
    pipeline: beam.Pipeline, complaint: Callable[[], str | None] = lambda: None
) -> PipelineResult:
    """Run to the end.

    Args:
        pipeline: to run.
        complaint: asked now and then; what it says, if anything, ends the run.

    Returns:
        What Beam says of it: a bundle that was tried again counts twice in its metrics.

    Raises:
        ValueError: when a step refused its data, with the message it gave.
        OSError: when a file could not be read or written.
        RetryLater: when another run was in the way, or there was a complaint.
        OutOfMemory: when not even half a batch fitted.
    """
    google = pipeline.options.view_as(GoogleCloudOptions)
    given = google.job_name
    # No other job has this name, whatever name was given: by it the job is cancelled.
    google.job_name = f"{given or 'ltd'}-{uuid.uuid4().hex[:12]}"
    try:
        result = _submit(pipeline)
        _wait(result, complaint, pipeline.options)
    except Exception as error:
        # From another process a step's error comes back as the text of its traceback, whatever its
        # type was; from this one as itself, with the step's name added to the message.
        found = _TOLD.search(f"{type(error).__name__}: {error}")
        if found:
            raise _KINDS[found.group(1)](found.group(2).strip()) from error
        raise
    finally:
        google.job_name = given
    return result


def _submit(pipeline: beam.Pipeline) -> PipelineResult:
    """Begin; a runner in this process also ends here."""
    try:
        return pipeline.run()
    except (SystemExit, KeyboardInterrupt):
        # Evicted while the job was handed over: it may be there already.
        _cancel_on_flink(pipeline.options)
        raise


def _wait(
    result: PipelineResult, complaint: Callable[[], str | None], options: PipelineOptions
) -> None:
    """Wait in a thread of its own: a runner that hangs must not keep us from ending the job."""
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            result.wait_until_finish()
        except BaseException as error:
            failed.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    try:
        while waiting.is_alive():
            waiting.join(_LOOK)
            told = complaint() if waiting.is_alive() else None
            if told is not None:
                raise RetryLater(told)
    except BaseException:
        # Also when this process is evicted: nobody would be left to look after the job.
        _cancel(result, options)
        raise
    if failed:
        raise failed[0]


def _cancel(result: PipelineResult, options: PipelineOptions) -> None:
    """Ask for the end of a job, but not for long."""
    asked = [
        threading.Thread(target=ask, daemon=True)
        for ask in (result.cancel, functools.partial(_cancel_on_flink, options))
    ]
    for one in asked:
        one.start()
    for one in asked:
        one.join(_CANCEL)


def _cancel_on_flink(options: PipelineOptions) -> None:
    master = options.view_as(FlinkRunnerOptions).flink_master
    if master and not master.startswith("["):
        flink_jobs.cancel(master, options.view_as(GoogleCloudOptions).job_name)
