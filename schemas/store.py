"""A table on disk: immutable parts under a Delta Lake log.

Delta gives atomic commits, versions, and exactly one commit per run id. On top of it stand a
fingerprint, so that rows made under different conditions never mix, and the sha256 of every part.
Both are in the commits' own information, which the log keeps for ever.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from pyarrow import dataset

from schemas import delta, parts, tables
from schemas.delta import NOT_THERE
from schemas.delta import exists as exists
from schemas.fingerprint import Fingerprint, check_same
from schemas.parts import Part


class Overtaken(Exception):
    """Another run committed first, and it matters."""


@dataclasses.dataclass(frozen=True)
class Commit:
    """One entry of a table's history.

    Attributes:
        version: counted from 0.
        run_id: the run that made it.
        fingerprint: what the rows were made from.
        added: the parts that it added.
        summary: what the run said of itself.
    """

    version: int
    run_id: str
    fingerprint: Fingerprint
    added: tuple[Part, ...]
    summary: Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class Store:
    """A table at one version.

    Attributes:
        location: its folder.
        version: the version opened; later commits do not show.
        fingerprint: what its rows were made from.
        parts: the committed parts, by path.
        commits: its history up to the version, oldest first.
    """

    location: str
    version: int
    fingerprint: Fingerprint
    parts: tuple[Part, ...]
    commits: tuple[Commit, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(part.rows for part in self.parts)

    def path_of(self, part: Part) -> str:
        """Where a part lies."""
        return parts.join(self.location, part.path)

    def dataset(self) -> dataset.Dataset:
        """Exactly the committed parts, with the partition column, for scanning with pyarrow."""
        files, root = parts.filesystem(self.location)
        hive = dataset.partitioning(pa.schema([tables.INGEST_DATE]), flavor="hive")
        scan = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
        return dataset.dataset(
            [f"{root}/{part.path}" for part in self.parts],
            filesystem=files,
            format=dataset.ParquetFileFormat(default_fragment_scan_options=scan),
            partitioning=hive,
            partition_base_dir=root,
        )

    def verify(self) -> None:
        """Compare every part with what was committed.

        Raises:
            ValueError: naming the first part that is missing or has changed.
        """
        for part in self.parts:
            path = self.path_of(part)
            if not parts.exists(path):
                raise ValueError(f"part {path} is missing")
            found = parts.sha256(path)
            if found != part.sha256:
                raise ValueError(
                    f"part {path} has changed since it was committed: its sha256 is {found}, "
                    f"committed was {part.sha256}"
                )

    def keys(self, first: str, last: str) -> Iterator[pa.Array]:
        """The key column of the rows with first <= key <= last, part by part.

        Parts and row groups outside the range are not read, so the cost follows the range.
        """
        for part in self.parts:
            if part.first is None or part.last is None or part.last < first or last < part.first:
                continue
            with parts.open_part(self.path_of(part)) as file:
                name = file.schema_arrow.names[0]
                for group in range(file.num_row_groups):
                    statistics = file.metadata.row_group(group).column(0).statistics
                    if first <= statistics.max and statistics.min <= last:
                        yield file.read_row_group(group, [name], use_threads=False)[name]


def open_store(
    location: str | Path, version: int | None = None, *, expected: Fingerprint | None = None
) -> Store:
    """Open a table at a version, by default the newest.

    Args:
        location: the table's folder.
        version: to read the table as it was.
        expected: the fingerprint that the caller can work with.

    Raises:
        FileNotFoundError: if there is no table.
        ValueError: if there is no such version, or the fingerprint differs (naming the part).
    """
    table = delta.open_log(location)
    newest = table.version()
    if version is not None and not 0 <= version <= newest:
        raise ValueError(f"{location} has versions 0 to {newest}, got {version}")
    version = newest if version is None else version
    commits = tuple(c for c in _commits(table) if c.version <= version)
    table.load_as_version(version)
    live = set(pa.table(table.get_add_actions(flatten=True))["path"].to_pylist())
    known = {part.path: part for commit in commits for part in commit.added}
    unknown = sorted(path for path in live if path not in known)
    if unknown:
        raise ValueError(f"{location} holds parts that no run of ours committed: {unknown[:3]}")
    fingerprint = commits[-1].fingerprint
    if expected is not None:
        check_same(fingerprint, expected, of=f"the store {str(location)!r}")
    held = tuple(known[path] for path in sorted(live))
    return Store(str(location), version, fingerprint, held, commits)


def commit(  # noqa: PLR0913 - the keywords say who commits, why, and after what
    location: str | Path,
    schema: pa.Schema,
    added: Sequence[Part],
    *,
    run_id: str,
    fingerprint: Fingerprint,
    summary: Mapping[str, object],
    after: int | None = None,
) -> int:
    """Make parts visible, all at once, and exactly once per run id.

    Args:
        location: the table's folder; the table is created if there is none.
        schema: of the parts, with the partition column last if the parts lie in partitions.
        added: the parts, already written under the folder.
        run_id: a second commit under the same id changes nothing.
        fingerprint: what the rows were made from.
        summary: kept with the version; JSON values.
        after: commit only if the table is still at this version, `NOT_THERE` for none; by default
            runs that add to the table at the same time all succeed, one after the other.

    Returns:
        The version that holds the run's parts.

    Raises:
        ValueError: if the table has another fingerprint, naming the part that differs.
        Overtaken: if another run committed since `after`.
    """
    information = {
        "ltd.run_id": run_id,
        "ltd.schema_version": tables.SCHEMA_VERSION,
        "ltd.fingerprint": json.dumps(dict(fingerprint), ensure_ascii=False),
        "ltd.parts": json.dumps([dataclasses.asdict(part) for part in added]),
        "ltd.summary": json.dumps(dict(summary), ensure_ascii=False),
    }
    # Delta's own retries let two creations of one table both land (75 of 80 tries at once), so a
    # commit that finds its version taken comes back here and looks again.
    properties = CommitProperties(
        custom_metadata=information,
        app_transactions=[Transaction(run_id, 1)],
        max_commit_retries=0,
    )
    while True:
        # Look at the version first: who commits after that look makes our write fail.
        seen = delta.version(location)
        done = committed(location, run_id)
        if done is not None:
            return done.version
        if after not in (None, seen):
            raise Overtaken(f"{location} went from version {after} to {seen} meanwhile")
        if seen != NOT_THERE:
            open_store(location, seen, expected=fingerprint)
        try:
            delta.write(location, seen, schema, added, properties)
        except (CommitFailedError, DeltaError):
            if delta.version(location) == seen:
                raise


def committed(location: str | Path, run_id: str) -> Commit | None:
    """The commit of a run, or None if the run has not committed."""
    if not exists(location):
        return None
    found = [c for c in _commits(delta.open_log(location)) if c.run_id == run_id]
    return found[0] if found else None


def _commits(table: DeltaTable) -> list[Commit]:
    entries = sorted(table.history(), key=lambda entry: entry["version"])
    return [_commit(entry) for entry in entries if "ltd.run_id" in entry]


def _commit(entry: Mapping[str, str]) -> Commit:
    return Commit(
        version=int(entry["version"]),
        run_id=entry["ltd.run_id"],
        fingerprint=json.loads(entry["ltd.fingerprint"]),
        added=tuple(Part(**values) for values in json.loads(entry["ltd.parts"])),
        summary=json.loads(entry["ltd.summary"]),
    )
