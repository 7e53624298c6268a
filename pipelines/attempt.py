"""An attempt of a job: run to its commit, in the lineage from START to its end, in numbers then."""

import dataclasses
from collections.abc import Mapping

import apache_beam as beam

from pipelines.inputs import InputFile
from pipelines.lineage import recorded
from pipelines.monitoring import write_gauges
from pipelines.running import run_once
from schemas import store
from schemas.commits import Commit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """What is run.

    Attributes:
        job: the command's name.
        out: folder of the table that the pipeline writes.
        run_id: under which it commits.
        inputs: the files that it reads.
        tables: folder -> version of the tables that it reads.
        stall_minutes: see `pipelines.running.run_once`.
    """

    job: str
    out: str
    run_id: str
    inputs: tuple[InputFile, ...]
    tables: Mapping[str, int] = dataclasses.field(default_factory=dict)
    stall_minutes: float = 0


def carry_out(attempt: Attempt, pipeline: beam.Pipeline) -> Commit:
    """Run a pipeline that ends with its commit; returns the commit.

    Raises:
        Exception: as `pipelines.running.run`.
    """
    job, out, run_id = attempt.job, attempt.out, attempt.run_id
    with recorded(job, out, run_id, attempt.inputs, attempt.tables) as recording:
        metrics = run_once(pipeline, out, run_id, attempt.stall_minutes)
        done = recording.committed = store.committed(out, run_id)
    assert done is not None
    write_gauges(job, out, done, metrics)
    return done
