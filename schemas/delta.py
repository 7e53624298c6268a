"""Delta Lake, as far as a store needs it: open the log, name its parts, write one version of it."""

import contextlib
import errno
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from pyarrow import fs

from schemas import parts, tables
from schemas.commits import Change
from schemas.parts import Part, sync

NOT_THERE = -1
"""The version of a table that does not exist."""

_KEEP_LOG = {"delta.logRetentionDuration": "interval 36500 days"}
_PART_PATH = re.compile(r"([a-z_]+=[0-9A-Za-z-]+/)?[A-Za-z0-9_-]+\.parquet")
_ENTRY = re.compile(r"(\d{20})\.json")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Entry = dict[str, Any]
"""An entry of the log, as delta-rs gives it."""

Listed = tuple[int, int | None, str | None]
"""What the log says of a live part: size in bytes, rows, partition value."""


def open_log(location: str | Path, version: int | None = None) -> DeltaTable:
    """The table's log at a version, by default its newest.

    Raises:
        FileNotFoundError: if there is no table.
        ValueError: if its log cannot be read.
    """
    if "://" not in str(location) and not Path(location).is_dir():
        raise FileNotFoundError(f"there is no table at {location}")
    try:
        with reading(location):
            return DeltaTable(_uri(location), version)
    except TableNotFoundError as error:
        raise FileNotFoundError(f"there is no table at {location}") from error


def entries(location: str | Path, versions: range) -> Iterator[Entry]:
    """What the log's entries of some versions say of themselves, with these versions.

    Read from the files: delta-rs gives all of them at once, which for a million parts is 0.6 GB,
    and numbers them down from the newest that it finds, which may be another one by then.

    Raises:
        ValueError: if an entry is not there, or cannot be read.
    """
    for number in versions:
        try:
            for line in parts.read_bytes(_entry(location, number)).splitlines():
                if line.startswith(b'{"commitInfo"'):
                    yield {**json.loads(line)["commitInfo"], "version": number}
                    break
        except (FileNotFoundError, ValueError, TypeError) as error:
            raise ValueError(f"the log of {location} is damaged: {error}") from error


@contextlib.contextmanager
def reading(location: str | Path) -> Iterator[None]:
    """Say plainly that a log cannot be read.

    Raises:
        ValueError: naming the table.
    """
    try:
        yield
    except TableNotFoundError:
        raise
    except DeltaError as error:
        raise ValueError(f"the log of {location} is damaged: {_plain(error)}") from error


def live_parts(table: DeltaTable) -> dict[str, Listed]:
    """What the log lists of each part of the version that is loaded, by path."""
    listed = pa.table(table.get_add_actions(flatten=True))
    by = f"partition.{tables.INGEST_DATE.name}"
    if by in listed.column_names:
        # Dates as strings, and columns instead of rows: 2 s for a million parts, not 17.
        listed = listed.set_column(listed.column_names.index(by), by, listed[by].cast(pa.string()))
    columns = (
        listed[name].to_pylist() if name in listed.column_names else [None] * listed.num_rows
        for name in ("size_bytes", "num_records", by)
    )
    return dict(zip(listed["path"].to_pylist(), zip(*columns, strict=True), strict=True))


def listing_of(part: Part) -> Listed:
    """What the log should list of a part.

    Raises:
        ValueError: if the part does not lie under its table.
    """
    if not _PART_PATH.fullmatch(part.path):
        raise ValueError(f"not the path of a part under its table: {part.path!r}")
    return part.size, part.rows, next(iter(_partition_of(part).values()), None)


def exists(location: str | Path) -> bool:
    """Whether there is a table at a location."""
    return version(location) != NOT_THERE


def version(location: str | Path) -> int:
    """The newest version of a table; `NOT_THERE` if there is no table.

    Its entries are listed, not read: reading all of them takes 16 s for a million parts.
    """
    files, folder = parts.filesystem(parts.join(location, "_delta_log"))
    selector = fs.FileSelector(folder, allow_not_found=True)
    try:
        found = [_ENTRY.fullmatch(info.base_name) for info in files.get_file_info(selector)]
    except NotADirectoryError:
        return NOT_THERE
    return max((int(one.group(1)) for one in found if one), default=NOT_THERE)


def written(location: str | Path, version: int) -> tuple[int, int]:
    """Size and time of a version's entry, which tell a table from another one in its place."""
    files, path = parts.filesystem(_entry(location, version))
    info = files.get_file_info(path)
    return info.size or 0, info.mtime_ns or 0


def write(location: str | Path, seen: int, change: Change, properties: CommitProperties) -> None:
    """Commit a change of parts as the version after `seen`, creating the table after `NOT_THERE`.

    Raises:
        CommitFailedError, DeltaError: if that version is taken.
        OSError: if it cannot be written.
    """
    entry = _entry(location, seen + 1)
    try:
        _write(location, seen, change, properties)
    except OSError as error:
        found = re.search(r"os error (\d+)", str(error))
        number = int(found.group(1)) if found else errno.EIO
        raise OSError(number, f"cannot commit: {_plain(error)}", entry) from error
    if "://" not in str(location):
        # delta-rs syncs nothing: after a power cut the entry could be there and empty.
        log = Path(location) / "_delta_log"
        checkpoint = [*log.glob(f"{seen + 1:020d}.checkpoint*"), *log.glob("_last_checkpoint")]
        for path in (entry, *checkpoint, log, location):
            sync(path)


def _write(location: str | Path, seen: int, change: Change, properties: CommitProperties) -> None:
    actions = [_action(part) for part in change.added]
    if seen >= 0:
        table = open_log(location, seen)
        table.create_write_transaction(
            [*actions, *map(_removal, change.removed)],
            "append",
            table.schema() if change.schema is None else _delta_schema(change.schema),
            table.metadata().partition_columns,
            commit_properties=properties,
        )
        return
    assert change.schema is not None, "a new table needs a schema"
    create_table_with_add_actions(
        _uri(location),
        _delta_schema(change.schema),
        actions,
        mode="error",
        partition_by=[n for n in change.schema.names if n == tables.INGEST_DATE.name],
        configuration=_KEEP_LOG,
        commit_properties=properties,
    )


def vacuum(
    location: str | Path, retention_hours: int, keep: Sequence[int], *, dry_run: bool
) -> list[str]:
    """Delete the files of the table's folder that nothing needs (delta-rs, full mode).

    Args:
        location: the table's folder.
        retention_hours: files that were removed, or written and never committed, later than this
            many hours ago stay.
        keep: versions whose files stay.
        dry_run: only find them.

    Returns:
        Paths of the files, relative to the folder.
    """
    return open_log(location).vacuum(
        retention_hours,
        dry_run=dry_run,
        enforce_retention_duration=False,
        full=True,
        keep_versions=list(keep) or None,
    )


def _plain(error: Exception) -> str:
    """The first lines of delta-rs's message, without colours and arrows, in one."""
    lines = [line.strip(" ↳") for line in _COLOUR.sub("", str(error)).splitlines()]
    return ": ".join(line for line in lines[:3] if line and "<unknown>" not in line)


def _partition_of(part: Part) -> dict[str, str | None]:
    return {part.path.partition("=")[0]: part.date} if part.date else {}


def _removal(part: Part) -> RemoveAction:
    now = int(time.time() * 1000)
    return RemoveAction(part.path, True, now, part.size, _partition_of(part))


def _action(part: Part) -> AddAction:
    size, rows, _ = listing_of(part)
    statistics = {"numRecords": rows}
    return AddAction(
        path=part.path,
        size=size,
        partition_values=_partition_of(part),
        modification_time=0,
        data_change=True,
        stats=json.dumps(statistics),
    )


def _delta_schema(schema: pa.Schema) -> Schema:
    """The schema as Delta can say it: it has no float16, so the log promises float32."""
    half, single = (tables.list_of(tables.DTYPES[name]) for name in ("float16", "float32"))
    fields = [field.with_type(single) if field.type == half else field for field in schema]
    return Schema.from_arrow(pa.schema(fields, metadata=schema.metadata))


def _entry(location: str | Path, version: int) -> str:
    return parts.join(location, "_delta_log", f"{version:020d}.json")


def _uri(location: str | Path) -> str:
    return str(location) if "://" in str(location) else str(Path(location).absolute())
