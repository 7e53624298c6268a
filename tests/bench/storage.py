"""What each way of keeping vectors costs and loses, from the whole vectors of a store.

    python -m tests.bench.storage --store work/teacher --out work/storage --rows 200000

Every encoding is written as a store of its own, with the rows' other columns, and read back. No
teacher is needed: the vectors are there. A student is trained from each store and scored against
the whole vectors of the held-out rows, whatever its store kept of them.
Array letters: N rows, H the teacher's width, Q rows that ask, K neighbours.
"""

import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import tyro

from distill_jobs import checkpoint
from distill_jobs.loop import new_student
from distill_jobs.preflight import preflight
from distill_jobs.reader import hold_out, read_group, row_groups
from distill_jobs.train import TrainConfig, distil
from distill_jobs.validation import held_out_batches, validate
from schemas import parts, projection, store, tables
from schemas.projection import Projection
from schemas.store import Store
from schemas.vectors import Decoder, columns, encode, open_decoder

ENCODINGS = ("float32", "float16", "int8", "pca-256", "pca-128", "pca-64", "pca-128+int8")
_SAMPLE = 8192  # sentences that components are fitted to, as in the teacher job
_AMONG, _QUERIES, _NEIGHBOURS = 10_000, 1000, 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """Compare encodings of one store's vectors."""

    store: str
    """A teacher store of float32 vectors; only read."""
    out: Path
    """Folder for the stores and trainings; must not exist."""
    rows: int = 200_000
    """Rows to take, from the start of the store: a random sample, its parts are sorted by hash."""
    pooling: str = "idf"
    """Which vectors."""
    encodings: tuple[str, ...] = ENCODINGS
    """float32, float16, int8, pca-N or pca-N+int8; components must be fewer than the numbers."""
    students: tuple[str, ...] = ("static", "bilstm")
    """Students to train from each store."""
    epochs: int = 1
    """Passes of each training."""
    seeds: int = 1
    """Trainings of each student, with seeds 0, 1, ..."""
    rounds: int = 3
    """Times that reading and writing are measured."""


def take(opened: Store, pooling: str, rows: int) -> list[pa.Table]:
    """The first rows of a store, a table per part; one pooling's vectors, and what is not vectors.

    Raises:
        ValueError: if the store holds anything but whole float32 vectors.
    """
    if opened.fingerprint["vector_dtype"] != "float32" or "projection" in opened.fingerprint:
        raise ValueError(f"{opened.location} does not hold whole float32 vectors")
    found, left = [], rows
    for part in opened.parts:
        table = parts.read(opened.path_of(part)).slice(0, left)
        mine = columns(table.schema, pooling)
        others = [name for name in table.column_names if not name.startswith("vector_")]
        found.append(table.select([*others, *mine]).combine_chunks())
        left -= table.num_rows
        if left <= 0:
            break
    return found


def put(location: str, taken: list[pa.Table], exact: Store, pooling: str, encoding: str) -> float:
    """Write rows as a store in one encoding; returns the seconds that the parts took."""
    size, dtype = read_encoding(encoding)
    width = len(taken[0][f"vector_{pooling}"][0])
    fingerprint = {**exact.fingerprint, "poolings": pooling, "vector_dtype": dtype}
    flat = None
    if size:
        sample = Decoder(pooling, ()).decode(pa.concat_tables(taken).slice(0, _SAMPLE))
        flat = Projection.fit(sample, size)
        fingerprint["projection"] = projection.digest_of({pooling: flat})
        folder = projection.projection_folder(location, fingerprint["projection"])
        projection.save({pooling: flat}, folder)
    text = "text" in taken[0].column_names
    schema = tables.teacher_schema((pooling,), size or width, dtype, text=text, projected=size > 0)
    began, added = time.perf_counter(), []
    for number, table in enumerate(taken):
        vectors_NH = Decoder(pooling, ()).decode(table)
        stored_NK = flat.project(vectors_NH) if flat else vectors_NH
        held = {name: table[name] for name in table.column_names}
        held |= encode(stored_NK, pooling, dtype)
        rows = pa.table([held[name] for name in schema.names], schema=schema)
        path = f"ingest_date=2026-01-01/part-{number:05d}.parquet"
        added.append(parts.write(rows, location, path))
    seconds = time.perf_counter() - began
    parts.tidy(location)
    full = schema.append(tables.INGEST_DATE)
    summary = {"teacher": "as in the source"}
    store.commit(location, full, added, run_id="bench", fingerprint=fingerprint, summary=summary)
    return seconds


def read_encoding(name: str) -> tuple[int, str]:
    """Components and element type that an encoding's name tells.

    >>> read_encoding("pca-128+int8"), read_encoding("float16")
    ((128, 'int8'), (0, 'float16'))
    """
    if not name.startswith("pca-"):
        return 0, name
    size, _, dtype = name.removeprefix("pca-").partition("+")
    return int(size), dtype or "float32"


def decoded(opened: Store, pooling: str) -> np.ndarray:
    """All vectors [N, H], as training gets them."""
    decoder = open_decoder(opened, pooling)
    groups = row_groups(opened)
    return np.concatenate([decoder.decode(read_group(one, decoder.columns)) for one in groups])


def sizes(opened: Store) -> dict[str, float]:
    """Bytes a row on disk: of whole parts, and of the columns that hold vectors."""
    held = 0
    for part in opened.parts:
        with parts.open_part(opened.path_of(part)) as file:
            for index in range(file.num_row_groups):
                group = file.metadata.row_group(index)
                chunks = [group.column(at) for at in range(group.num_columns)]
                held += sum(
                    chunk.total_compressed_size
                    for chunk in chunks
                    if chunk.path_in_schema.startswith(("vector_", "scale_"))
                )
    total = sum(part.size for part in opened.parts)
    return {
        "bytes_per_row": round(total / opened.rows, 1),
        "vector_bytes_per_row": round(held / opened.rows, 1),
    }


def nearness(found_NH: np.ndarray, exact_NH: np.ndarray) -> dict[str, float]:
    """Cosine to the whole vectors, and the share of the 10 nearest neighbours that is the same."""
    cosines_N = (unit(found_NH) * unit(exact_NH)).sum(axis=1)
    one_QK, other_QK = (neighbours(vectors) for vectors in (found_NH, exact_NH))
    same = [len(set(one) & set(other)) for one, other in zip(one_QK, other_QK, strict=True)]
    return {
        "cosine_mean": round(float(cosines_N.mean()), 6),
        "cosine_1st_percentile": round(float(np.quantile(cosines_N, 0.01)), 6),
        "neighbours_kept": round(float(np.mean(same)) / _NEIGHBOURS, 4),
    }


def unit(vectors_NH: np.ndarray) -> np.ndarray:
    """The vectors at length 1."""
    return vectors_NH / np.maximum(np.linalg.norm(vectors_NH, axis=1, keepdims=True), 1e-12)


def neighbours(vectors_NH: np.ndarray) -> list[list[int]]:
    """The nearest of the first 10,000 rows to each of the first 1,000, by cosine, itself apart."""
    among_NH = unit(vectors_NH[:_AMONG])
    cosines_QN = among_NH[:_QUERIES] @ among_NH.T
    np.fill_diagonal(cosines_QN, -np.inf)
    found: list[list[int]] = np.argpartition(-cosines_QN, _NEIGHBOURS)[:, :_NEIGHBOURS].tolist()
    return found


def quality(config: StorageConfig, location: str, student: str, seed: int) -> dict[str, float]:
    """Train a student from a store; score it against the whole vectors of the held-out rows."""
    settings = TrainConfig(
        store=location,
        out=Path(f"{location}-{student}-{seed}"),
        student=student,
        pooling=config.pooling,
        epochs=config.epochs,
        seed=seed,
    )
    path = Path(str(distil(settings)["checkpoint"]))
    run, *_ = preflight(settings)
    trained = new_student(run)
    checkpoint.load_student(path, trained)
    exact = store.open_store(config.out / "float32")
    _, held = hold_out(row_groups(exact), run.validation_rows, seed)
    batches = held_out_batches(held, open_decoder(exact, config.pooling))
    return validate(trained, batches, torch.device("cpu"))


def speeds(
    config: StorageConfig, taken: list[pa.Table], source: Store, encodings: list[str]
) -> dict[str, dict[str, object]]:
    """Write and read every encoding, in turn, so that a noisy neighbour hits all alike.

    Returns:
        For each, rows a second of wall-clock time, read (only the vectors, decoded to float32) and
        written (whole rows): the median of the rounds, after one that only warms up.
    """
    rows = sum(table.num_rows for table in taken)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in encodings}
    for turn in range(config.rounds + 1):
        for name in encodings:
            location = str(config.out / name)
            writing = put(location, taken, source, config.pooling, name)
            opened, began = store.open_store(location), time.perf_counter()
            decoded(opened, config.pooling)
            if turn:
                seconds[name].append((time.perf_counter() - began, writing))
    return {
        name: {
            f"{what}_rows_per_second": round(rows / statistics.median(pair[at] for pair in pairs))
            for at, what in enumerate(("read", "write"))
        }
        for name, pairs in seconds.items()
    }


def measure(config: StorageConfig) -> list[dict[str, object]]:
    """One row per encoding.

    Raises:
        ValueError: if the work folder exists, float32 is not among the encodings, or the store
            does not hold what is needed.
    """
    if config.out.exists():
        raise ValueError(f"{config.out} exists; the stores need a folder of their own")
    if "float32" not in config.encodings:
        raise ValueError(f"encodings must have float32 to compare with, got {config.encodings}")
    source, pooling = store.open_store(config.store), config.pooling
    taken = take(source, pooling, config.rows)
    exact_NH = np.concatenate([Decoder(pooling, ()).decode(table) for table in taken])
    kept = [name for name in config.encodings if read_encoding(name)[0] < exact_NH.shape[1]]
    taken_in_turn = speeds(config, taken, source, kept)
    found = []
    for name in kept:
        opened = store.open_store(config.out / name)
        row = {"encoding": name, **sizes(opened), **nearness(decoded(opened, pooling), exact_NH)}
        row |= taken_in_turn[name]
        for student in config.students:
            runs = [quality(config, opened.location, student, s) for s in range(config.seeds)]
            for score in ("spearman", "cosine"):
                row[f"{student}_{score}"] = [round(run[score], 4) for run in runs]
        found.append(row)
        sys.stderr.write(json.dumps(row) + "\n")
    return found


def markdown(rows: list[dict[str, object]]) -> str:
    """The rows as a table; of several seeds the mean."""
    names = list(rows[0])
    lines = ["| " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines += ["|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, list):
        return f"{statistics.mean(value):.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    settings = tyro.cli(StorageConfig)
    measured = measure(settings)
    sys.stdout.write(markdown(measured) + "\n" + json.dumps(measured, indent=2) + "\n")
