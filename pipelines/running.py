"""Run a pipeline on the runner that the options name, and turn its failures into plain errors."""

import argparse
import re
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines.monitoring import metrics_of
from schemas import store
from schemas.command import OutOfMemory, RetryLater

_KINDS: dict[str, type[Exception]] = {
    "ValueError": ValueError,
    "RetryLater": RetryLater,
    "OutOfMemory": OutOfMemory,
    "PermissionError": PermissionError,
    **dict.fromkeys(["OSError", "FileNotFoundError", "BadGzipFile", "EOFError"], OSError),
}
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


def run_once(pipeline: beam.Pipeline, location: str, run_id: str) -> dict[str, float]:
    """Run to the end, or to where the same command, started twice, has done the work elsewhere.

    Who commits first also tidies up, so that the other one may miss its files.

    Args:
        pipeline: that ends with the commit.
        location: of the table that it writes.
        run_id: under which it commits.

    Returns:
        As `run`; nothing if another process has committed this very run.

    Raises:
        Exception: as `run`.
    """
    try:
        return run(pipeline)
    except Exception:
        if store.committed(location, run_id) is None:
            raise
        return {}


def run(pipeline: beam.Pipeline) -> dict[str, float]:
    """Run to the end.

    Returns:
        Beam's metrics by name, for consoles: a bundle that was tried again counts twice.

    Raises:
        ValueError: when a step refused its data, with the message it gave.
        OSError: when a file could not be read or written.
        RetryLater: when another run was in the way.
        OutOfMemory: when not even half a batch fitted.
    """
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except Exception as error:
        # From another process a step's error comes back as the text of its traceback, whatever its
        # type was; from this one as itself, with the step's name added to the message.
        found = _TOLD.search(f"{type(error).__name__}: {error}")
        if found:
            raise _KINDS[found.group(1)](found.group(2).strip()) from error
        raise
    return metrics_of(result)
