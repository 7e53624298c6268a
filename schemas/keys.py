"""Where the keys of a store are: for whoever must know which sentences are there already."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from schemas import delta, parts
from schemas.commits import read_commits
from schemas.parts import Part

_COLUMNS = pa.schema({"path": pa.string(), "first": pa.string(), "last": pa.string()})


@dataclasses.dataclass(frozen=True)
class Keys:
    """The key ranges of a store's parts: 0.2 kB a part, where an opened store takes a kilobyte.

    Attributes:
        location: the store's folder.
        ranges: of the parts: path, first and last key.
        forgotten: keys that must not come back.
    """

    location: str
    ranges: pa.Table
    forgotten: tuple[str, ...] = ()

    @classmethod
    def of(cls, location: str, held: Sequence[Part]) -> "Keys":
        """Those of some parts."""
        return cls(location, _ranges(held))

    def overlapping(self, first: str, last: str) -> list[str]:
        """Paths of the parts that may hold a key with first <= key <= last."""
        begins = pc.less_equal(self.ranges["first"], last)
        ends = pc.greater_equal(self.ranges["last"], first)
        found: list[str] = self.ranges.filter(pc.and_(begins, ends))["path"].to_pylist()
        return found

    def between(self, first: str, last: str) -> Iterator[pa.ChunkedArray]:
        """The keys with first <= key <= last, and some near them, by row group.

        Parts and row groups outside the range are not read, so the cost follows the range.
        """
        for path in self.overlapping(first, last):
            with parts.open_part(parts.join(self.location, path)) as file:
                name = file.schema_arrow.names[0]
                for group in range(file.num_row_groups):
                    statistics = file.metadata.row_group(group).column(0).statistics
                    if first <= statistics.max and statistics.min <= last:
                        yield file.read_row_group(group, [name], use_threads=False)[name]


def open_keys(location: str | Path, version: int) -> Keys:
    """The keys of a version, from what our commits say alone, an entry at a time.

    For workers: who started them has opened this version, and compared it with what Delta lists.

    Raises:
        ValueError: if the log is damaged.
    """
    ranges = [_COLUMNS.empty_table()]
    forgotten: set[str] = set()
    for commit in read_commits(delta.entries(location, range(version + 1)), str(location)):
        if commit.removed:
            removed = pa.array(commit.removed, pa.string())
            ranges = [one.filter(pc.invert(pc.is_in(one["path"], removed))) for one in ranges]
        ranges.append(_ranges(commit.added))
        forgotten.update(commit.forgotten)
    return Keys(str(location), pa.concat_tables(ranges), tuple(sorted(forgotten)))


def _ranges(held: Iterable[Part]) -> pa.Table:
    rows = [(part.path, part.first, part.last) for part in held if part.rows]
    return pa.Table.from_arrays(
        [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(_COLUMNS)],
        schema=_COLUMNS,
    )
