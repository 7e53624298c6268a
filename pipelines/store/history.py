"""Verb: the versions of a store, oldest first."""

import dataclasses
import datetime
import sys
from collections.abc import Sequence

import tyro

from schemas import parts
from schemas.command import run_job
from schemas.commits import Commit
from schemas.pins import pins
from schemas.store import open_store

_COLUMNS = ("version", "time", "what", "rows", "added", "removed", "parts", "readable", "pinned_by")


@dataclasses.dataclass(frozen=True, kw_only=True)
class HistoryConfig:
    """List the versions of a store."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and list: a table for people, JSON for programs."""
    run_job(HistoryConfig, argv, lambda c: told(c) if sys.stdout.isatty() else history(c))


def history(config: HistoryConfig) -> dict[str, object]:
    """The versions that runs have committed.

    Returns:
        `versions`: for each its number, time, run, rows in all, rows and parts added and removed,
        whether its parts are still there, and the folders of the students that name it.
    """
    opened = open_store(config.location)
    paths = {part.path for commit in opened.commits for part in commit.added}
    missing = {path for path in paths if not parts.exists(f"{config.location}/{path}")}
    named = pins(config.location)
    versions = [commit.version for commit in opened.commits]
    # A vacuum makes versions too, and a student may name one of those.
    holders = [(max(v for v in versions if v <= pin.version), pin.by) for pin in named]
    live: dict[str, int] = {}
    found = []
    for commit in opened.commits:
        removed = sum(live.pop(path, 0) for path in commit.removed)
        live |= {part.path: part.rows for part in commit.added}
        found.append(
            {
                "version": commit.version,
                "time": time_of(commit),
                "run_id": commit.run_id,
                "what": commit.summary.get("job", "teacher"),
                "rows": sum(live.values()),
                "added": sum(part.rows for part in commit.added),
                "removed": removed,
                "parts": len(live),
                "readable": not missing & live.keys(),
                "pinned_by": [by for version, by in holders if version == commit.version],
            }
        )
    return {"store": config.location, "versions": found}


def told(config: HistoryConfig) -> str:
    """The same as a table."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    listed = history(config)["versions"]
    assert isinstance(listed, list)
    for entry in listed:
        cells = {**entry, "pinned_by": " ".join(entry["pinned_by"]), "time": entry["time"][:16]}
        rows.append(tuple(_cell(cells[name]) for name in _COLUMNS))
    widths = [max(len(row[at]) for row in rows) for at in range(len(_COLUMNS))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(lines)


def time_of(commit: Commit) -> str:
    """When a commit was made, by the clock of the machine that made it."""
    at = datetime.datetime.fromtimestamp(commit.time / 1000, datetime.UTC)
    return at.isoformat(timespec="seconds")


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
