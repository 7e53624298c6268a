"""Verb: join the small parts of a store; rows and vectors stay as they are."""

import dataclasses
from collections.abc import Sequence

import pyarrow as pa
import tyro

from pipelines.store.rewriting import put_in_place
from schemas import parts
from schemas.command import run_job
from schemas.commits import Change
from schemas.fingerprint import digest
from schemas.parts import Part
from schemas.store import Store, open_store


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompactConfig:
    """Join small parts of the same date; nothing is embedded."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""
    rows_per_part: int = 32_768
    """Parts of at most half as many rows are joined, up to this size."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.rows_per_part < 2:
            raise ValueError(f"rows_per_part must be at least 2, got {self.rows_per_part}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and compact."""
    run_job(CompactConfig, argv, compact)


def compact(config: CompactConfig) -> dict[str, object]:
    """Put joined parts in the place of small ones, by a new version.

    Returns:
        Parts before and after, rows written anew, and the version.

    Raises:
        RetryLater: if another run committed meanwhile.
    """
    opened = open_store(config.location)
    groups = small_parts(opened, config.rows_per_part)
    version = opened.version
    if groups:
        added = tuple(join(opened, group) for group in groups)
        removed = tuple(part for group in groups for part in group)
        change = Change(
            schema=None,
            added=added,
            removed=removed,
            run_id=digest(["compact", opened.version, sorted(part.sha256 for part in removed)]),
            fingerprint=opened.fingerprint,
            summary={"job": "compact", "joined": len(removed), "into": len(added)},
        )
        version = put_in_place(opened, change)
    parts.tidy(opened.location)
    return {
        "store": opened.location,
        "version": version,
        "parts_before": len(opened.parts),
        "parts_after": len(opened.parts) - sum(map(len, groups)) + len(groups),
        "rows_written": sum(part.rows for group in groups for part in group),
    }


def small_parts(opened: Store, rows_per_part: int) -> list[list[Part]]:
    """Groups of parts to be joined: of one date and one fingerprint, at least two in each."""
    groups: dict[tuple[str, str], list[list[Part]]] = {}
    for part in opened.parts:
        if part.rows > rows_per_part // 2:
            continue
        folder = part.path.rpartition("/")[0]
        alike = groups.setdefault((folder, digest(dict(opened.commit_of(part).fingerprint))), [[]])
        if sum(one.rows for one in alike[-1]) + part.rows > rows_per_part:
            alike.append([])
        alike[-1].append(part)
    return [group for alike in groups.values() for group in alike if len(group) > 1]


def join(opened: Store, group: Sequence[Part]) -> Part:
    """Write the rows of some parts as one, sorted by id."""
    for part in group:
        opened.check(part)
    tables = [parts.read(opened.path_of(part)) for part in group]
    rows = pa.concat_tables(tables).sort_by("sentence_id").combine_chunks()
    folder = group[0].path.rpartition("/")[0]
    name = f"part-joined-{digest(sorted(part.sha256 for part in group))}.parquet"
    return parts.write(
        rows.replace_schema_metadata(tables[0].schema.metadata), opened.location, f"{folder}/{name}"
    )
