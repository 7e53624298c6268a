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

from schemas import tables
from schemas.commits import Change
from schemas.parts import Part, sync

NOT_THERE = -1
"""The version of a table that does not exist."""

_KEEP_LOG = {"delta.logRetentionDuration": "interval 36500 days"}
_PART_PATH = re.compile(r"([a-z_]+=[0-9A-Za-z-]+/)?[A-Za-z0-9_-]+\.parquet")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Entry = dict[str, Any]
"""An entry of the log, as delta-rs gives it."""

Listed = tuple[int, int | None, str | None]
"""What the log says of a live part: size in bytes, rows, partition value."""


def open_log(location: str | Path) -> DeltaTable:
    """The table's log at its newest version.

    Raises:
        FileNotFoundError: if there is none.
    """
    if "://" not in str(location) and not Path(location).is_dir():
        raise FileNotFoundError(f"there is no table at {location}")
    try:
        with reading(location):
            return DeltaTable(_uri(location))
    except TableNotFoundError as error:
        raise FileNotFoundError(f"there is no table at {location}") from error


def open_with_entries(location: str | Path) -> tuple[DeltaTable, list[Entry]]:
    """The table's log at its newest version, and all its entries, the newest first.

    delta-rs reads the entries anew, and numbers them down from the version that it has opened: with
    a commit in between, every one of them gets the number of the one before it.

    Raises:
        FileNotFoundError: if there is no table.
        ValueError: if its log cannot be read.
    """
    with reading(location):
        while True:
            table = open_log(location)
            entries = table.history()
            if open_log(location).version() == table.version():
                return table, entries


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
    listed = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    by = f"partition.{tables.INGEST_DATE.name}"
    return {
        row["path"]: (
            row["size_bytes"],
            row.get("num_records"),
            None if row.get(by) is None else str(row[by]),
        )
        for row in listed
    }


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
    try:
        open_log(location)
    except FileNotFoundError:
        return False
    return True


def version(location: str | Path) -> int:
    """The newest version of a table; `NOT_THERE` if there is no table."""
    return open_log(location).version() if exists(location) else NOT_THERE


def write(location: str | Path, seen: int, change: Change, properties: CommitProperties) -> None:
    """Commit a change of parts as the version after `seen`, creating the table after `NOT_THERE`.

    Raises:
        CommitFailedError, DeltaError: if that version is taken.
        OSError: if it cannot be written.
    """
    entry = f"{location}/_delta_log/{seen + 1:020d}.json"
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
        table = open_log(location)
        table.load_as_version(seen)
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


def _uri(location: str | Path) -> str:
    return str(location) if "://" in str(location) else str(Path(location).absolute())
