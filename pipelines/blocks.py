"""Arrow tables as the elements that cross Beam: many rows a message, compressed."""

import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


def pack(table: pa.Table) -> bytes:
    """An Arrow table as bytes."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(blocks: Iterable[bytes]) -> pa.Table:
    """The rows of all blocks, which have one schema, in one table."""
    return pa.concat_tables([pa.ipc.open_stream(block).read_all() for block in blocks])


def id_partition(sentence_id: bytes, partitions: int) -> int:
    """Which of equal ranges of the id space an id falls into; ranges keep parts sorted overall.

    >>> id_partition(bytes.fromhex("7fffffff") + bytes(12), 4)
    1
    """
    return int.from_bytes(sentence_id[:4]) * partitions >> 32


def id_range(partition: int, partitions: int) -> tuple[str, str]:
    """The smallest and largest id, as 32 hexadecimal digits, that `id_partition` sends there.

    >>> id_range(1, 4)
    ('40000000000000000000000000000000', '7fffffffffffffffffffffffffffffff')
    """
    low = -(-(partition << 32) // partitions)
    high = -(-((partition + 1) << 32) // partitions) - 1
    return f"{low:08x}" + "0" * 24, f"{high:08x}" + "f" * 24


def word_partitions(words: Iterable[str], partitions: int) -> npt.NDArray[np.int64]:
    """The partition of each word, by crc32: Python's own hash differs between processes."""
    return np.fromiter((zlib.crc32(word.encode()) % partitions for word in words), dtype=np.int64)
