"""Which sentences of a range of ids a store does not have: the anti-join of every later run."""

import dataclasses
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks import id_range
from pipelines.sentences import Counts, distinct
from schemas.store import open_store


@dataclasses.dataclass(frozen=True)
class Known:
    """A store at a version, whose sentences need no more work."""

    location: str
    version: int


def new_sentences(
    blocks: Iterable[bytes], partition: int, partitions: int, known: Known | None
) -> tuple[pa.Table, Counts]:
    """The distinct sentences of a partition that the store does not have, and how many it has.

    Sentences that the store was asked to forget count as neither.

    Args:
        blocks: sentences of the partition, in the schema `SENTENCES`.
        partition: a range of ids, see `id_partition`.
        partitions: how many there are.
        known: the store to compare with, if any; only the row groups of the range are read.

    Returns:
        The new sentences, their ids in hexadecimal; counts.
    """
    rows = distinct(blocks)
    held: list[pa.Array] = []
    forgotten: list[str] = []
    if known is not None:
        opened = open_store(known.location, known.version)
        forgotten = opened.forgotten
        low, high = id_range(partition, partitions)
        for keys in opened.keys(low, high):
            held += keys.chunks
    ids = pa.array([one.hex() for one in rows["sentence_id"].to_pylist()], pa.string())
    rows = rows.set_column(0, "sentence_id", ids)
    if forgotten:
        rows = rows.filter(_not_in(rows["sentence_id"], [pa.array(forgotten, pa.string())]))
    counts = {"distinct": len(ids), "forgotten": len(ids) - rows.num_rows}
    left = rows.num_rows
    if held:
        rows = rows.filter(_not_in(rows["sentence_id"], held))
    return rows, {**counts, "new": rows.num_rows, "reused": left - rows.num_rows}


def _not_in(ids: pa.ChunkedArray, others: list[pa.Array]) -> pa.ChunkedArray:
    return pc.invert(pc.is_in(ids, value_set=pa.concat_arrays(others)))
