"""Job: ask a runner's workers who they are: the Python, Beam and code they run, what they can see.

Jobs do so themselves before anything is submitted to a runner that installs nothing on its workers;
on Flink, a worker with another Beam or without the project is found out late, or never.
"""

import dataclasses
import importlib.metadata
import json
import math
import platform
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import apache_beam as beam
import tyro
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PipelineOptions,
    StandardOptions,
)

from pipelines.running import beam_options, run
from pipelines.signs import staging_of
from schemas import parts
from schemas.code_version import code_version
from schemas.command import run_job

# Those whose workers have what somebody has installed there.
_CHECKED = ("PortableRunner", "FlinkRunner", "SparkRunner")
_NAMESPACE = "ltd.workers"
_EACH = 16  # questions for each worker that there may be; runners spread them evenly


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """Ask the workers of a runner which code they run and whether they see the given paths."""

    see: tuple[str, ...] = ()
    """Files or folders that workers must see: corpus, IDF table, teacher, folder of the store."""
    wait_minutes: float = 5
    """How long to wait for an answer."""
    runner_options: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.wait_minutes <= 0:
            raise ValueError(f"wait_minutes must be more than 0, got {self.wait_minutes}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and ask."""
    run_job(WorkersConfig, argv, show)


def show(config: WorkersConfig) -> dict[str, object]:
    """The workers by host, and what this process has.

    Raises:
        ValueError: if a worker differs, or does not see a path.
        RetryLater: if none has answered in time.
    """
    options = beam_options(config.runner_options)
    found = ask(options, config.see, config.wait_minutes)
    check(found)
    return {"here": _here(), "workers": found}


def check_workers(options: PipelineOptions, see: Sequence[str], out: str, minutes: float) -> None:
    """Refuse a runner with workers that are not fit for a job, before it is submitted.

    Args:
        options: of the job; nothing is checked on runners that bring their workers along.
        see: paths that workers must see.
        out: folder of the table to write, on storage that all share: workers must see a file that
            this process has just put beside it.
        minutes: to wait for an answer, 0 for ever: slots may be taken, pods still starting.

    Raises:
        ValueError: as `check`.
        RetryLater: if no worker has answered in time.
    """
    if options.view_as(StandardOptions).runner not in _CHECKED:
        return
    folder = staging_of(out, f"seen-{uuid.uuid4().hex}")
    parts.write_bytes(b"for the workers to see", folder, "this")
    try:
        check(ask(options, [*see, f"{folder}/this"], minutes or math.inf))
    finally:
        parts.remove_folder(folder)
        parts.tidy(out)


def check(found: Sequence[Mapping[str, object]]) -> None:
    """Compare workers with this process.

    Raises:
        ValueError: naming each host and what is wrong with it.
    """
    here = _here()
    wrong = [
        f"{one['host']} has {name} {one[name]}, here it is {here[name]}"
        for one in found
        for name in here
        if one[name] != here[name]
    ]
    wrong += [
        f"{one['host']} does not see {', '.join(map(str, missing))}"
        for one in found
        if isinstance(missing := one["missing"], list) and missing
    ]
    if wrong:
        raise ValueError(
            f"workers are not fit for this job: {'; '.join(wrong)}. Install the same ltd-bert and "
            "apache-beam there, and give paths on storage that all of them share"
        )


def ask(options: PipelineOptions, see: Sequence[str], minutes: float) -> list[dict[str, object]]:
    """Let every worker answer, through metrics, which come back from any runner.

    Returns:
        Workers by host: host, python, beam, ltd-bert, missing (of the paths).

    Raises:
        ValueError: if the runner brings no metrics back.
        RetryLater: if none has answered in time.
    """
    flink = options.view_as(FlinkRunnerOptions)
    questions = _EACH * max(4, getattr(flink, "parallelism", 0) or 0)
    pipeline = beam.Pipeline(options=options)
    _ = (
        pipeline
        | "Questions" >> beam.Create(range(questions))
        | "Spread" >> beam.Reshuffle()
        | "Answer" >> beam.Map(_question(_NAMESPACE, list(see)))
    )
    result = run(pipeline, _patience(minutes))
    counters = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))["counters"]
    answers = sorted({one.key.metric.name for one in counters})
    if not answers:
        raise ValueError(
            "the workers were asked, but this runner brings no answer back: no metrics"
        )
    return [json.loads(answer) for answer in answers]


def _question(namespace: str, see: list[str]) -> Callable[[int], None]:
    """What a worker does. It travels as code, since a worker may lack the project."""

    def answer(_: int) -> None:
        import importlib.metadata
        import json
        import platform
        import socket

        version = ".".join(platform.python_version_tuple()[:2])
        told = {"host": socket.gethostname(), "python": version}
        told["beam"] = importlib.metadata.version("apache-beam")
        missing: list[str] = []
        try:
            from schemas.code_version import code_version
            from schemas.parts import exists

            told["ltd-bert"] = code_version()
            missing = [path for path in see if not exists(path)]
        except ImportError:
            told["ltd-bert"] = "not installed"
        Metrics.counter(namespace, json.dumps({**told, "missing": missing})).inc()

    return answer


def _here() -> dict[str, str]:
    """What workers must have too."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "beam": importlib.metadata.version("apache-beam"),
        "ltd-bert": code_version(),
    }


def _patience(minutes: float) -> Callable[[], str | None]:
    """A complaint for `run`: no answer within so many minutes."""
    deadline = time.monotonic() + 60 * minutes

    def complaint() -> str | None:
        if time.monotonic() < deadline:
            return None
        return (
            f"no worker has answered within {minutes:g} minutes. Are all slots taken? Does the "
            "worker pool find `python` with apache-beam first on its PATH? Has each TaskManager a "
            "pool of its own? The runner's log tells more"
        )

    return complaint
