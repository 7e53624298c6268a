"""What ran, from which files, into which version: OpenLineage events beside the table.

Each attempt of a run has a file of JSON lines in ``<table>.runs``: START, then COMPLETE or FAIL. A
file with a START only belongs to an attempt that still runs, or was killed. Any OpenLineage server
takes the lines as they are. The table's own log is what counts: it tells the same of every commit.
"""

import contextlib
import datetime
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from openlineage.client import facet_v2
from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    set_producer,
)
from openlineage.client.serde import Serde

from pipelines.inputs import InputFile
from schemas import parts
from schemas.code_version import code_version
from schemas.command import redact
from schemas.commits import Commit


class Recording:
    """The record of one attempt.

    Attributes:
        committed: what the attempt has committed; whoever does the work sets it.
    """

    def __init__(self, job: str, out: str, run_id: str, inputs: list[InputDataset]) -> None:
        attempt = f"{_now():%Y%m%dT%H%M%S.%fZ}"
        self.committed: Commit | None = None
        self._folder = f"{out}.runs"
        self._name = f"{job}-{run_id}-{attempt}.jsonl"
        self._uuid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{run_id} {attempt}"))
        self._run_id = run_id
        self._job = Job("ltd-bert", job)
        self._inputs = inputs
        self._output = OutputDataset(*_place(out))
        self._lines = ""

    def write(self, state: RunState, **facets: facet_v2.RunFacet) -> None:
        """Add an event, and put the file with all events so far in the place of the last one."""
        facets["ltd_run"] = _facet(run_id=self._run_id)
        event = RunEvent(
            eventType=state,
            eventTime=_now().isoformat(),
            run=Run(self._uuid, facets),
            job=self._job,
            inputs=self._inputs,
            outputs=[self._output],
        )
        self._lines += Serde.to_json(event, ensure_ascii=False) + "\n"
        parts.write_bytes(self._lines.encode(), self._folder, self._name)

    def complete(self, out: str) -> None:
        """Add the end of an attempt that has committed."""
        done = self.committed
        assert done is not None, "the run ended, but nobody said what it committed"
        self._output = _output(out, done)
        summary = {name: value for name, value in done.summary.items() if name != "inputs"}
        self.write(RunState.COMPLETE, ltd_summary=_facet(**summary))

    def fail(self, error: BaseException) -> None:
        """Add the end of an attempt that did not work out; who stopped it aborted it."""
        facet = facet_v2.error_message_run.ErrorMessageRunFacet(redact(str(error)), "PYTHON")
        state = RunState.FAIL if isinstance(error, Exception) else RunState.ABORT
        # A disk that is full must not hide that it is.
        with contextlib.suppress(OSError):
            self.write(state, errorMessage=facet)


@contextlib.contextmanager
def recorded(
    job: str,
    out: str,
    run_id: str,
    inputs: Sequence[InputFile],
    tables: Mapping[str, int] | None = None,
) -> Iterator[Recording]:
    """A context that records an attempt of a run, from its START to its end.

    Args:
        job: the command's name.
        out: folder of the table that is written.
        run_id: of the run; each attempt gets an id of its own.
        inputs: the files that are read.
        tables: folder -> version of the tables that are read.
    """
    # The library signs every event and facet with this; its default names itself.
    set_producer(f"urn:ltd-bert:{code_version()}")
    read = [_input(file.path, file.sha256, size=file.size) for file in inputs]
    read += [_input(location, str(version)) for location, version in (tables or {}).items()]
    recording = Recording(job, out, run_id, read)
    recording.write(RunState.START)
    try:
        yield recording
    except BaseException as error:
        if not (isinstance(error, SystemExit) and error.code == 0):  # handed over: it goes on
            recording.fail(error)
        raise
    else:
        recording.complete(out)
    finally:
        parts.tidy(f"{out}.runs")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _place(location: str) -> tuple[str, str]:
    """Namespace and name of a dataset, as OpenLineage names files.

    >>> _place("s3://key:secret@lake/vectors/2026")
    ('s3://lake', 'vectors/2026')
    """
    scheme, url, rest = redact(location).partition("://")
    if not url:
        return "file", os.path.abspath(location)
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}", path or "/"


def _facet(**values: object) -> facet_v2.RunFacet:
    """A facet of our own."""
    return cast(facet_v2.RunFacet, facet_v2.RunFacet().with_additional_properties(**values))


def _input(location: str, version: str | None, size: int | None = None) -> InputDataset:
    """A file, whose version is its sha256, or a table."""
    facets: dict[str, facet_v2.DatasetFacet] = {}
    if version is not None:
        facets["version"] = facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet(version)
    statistics: dict[str, facet_v2.InputDatasetFacet] = {}
    if size is not None:
        known = facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet(size=size)
        statistics["inputStatistics"] = known
    return InputDataset(*_place(location), facets=facets, inputFacets=statistics)


def _output(out: str, done: Commit) -> OutputDataset:
    """The table at the version that a run made, with what the run added to it."""
    facets: dict[str, facet_v2.DatasetFacet] = {
        "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet(str(done.version))
    }
    if done.added:
        with parts.open_part(parts.join(out, done.added[0].path)) as part:
            columns = [(field.name, str(field.type)) for field in part.schema_arrow]
        fields = [facet_v2.schema_dataset.SchemaDatasetFacetFields(*column) for column in columns]
        facets["schema"] = facet_v2.schema_dataset.SchemaDatasetFacet(fields)
    statistics = facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=sum(part.rows for part in done.added),
        size=sum(part.size for part in done.added),
        fileCount=len(done.added),
    )
    return OutputDataset(*_place(out), facets=facets, outputFacets={"outputStatistics": statistics})
