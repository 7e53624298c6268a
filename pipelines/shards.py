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

from pipelines.embedding import Embedded, Teacher, embed, first_unusable
from pipelines.known import Known
from pipelines.sentences import Counts
from pipelines.signs import staging_of
from schemas import parts, tables
from schemas.fingerprint import digest
from schemas.parts import Part
from schemas.prepare import Prepared, Preparer
from schemas.projection import Projection, load, projection_folder
from schemas.vectors import encode

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
        fingerprint: of the store; it names the projection, if there is one.
        poolings: vector columns.
        vector_dtype: float32, float16 or int8.
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
        return staging_of(self.location, self.run_id)

    @property
    def known(self) -> Known | None:
        """The sentences that the store has already."""
        return None if self.base_version is None else Known(self.location, self.base_version)

    def part_path(self, shard: Shard) -> str:
        """Path of the shard's part under the store, as `parts.write` takes it."""
        return f"{tables.INGEST_DATE.name}={self.date}/{shard.name}-*.parquet"

    def projections(self) -> dict[str, Projection]:
        """The store's, by pooling, read from beside it; none if it keeps whole vectors."""
        made_by = self.fingerprint.get("projection")
        return load(projection_folder(self.location, made_by)) if made_by else {}

    def schema(self, width: int) -> pa.Schema:
        """Of the parts, for a teacher whose vectors have `width` numbers."""
        sizes = [one.size for one in self.projections().values()]
        return tables.teacher_schema(
            self.poolings,
            sizes[0] if sizes else width,
            self.vector_dtype,
            text=self.keep_text,
            projected=bool(sizes),
        )


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
    table, embedded = embed_rows(prepared, teacher, target, token_budget)
    part = parts.write(table, target.location, target.part_path(shard))
    record: Record = {
        "part": dataclasses.asdict(part),
        "tokens": embedded.tokens,
        "padded_tokens": embedded.padded_tokens,
        "seconds": round(time.monotonic() - began, 3),
    }
    parts.write_bytes(json.dumps(record).encode(), target.staging, f"{shard.name}.json")
    return record


def embed_rows(
    prepared: pa.Table, teacher: Teacher, target: Target, token_budget: int
) -> tuple[pa.Table, Embedded]:
    """Embed prepared rows.

    Args:
        prepared: with at least sentence_id, source, token_ids, weights, and text if it is kept.
        teacher: the model.
        target: says which columns are wanted.
        token_budget: tokens in a batch, padding included.

    Returns:
        The rows in the store's schema, and what they cost.

    Raises:
        ValueError: if the teacher gives a NaN, an infinity or a zero vector.
    """
    token_ids = _rows(prepared["token_ids"])
    weights = _rows(prepared["weights"])
    embedded = embed(teacher, token_ids, weights, target.poolings, token_budget)
    for pooling, vectors in embedded.vectors.items():
        bad = first_unusable(vectors)
        if bad is not None:
            told = prepared["text"][bad].as_py()[:40] if target.keep_text else ""
            raise ValueError(
                f"the teacher gives no usable {pooling} vector for sentence "
                f"{prepared['sentence_id'][bad].as_py()} ({told!r}): "
                "NaN, infinite or zero; check the model, or use --dtype float32"
            )
    return _table(prepared, embedded, target), embedded


def _rows(column: pa.ChunkedArray) -> list[npt.NDArray[Any]]:
    """A list column as one array per row, without copying the numbers."""
    array = column.combine_chunks()
    offsets = array.offsets.to_numpy()
    return np.split(array.values.to_numpy(), offsets[1:-1])


def _table(prepared: pa.Table, embedded: Embedded, target: Target) -> pa.Table:
    """The rows of a part, in the store's schema."""
    main = embedded.vectors[target.poolings[0]]
    schema = target.schema(main.shape[1])
    projections = target.projections()
    lengths = pc.list_value_length(prepared["token_ids"])
    columns: dict[str, pa.Array] = {name: prepared[name] for name in prepared.column_names}
    columns["n_tokens"] = lengths
    columns["norm"] = pa.array(np.linalg.norm(main, axis=1).astype(np.float32))
    for pooling, vectors_NH in embedded.vectors.items():
        one = projections.get(pooling)
        stored_NK = one.project(vectors_NH) if one else vectors_NH
        columns |= encode(stored_NK, pooling, target.vector_dtype)
    made_with = {f"ltd.{name}": value for name, value in target.fingerprint.items()}
    schema = schema.with_metadata(made_with)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def part_of(record: Record) -> Part:
    """The part that a record is about."""
    return Part(**record["part"])
