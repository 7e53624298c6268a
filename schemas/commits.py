"""What a commit says of itself, and how that is kept in the log of a Delta table."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from schemas import tables
from schemas.fingerprint import Fingerprint
from schemas.parts import Part

_OURS = "ltd."
_SHA256 = "ltd.sha256"


@dataclasses.dataclass(frozen=True)
class Commit:
    """One entry of a table's history.

    Attributes:
        version: counted from 0.
        run_id: the run that made it.
        fingerprint: what the rows were made from.
        time: of the commit by the committer's clock, milliseconds since 1970; orders nothing.
        added: the parts that it added.
        removed: paths of the parts that it took out; older versions still have them.
        forgotten: keys that must not come back.
        summary: what the run said of itself.
    """

    version: int
    run_id: str
    fingerprint: Fingerprint
    time: int
    added: tuple[Part, ...]
    removed: tuple[str, ...]
    forgotten: tuple[str, ...]
    summary: Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Change:
    """What a commit does.

    Attributes:
        schema: of the parts; None if they are as the table's are.
        added: parts, already written under the table's folder.
        run_id: of the run that makes the change; a second commit under it changes nothing.
        fingerprint: of the rows after the change.
        summary: kept with the version; JSON values.
        removed: parts that the next version does not have.
        forgotten: keys that must not come back.
        moves: whether the fingerprint may differ from the table's.
    """

    schema: pa.Schema | None
    added: tuple[Part, ...]
    run_id: str
    fingerprint: Fingerprint
    summary: Mapping[str, object]
    removed: tuple[Part, ...] = ()
    forgotten: tuple[str, ...] = ()
    moves: bool = False


def write_commit(change: Change) -> dict[str, str]:
    """A change as the log keeps it, beside Delta's own entries."""
    said = {
        "ltd.run_id": change.run_id,
        "ltd.schema_version": tables.SCHEMA_VERSION,
        "ltd.fingerprint": json.dumps(dict(change.fingerprint), ensure_ascii=False),
        "ltd.parts": json.dumps([dataclasses.asdict(part) for part in change.added]),
        "ltd.removed": json.dumps([part.path for part in change.removed]),
        "ltd.forgotten": json.dumps(change.forgotten),
        "ltd.summary": json.dumps(dict(change.summary), ensure_ascii=False),
    }
    return {**said, _SHA256: _digest(said)}


def read_commits(entries: Iterable[Mapping[str, str]], location: str) -> Iterator[Commit]:
    """The commits of our runs, one at a time; other entries of the log (vacuum) are left out.

    Args:
        entries: of the log, with their versions, oldest first.
        location: of the table, for messages.

    Raises:
        ValueError: if one was written by a newer release, or is not as it was written.
    """
    for entry in entries:
        if any(name.startswith(_OURS) for name in entry):
            yield _read_commit(entry, location)


def _digest(said: Mapping[str, str]) -> str:
    """Delta does not notice a changed byte in its log; this does, in what is ours of it."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _read_commit(entry: Mapping[str, str], location: str) -> Commit:
    said = {name: value for name, value in entry.items() if name.startswith(_OURS)}
    schema_version, sha256 = said.get("ltd.schema_version", ""), said.pop(_SHA256, None)
    if schema_version.isdecimal() and int(schema_version) > int(tables.SCHEMA_VERSION):
        raise ValueError(
            f"version {entry['version']} of {location} has schema version {schema_version}, this "
            f"release reads up to {tables.SCHEMA_VERSION}: a newer ltd-bert is needed"
        )
    if sha256 not in (None, _digest(said)):
        raise ValueError(
            f"the log of {location} is damaged: what it says of version {entry['version']} has "
            "changed since it was committed"
        )
    return Commit(
        version=int(entry["version"]),
        run_id=entry["ltd.run_id"],
        fingerprint=json.loads(entry["ltd.fingerprint"]),
        time=int(entry.get("timestamp", 0)),
        added=tuple(Part(**values) for values in json.loads(entry["ltd.parts"])),
        removed=tuple(json.loads(entry.get("ltd.removed", "[]"))),
        forgotten=tuple(json.loads(entry.get("ltd.forgotten", "[]"))),
        summary=json.loads(entry["ltd.summary"]),
    )
