"""Job: the sentences of a file -> their vectors, with an exported student, in bounded memory."""

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from distill_jobs.encoder import BATCH_SIZE, SentenceEncoder
from schemas.command import on_terminal, run_job
from schemas.footer import refuse_extensions
from schemas.text import clean, sentence_id

_ROWS = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodeConfig:
    """Turn the sentences of a file into vectors."""

    student: Path
    """Folder of the exported student."""
    input: Path
    """A text file with a sentence a line, or a Parquet file."""
    out: Path
    """Parquet file to write: sentence_id, text, vector; one row for each input row, in order."""
    field: str = "text"
    """Column of a Parquet input that holds the sentences."""
    batch_size: int = BATCH_SIZE
    """Sentences encoded together."""
    backend: str = "auto"
    """auto (onnx-int8 where it is as good and no neighbour moves it, else onnx), onnx-int8, onnx,
    torch."""
    threads: int | None = None
    """Batches that ONNX encodes at a time, by default 1; processor threads of torch."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and encode."""
    run_job(EncodeConfig, argv, encode_file)


def encode_file(config: EncodeConfig) -> dict[str, object]:
    """Encode a file; the output appears when it is whole.

    Returns:
        Rows, seconds, rows per second, and the backend used.

    Raises:
        FileNotFoundError: if there is no such student or input.
        ValueError: if the input has no such column, or the student no such backend.
    """
    encoder = SentenceEncoder.load(config.student, config.backend, config.threads)
    element = pa.field("element", pa.float32(), nullable=False)
    schema = pa.schema(
        {"sentence_id": pa.string(), "text": pa.string(), "vector": pa.list_(element)}
    )
    aside = config.out.with_name(f".{config.out.name}.{os.getpid()}.tmp")
    began, rows = time.monotonic(), 0
    config.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            pq.ParquetWriter(aside, schema, compression="zstd", use_dictionary=False) as writer,
            tqdm(unit="rows", disable=not on_terminal()) as bar,
        ):
            for texts in _read(config.input, config.field):
                vectors = encoder.encode(texts, config.batch_size)
                writer.write_table(_table(texts, vectors, schema))
                rows += len(texts)
                bar.update(len(texts))
        os.replace(aside, config.out)
    finally:
        aside.unlink(missing_ok=True)
    seconds = time.monotonic() - began
    rate = round(rows / max(seconds, 1e-9), 1)
    found: dict[str, object] = {"rows": rows, "seconds": round(seconds, 2)}
    return {**found, "rows_per_second": rate, "backend": encoder.card["backend"]}


def _read(path: Path, field: str) -> Iterator[list[str]]:
    """The sentences of a file, a few thousand at a time."""
    if path.suffix == ".parquet":
        with path.open("rb") as source:
            refuse_extensions(source, str(path))
        with pq.ParquetFile(path, arrow_extensions_enabled=False) as file:
            if field not in file.schema_arrow.names:
                has = ", ".join(file.schema_arrow.names)
                raise ValueError(f"{path} has no column {field!r}; it has {has}")
            for batch in file.iter_batches(_ROWS, columns=[field]):
                yield ["" if text is None else text for text in batch.column(0).to_pylist()]
        return
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
        held: list[str] = []
        for line in file:
            held.append(line)
            if len(held) == _ROWS:
                yield held
                held = []
        if held:
            yield held


def _table(texts: list[str], vectors: np.ndarray, schema: pa.Schema) -> pa.Table:
    cleaned = [clean(text) for text in texts]
    offsets = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
    values = pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(vectors.ravel()), type=schema.field("vector").type
    )
    return pa.table([[sentence_id(text) for text in cleaned], cleaned, values], schema=schema)
