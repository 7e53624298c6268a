"""Verb: delete what no version needs, and old versions that no student names."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import tyro
from pyarrow import fs

from schemas import delta, parts
from schemas.command import run_job
from schemas.pins import pins, unpin
from schemas.store import Store, open_store

_BESIDE = ("", ".quarantine", ".runs", ".pins")
"""Folders of and beside a store that have a staging folder of their own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VacuumConfig:
    """Delete files that nothing needs; what a student was trained on stays."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""
    retention_hours: int = 168
    """Parts replaced, or left behind uncommitted, less than this long ago stay."""
    abandon: tuple[str, ...] = ()
    """Unfinished runs whose work may be deleted too."""
    unpin_missing: bool = False
    """Give up versions whose students' folders this machine no longer sees."""
    dry_run: bool = False
    """Only list the files."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.retention_hours < 0:
            raise ValueError(f"retention_hours must be at least 0, got {self.retention_hours}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and vacuum."""
    run_job(VacuumConfig, argv, vacuum)


def vacuum(config: VacuumConfig) -> dict[str, object]:
    """Find or delete files that neither the newest nor a pinned version needs.

    Returns:
        The files, their bytes, the versions kept, and pins whose student is gone from this machine.

    Raises:
        ValueError: if files of an unfinished run would go, naming the run.
    """
    opened = open_store(config.location)
    named = pins(config.location)
    missing = [pin for pin in named if not Path(pin.by).is_dir()]
    given_up = missing if config.unpin_missing else []
    keep = sorted({opened.version, *(pin.version for pin in named if pin not in given_up)})
    found = delta.vacuum(config.location, config.retention_hours, keep, dry_run=True)
    _check_unfinished(config, opened, found)
    staging = [f"{config.location}{one}.staging" for one in _BESIDE]
    halves = [path for folder in staging for path in half_written(folder, config.retention_hours)]
    size = sum(
        parts.size(path) or 0 for path in [*(f"{config.location}/{one}" for one in found), *halves]
    )
    if not config.dry_run:
        for path in halves:
            files, inside = parts.filesystem(path)
            files.delete_file(inside)
        for pin in given_up:
            unpin(config.location, pin)
        for run_id in config.abandon:
            parts.remove_folder(f"{config.location}.staging/{run_id}")
        delta.vacuum(config.location, config.retention_hours, keep, dry_run=False)
        parts.tidy(config.location)
        for folder in staging:
            parts.tidy(folder.removesuffix(".staging"))
    return {
        "store": config.location,
        "deleted": not config.dry_run,
        "files": len(found) + len(halves),
        "bytes": size,
        "versions_kept": keep,
        "pins_of_missing_students": [dataclasses.asdict(pin) for pin in missing],
        "listed": sorted([*found, *halves])[:100],
    }


def unfinished_runs(opened: Store) -> set[str]:
    """Runs that have left something in the staging folder, and have not committed."""
    files, folder = parts.filesystem(f"{opened.location}.staging")
    selector = fs.FileSelector(folder, allow_not_found=True, recursive=True)
    done = {commit.run_id for commit in opened.commits}
    runs: set[str] = set()
    for info in files.get_file_info(selector):
        run_id, _, name = info.path.removeprefix(f"{folder}/").partition("/")
        if name and run_id not in done:
            runs.add(run_id)
    return runs


def half_written(staging: str, hours: int) -> list[str]:
    """Files that a killed process was writing, at least so many hours ago, in a staging folder."""
    files, folder = parts.filesystem(staging)
    found = files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    youngest = time.time() - 3600 * hours
    return [
        parts.join(staging, one.base_name)
        for one in found
        if one.base_name.endswith(".tmp") and one.mtime.timestamp() <= youngest
    ]


def _check_unfinished(config: VacuumConfig, opened: Store, found: Sequence[str]) -> None:
    """Refuse to delete what an unfinished run may have written: to Delta it is a stray file.

    A part is written before the record that tells whose it is, so any stray file may be its.
    """
    known = {part.path for commit in opened.commits for part in commit.added}
    stray = [path for path in found if path not in known]
    runs = unfinished_runs(opened)
    unknown = sorted(set(config.abandon) - runs)
    if unknown:
        raise ValueError(f"there is no unfinished run {unknown[0]}, only {sorted(runs)}")
    runs -= set(config.abandon)
    if stray and runs:
        listed = " ".join(sorted(runs))
        raise ValueError(
            f"{len(stray)} of these files may be the work of {listed}, which has not committed: "
            f"run its command again to finish it, or give it up with --abandon {listed}"
        )
