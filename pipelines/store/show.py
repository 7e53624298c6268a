"""Verb: what a version holds, or where one sentence of it comes from."""

import collections
import dataclasses
from collections.abc import Sequence

import pyarrow.compute as pc
import tyro

from pipelines.store.history import time_of
from schemas import parts
from schemas.command import run_job
from schemas.parts import Part
from schemas.pins import pins
from schemas.store import Store, open_store
from schemas.text import clean, sentence_id


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Describe a version of a store, or follow one sentence back to what it was made from."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""
    version: int | None = None
    """By default the newest."""
    text: str | None = None
    """A sentence to follow."""
    sentence_id: str | None = None
    """Or its id."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and show."""
    run_job(ShowConfig, argv, show)


def show(config: ShowConfig) -> dict[str, object]:
    """The version as a whole, or the lineage of a sentence.

    Raises:
        ValueError: if the version does not hold the sentence.
    """
    opened = open_store(config.location, config.version)
    wanted = sentence_id(clean(config.text)) if config.text is not None else config.sentence_id
    return describe(opened) if wanted is None else lineage(opened, wanted)


def describe(opened: Store) -> dict[str, object]:
    """Rows, bytes and dates of a version, what it was made from, and who needs it."""
    rows: collections.Counter[str] = collections.Counter()
    for part in opened.parts:
        rows[str(part.date)] += part.rows
    columns = {field.name: str(field.type) for field in opened.dataset().schema}
    return {
        "store": opened.location,
        "version": opened.version,
        "rows": opened.rows,
        "parts": len(opened.parts),
        "bytes": sum(part.size for part in opened.parts),
        "rows_by_date": dict(sorted(rows.items())),
        "columns": columns,
        "fingerprint": dict(opened.fingerprint),
        "forgotten": len(opened.forgotten),
        "pinned": [dataclasses.asdict(pin) for pin in pins(opened.location)],
    }


def lineage(opened: Store, key: str) -> dict[str, object]:
    """Row -> part -> run -> inputs, and the students that have learned from it.

    Raises:
        ValueError: if the version does not hold the row.
    """
    part, row = find_row(opened, key)
    commit = opened.commit_of(part)
    students = []
    for pin in pins(opened.location):
        try:
            named = open_store(opened.location, pin.version)
        except ValueError:
            continue  # vacuumed away by somebody else: nothing can be said of it
        if part in named.parts:
            students.append({"version": pin.version, "folder": pin.by})
    return {
        "row": row,
        "part": dataclasses.asdict(part),
        "run": {
            "run_id": commit.run_id,
            "version": commit.version,
            "time": time_of(commit),
            **commit.summary,
        },
        "made_from": dict(commit.fingerprint),
        "students": students,
    }


def find_row(opened: Store, key: str) -> tuple[Part, dict[str, object]]:
    """The part that holds a key, and what it says of the row, vectors left out.

    Raises:
        ValueError: if the version does not hold the key.
    """
    for part in opened.parts:
        if part.first is None or part.last is None or not part.first <= key <= part.last:
            continue
        with parts.open_part(opened.path_of(part)) as file:
            names = [name for name in file.schema_arrow.names if "vector_" not in name]
            found = file.read(names).filter(pc.field(names[0]) == key).to_pylist()
        if found:
            return part, found[0]
    raise ValueError(f"version {opened.version} of {opened.location} has no sentence {key}")
