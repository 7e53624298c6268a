"""A shard: the new sentences of one range of ids, first prepared (CPU), then embedded into a part.

Both steps are plain functions on files, named by content, so doing one twice does no harm and
doing it again after a crash costs nothing.
"""

import dataclasses
import json
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks import id_range
from pipelines.embedding import Embedded, Teacher, embed, first_unusable
from pipelines.sentences import Counts, distinct
from schemas import parts, store, tables
from schemas.fingerprint import digest
from schemas.parts import Part
from schemas.prepare import Prepared, Preparer

_PREPARE_ROWS = 4096

Record = dict[str, Any]
"""What a finished shard leaves behind: its part, tokens, padded_tokens, seconds."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """Prepared sentences, waiting for the teacher; this is what crosses Beam.

    Attributes:
        name: the part's file name without suffix; tells content.
        partition: the range of ids that it begins with.
        rows: sentences in it.
        prepared: staging files that hold them, in the order of their ids.
    """

    name: str
    partition: int
    rows: int
    prepared: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a run writes, and what it writes.

    Attributes:
        location: the store's folder.
        run_id: of this run; its staging folder is named after it.
        date: logical date, YYYY-MM-DD.
        base_version: version of the store whose sentences count as known; None for a new store.
        fingerprint: of the store.
        poolings: vector columns.
        vector_dtype: float32 or float16.
        keep_text: whether the parts hold the sentences.
    """

    location: str
    run_id: str
    date: str
    base_version: int | None
    fingerprint: dict[str, str]
    poolings: tuple[str, ...]
    vector_dtype: str
    keep_text: bool

    @property
    def staging(self) -> str:
        """Folder beside the store for what the run must remember until its commit."""
        return f"{self.location}.staging/{self.run_id}"

    def part_path(self, shard: Shard) -> str:
        """Path of the shard's part under the store."""
        return f"{tables.INGEST_DATE.name}={self.date}/{shard.name}.parquet"


def new_sentences(
    blocks: Iterable[bytes], partition: int, partitions: int, target: Target
) -> tuple[pa.Table, Counts]:
    """The distinct sentences of a partition that the store does not have, and how many it has."""
    rows = distinct(blocks)
    known: list[pa.Array] = []
    if target.base_version is not None:
        opened = store.open_store(target.location, target.base_version)
        low, high = id_range(partition, partitions)
        for keys in opened.keys(low, high):
            known += keys.chunks
    ids = pa.array([one.hex() for one in rows["sentence_id"].to_pylist()], pa.string())
    rows = rows.set_column(0, "sentence_id", ids)
    if known:
        fresh = pc.invert(pc.is_in(ids, value_set=pa.concat_arrays(known)))
        rows = rows.filter(fresh)
    return rows, {"distinct": len(ids), "new": rows.num_rows, "reused": len(ids) - rows.num_rows}


def prepare_shard(
    rows: pa.Table, partition: int, preparer: Preparer, target: Target
) -> tuple[Shard | None, Counts, list[int]]:
    """Prepare new sentences and keep them in the staging folder.

    Returns:
        The shard, or None if nothing is left; counts; and the rows in which the tokenizer sees
        nothing, which are left out.
    """
    ids = rows["sentence_id"].to_pylist()
    name = f"part-{partition:05d}-{digest([target.fingerprint, ids])}"
    texts = rows["text"].to_pylist()
    prepared: list[Prepared] = []
    for start in range(0, len(texts), _PREPARE_ROWS):
        prepared += preparer.prepare(texts[start : start + _PREPARE_ROWS])
    empty = [index for index, one in enumerate(prepared) if not one.weights.any()]
    kept = [index for index in range(len(prepared)) if prepared[index].weights.any()]
    if not kept:
        return None, {"new": -len(empty)}, empty
    table = rows.select(["sentence_id", "text", "source"]).take(pa.array(kept))
    schema = tables.teacher_schema(("idf",), 1)
    table = table.append_column("token_ids", _lists([prepared[i].token_ids for i in kept], schema))
    table = table.append_column("weights", _lists([prepared[i].weights for i in kept], schema))
    parts.write(table, target.staging, f"{name}.prepared")
    return Shard(name, partition, len(kept), (name,)), {"new": -len(empty)}, empty


def join_small(shards: Iterable[Shard], rows: int) -> list[Shard]:
    """Join neighbouring shards while they stay within `rows` sentences.

    A night's few new sentences are spread over all ranges of ids: 10,000 over 28 parts cost 22 % of
    padding and 28 files.

    >>> a, b, c = (Shard(f"part-{i}", i, 2, (f"part-{i}",)) for i in range(3))
    >>> [(one.partition, one.rows, one.prepared) for one in join_small([c, a, b], rows=4)]
    [(0, 4, ('part-0', 'part-1')), (2, 2, ('part-2',))]
    """
    joined: list[Shard] = []
    for shard in sorted(shards, key=lambda one: one.partition):
        last = joined[-1] if joined else None
        if last is None or last.rows + shard.rows > rows:
            joined.append(shard)
            continue
        prepared = last.prepared + shard.prepared
        name = f"part-{last.partition:05d}-{digest(prepared)}"
        joined[-1] = Shard(name, last.partition, last.rows + shard.rows, prepared)
    return joined


def _lists(rows: list[npt.NDArray[Any]], schema: pa.Schema) -> pa.Array:
    """Rows of numbers as an Arrow list column with elements that are not null."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
    values = pa.array(np.concatenate(rows))
    name = "token_ids" if values.type == pa.int32() else "weights"
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=schema.field(name).type)


def record_of(shard: Shard, target: Target) -> Record | None:
    """What an earlier try wrote down of a shard's finished part; None if it is not finished."""
    path = parts.join(target.staging, f"{shard.name}.json")
    if not parts.exists(path):
        return None
    found: Record = json.loads(parts.read_bytes(path))
    return found


def embed_shard(shard: Shard, teacher: Teacher, target: Target, token_budget: int) -> Record:
    """Embed a prepared shard, write its part, and then the record that says that it is finished.

    Returns:
        The record: the part, tokens, padded tokens, seconds.

    Raises:
        ValueError: if the teacher gives a NaN, an infinity or a zero vector; nothing is written.
    """
    began = time.monotonic()
    paths = [parts.join(target.staging, f"{name}.prepared") for name in shard.prepared]
    prepared = pa.concat_tables([parts.read(path) for path in paths])
    token_ids = _rows(prepared["token_ids"])
    weights = _rows(prepared["weights"])
    embedded = embed(teacher, token_ids, weights, target.poolings, token_budget)
    for pooling, vectors in embedded.vectors.items():
        bad = first_unusable(vectors)
        if bad is not None:
            raise ValueError(
                f"the teacher gives no usable {pooling} vector for sentence "
                f"{prepared['sentence_id'][bad].as_py()} ({prepared['text'][bad].as_py()[:40]!r}): "
                "NaN, infinite or zero; check the model, or use --dtype float32"
            )
    part = parts.write(_table(prepared, embedded, target), target.location, target.part_path(shard))
    record: Record = {
        "part": dataclasses.asdict(part),
        "tokens": embedded.tokens,
        "padded_tokens": embedded.padded_tokens,
        "seconds": round(time.monotonic() - began, 3),
    }
    parts.write_bytes(json.dumps(record).encode(), target.staging, f"{shard.name}.json")
    return record


def _rows(column: pa.ChunkedArray) -> list[npt.NDArray[Any]]:
    """A list column as one array per row, without copying the numbers."""
    array = column.combine_chunks()
    offsets = array.offsets.to_numpy()
    return np.split(array.values.to_numpy(), offsets[1:-1])


def _table(prepared: pa.Table, embedded: Embedded, target: Target) -> pa.Table:
    """The rows of a part, in the store's schema."""
    main = embedded.vectors[target.poolings[0]]
    schema = tables.teacher_schema(
        target.poolings, main.shape[1], target.vector_dtype, text=target.keep_text
    )
    lengths = pc.list_value_length(prepared["token_ids"])
    columns: dict[str, pa.Array] = {name: prepared[name] for name in prepared.column_names}
    columns["n_tokens"] = lengths
    columns["norm"] = pa.array(np.linalg.norm(main, axis=1).astype(np.float32))
    for pooling, vectors in embedded.vectors.items():
        values = pa.array(vectors.astype(target.vector_dtype).ravel())
        offsets = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
        field = schema.field(f"vector_{pooling}")
        columns[field.name] = pa.ListArray.from_arrays(pa.array(offsets), values, type=field.type)
    made_with = {f"ltd.{name}": value for name, value in target.fingerprint.items()}
    schema = schema.with_metadata(made_with)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def part_of(record: Record) -> Part:
    """The part that a record is about."""
    return Part(**record["part"])
