"""Delta Lake, as far as a store needs it: open the log, name its parts, write one version of it."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from schemas import tables
from schemas.parts import Part

NOT_THERE = -1
"""The version of a table that does not exist."""

_KEEP_LOG = {"delta.logRetentionDuration": "interval 36500 days"}
_PART_PATH = re.compile(r"([a-z_]+=[0-9A-Za-z-]+/)?[A-Za-z0-9_-]+\.parquet")


def open_log(location: str | Path) -> DeltaTable:
    """The table's log at its newest version.

    Raises:
        FileNotFoundError: if there is none.
    """
    if "://" not in str(location) and not Path(location).is_dir():
        raise FileNotFoundError(f"there is no table at {location}")
    try:
        return DeltaTable(_uri(location))
    except TableNotFoundError as error:
        raise FileNotFoundError(f"there is no table at {location}") from error


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


def write(
    location: str | Path,
    seen: int,
    schema: pa.Schema,
    added: Sequence[Part],
    properties: CommitProperties,
) -> None:
    """Commit parts as the version after `seen`, creating the table after `NOT_THERE`.

    Raises:
        CommitFailedError, DeltaError: if that version is taken, or cannot be written.
    """
    actions = [_action(part) for part in added]
    by = [tables.INGEST_DATE.name] if tables.INGEST_DATE.name in schema.names else []
    delta_schema = Schema.from_arrow(_without_float16(schema))
    if seen < 0:
        create_table_with_add_actions(
            _uri(location),
            delta_schema,
            actions,
            mode="error",
            partition_by=by,
            configuration=_KEEP_LOG,
            commit_properties=properties,
        )
        return
    table = open_log(location)
    table.load_as_version(seen)
    table.create_write_transaction(
        list[AddAction | RemoveAction](actions),
        "append",
        delta_schema,
        by,
        commit_properties=properties,
    )


def _action(part: Part) -> AddAction:
    if not _PART_PATH.fullmatch(part.path):
        raise ValueError(f"not the path of a part under its table: {part.path!r}")
    folder = part.path.rpartition("/")[0]
    name, _, value = folder.partition("=")
    values: dict[str, str | None] = {name: value} if folder else {}
    statistics = {"numRecords": part.rows}
    return AddAction(
        path=part.path,
        size=part.size,
        partition_values=values,
        modification_time=0,
        data_change=True,
        stats=json.dumps(statistics),
    )


def _without_float16(schema: pa.Schema) -> pa.Schema:
    """The schema as Delta can say it: it has no float16, so the log promises float32."""
    half, single = (tables.list_of(tables.DTYPES[name]) for name in ("float16", "float32"))
    fields = [field.with_type(single) if field.type == half else field for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def _uri(location: str | Path) -> str:
    return str(location) if "://" in str(location) else str(Path(location).absolute())
