"""A table on disk: immutable parts under a Delta Lake log.

Delta gives atomic commits, versions, and exactly one commit per run id. On top of it stand a
fingerprint, so that rows made under different conditions never mix, and the sha256 of every part.
Both are in the commits' own information, which the log keeps for ever.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from pyarrow import dataset

from schemas import delta, parts, tables
from schemas.audit import check_kept, check_live, check_written
from schemas.commits import Change, Commit, read_commits, write_commit
from schemas.delta import NOT_THERE
from schemas.delta import exists as exists
from schemas.fingerprint import Fingerprint, check_same
from schemas.keys import Keys
from schemas.parts import Part

_READERS = 4  # threads that digest parts; hashing lets go of the interpreter lock
_AT_ONCE = 1024  # parts that are asked for at a time


class Overtaken(Exception):
    """Another run committed first, and it matters."""


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

    @property
    def forgotten(self) -> list[str]:
        """Keys that were removed on request: a run that meets them again leaves them out."""
        return sorted({key for commit in self.commits for key in commit.forgotten})

    def commit_of(self, part: Part) -> Commit:
        """The commit that added a part."""
        return self._adders[part]

    @functools.cached_property
    def _adders(self) -> dict[Part, Commit]:
        return {part: commit for commit in self.commits for part in commit.added}

    def path_of(self, part: Part) -> str:
        """Where a part lies."""
        return parts.join(self.location, part.path)

    def dataset(self) -> dataset.Dataset:
        """Exactly the committed parts, with the partition column, for scanning with pyarrow."""
        for part in self.parts:
            parts.open_part(self.path_of(part)).close()  # refuses what pyarrow would not
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
        for _, fault in self.faults():
            raise ValueError(f"{fault}; `python -m pipelines store repair` can mend a store")

    def faults(self) -> Iterator[tuple[Part, str]]:
        """The parts that are not as they were committed, and what is wrong with each."""
        with ThreadPoolExecutor(_READERS) as threads:
            for start in range(0, len(self.parts), _AT_ONCE):
                some = self.parts[start : start + _AT_ONCE]
                for part, fault in zip(some, threads.map(self._fault_of, some), strict=True):
                    if fault is not None:
                        yield part, fault

    def check(self, part: Part) -> None:
        """Refuse a part that is not as it was committed.

        Raises:
            ValueError: saying what is wrong with it.
        """
        fault = self._fault_of(part)
        if fault is not None:
            raise ValueError(fault)

    def _fault_of(self, part: Part) -> str | None:
        path = self.path_of(part)
        if not parts.exists(path):
            return f"part {path} is missing"
        found = parts.sha256(path)
        if found == part.sha256:
            return None
        return (
            f"part {path} has changed since it was committed: its sha256 is {found}, "
            f"committed was {part.sha256}"
        )

    def keys(self, first: str, last: str) -> Iterator[pa.ChunkedArray]:
        """The keys (first column) with first <= key <= last, and some near them, by row group."""
        return self._keys.between(first, last)

    @functools.cached_property
    def _keys(self) -> Keys:
        return Keys.of(self.location, self.parts)


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
    newest = delta.version(location)
    if newest == NOT_THERE:
        raise FileNotFoundError(f"there is no table at {location}")
    if version is not None and not 0 <= version <= newest:
        raise ValueError(f"{location} has versions 0 to {newest}, got {version}")
    version = newest if version is None else version
    with delta.reading(location):
        live = delta.live_parts(delta.open_log(location, version))
    commits = tuple(_commits(location, range(version + 1)))
    known = check_live(location, live, commits)
    fingerprint = commits[-1].fingerprint
    if expected is not None:
        check_same(fingerprint, expected, of=f"the store {str(location)!r}")
    held = tuple(known[path] for path in sorted(live))
    opened = Store(str(location), version, fingerprint, held, commits)
    if version != newest:
        check_kept(location, version, held)
    return opened


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
        after: commit only if no run has committed since this version, `NOT_THERE` for none; by
            default runs that add to the table at the same time all succeed, one after the other.

    Returns:
        The version that holds the run's parts.

    Raises:
        ValueError: if the table has another fingerprint, naming the part that differs.
        Overtaken: if another run committed since `after`.
    """
    change = Change(schema, tuple(added), run_id, fingerprint, summary)
    return _commit(location, change, after)


def rewrite(opened: Store, change: Change) -> int:
    """Put parts in the place of others, on top of the version that was opened.

    Returns:
        The new version; older ones stay as they are.

    Raises:
        Overtaken: if another run has committed since the store was opened.
    """
    return _commit(opened.location, change, opened.version)


def _commit(location: str | Path, change: Change, after: int | None) -> int:
    # Delta's own retries let two creations of one table both land (75 of 80 tries at once), so a
    # commit that finds its version taken comes back here and looks again.
    properties = CommitProperties(
        custom_metadata=write_commit(change),
        app_transactions=[Transaction(change.run_id, 1)],
        max_commit_retries=0,
    )
    while True:
        # Look at the version first: who commits after that look makes our write fail.
        seen = delta.version(location)
        opened = None if seen == NOT_THERE else open_store(location, seen)
        commits = opened.commits if opened else ()
        done = [one.version for one in commits if one.run_id == change.run_id]
        if done:
            return done[0]
        # Vacuuming makes versions too, but changes no row, so it overtakes nobody.
        last = commits[-1].version if commits else NOT_THERE
        if after is not None and not last <= after <= seen:
            raise Overtaken(f"{location} went from version {after} to {last} meanwhile")
        if opened and not change.moves:
            check_same(opened.fingerprint, change.fingerprint, of=f"the store {str(location)!r}")
        check_written(location, change.added)
        try:
            delta.write(location, seen, change, properties)
            landed = _commits(location, range(seen + 1, seen + 2))
            if any(one.run_id == change.run_id for one in landed):
                return seen + 1
        except (CommitFailedError, DeltaError):
            if delta.version(location) == seen:
                raise


def committed(location: str | Path, run_id: str) -> Commit | None:
    """The commit of a run, or None if the run has not committed."""
    versions = range(delta.version(location) + 1)
    return next((one for one in _commits(location, versions) if one.run_id == run_id), None)


def _commits(location: str | Path, versions: range) -> Iterator[Commit]:
    return read_commits(delta.entries(location, versions), str(location))
