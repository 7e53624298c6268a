"""Which sentences of a range of ids a store does not have: the anti-join of every later run."""

import dataclasses
import functools
import threading
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks import id_range
from pipelines.sentences import Counts, distinct
from schemas import delta
from schemas.keys import Keys, open_keys

_KEYS_AT_ONCE = 1 << 18  # 10 MB, and four times as much while they are looked up
_ONE_AT_A_TIME = threading.Lock()


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
    ids = pa.array([one.hex() for one in rows["sentence_id"].to_pylist()], pa.string())
    rows = rows.set_column(0, "sentence_id", ids)
    if known is None:
        return rows, {"distinct": len(ids), "forgotten": 0, "new": len(ids), "reused": 0}
    held = keys_of(known)
    rows = _without(rows, pa.array(held.forgotten, pa.string()))
    forgotten = len(ids) - rows.num_rows
    for some in _batches(held.between(*id_range(partition, partitions))):
        rows = _without(rows, some)
    counts = {"distinct": len(ids), "forgotten": forgotten, "new": rows.num_rows}
    return rows, {**counts, "reused": len(ids) - forgotten - rows.num_rows}


def keys_of(known: Known) -> Keys:
    """The keys of a store: looked up once per process, since a million parts take 10 s."""
    with _ONE_AT_A_TIME:
        return _looked_up(known, delta.written(known.location, known.version))


@functools.lru_cache(maxsize=2)
def _looked_up(known: Known, written: tuple[int, int]) -> Keys:
    """A process may outlive a store, and see another one in its place: `written` tells."""
    return open_keys(known.location, known.version)


def _batches(groups: Iterable[pa.ChunkedArray]) -> Iterator[pa.Array]:
    """Keys joined up to a bounded number: all of a range's may be more than memory holds."""
    held: list[pa.Array] = []
    keys = 0
    for group in groups:
        held += group.chunks
        keys += len(group)
        if keys >= _KEYS_AT_ONCE:
            yield pa.concat_arrays(held)
            held, keys = [], 0
    if held:
        yield pa.concat_arrays(held)


def _without(rows: pa.Table, ids: pa.Array) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows["sentence_id"], value_set=ids)))
