"""`distill_jobs encode` over many lines: rows a second, peak memory, and the same vectors always.

    python -m tests.bench.stream --student work/student --sentences corpus.txt --out work/stream

Each setting runs in a process of its own; every output is compared with the first, row by row.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tyro


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Encode one file with several settings."""

    student: Path
    """Folder of the exported student."""
    sentences: Path
    """A sentence a line."""
    out: Path
    """Folder for the outputs."""
    batch_sizes: tuple[int, ...] = (32, 8, 100)
    """Sentences a batch."""
    threads: tuple[int, ...] = (1, 2)
    """Batches at a time; the first batch size only for those after the first."""


def encode(config: StreamConfig, batch: int, threads: int) -> tuple[dict, float, Path]:
    """Run the job; returns what it says, its peak memory in MB, and its output."""
    out = config.out / f"batch-{batch}-threads-{threads}.parquet"
    flags = ["--student", config.student, "--input", config.sentences, "--out", out]
    flags += ["--batch-size", batch, "--threads", threads]
    command = [sys.executable, "-m", "distill_jobs", "encode", *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"encode failed: {command}")
    return json.loads(said), usage.ru_maxrss / 1e3, out


def greatest_distance(one: Path, other: Path) -> float:
    """Of two outputs' vectors, in shares of their distance from the mean vector."""
    greatest = 0.0
    files = pq.ParquetFile(one), pq.ParquetFile(other)
    batches = [file.iter_batches(50_000, columns=["vector"]) for file in files]
    mean = None
    for pieces in zip(*batches, strict=True):
        a, b = (
            piece.column(0).flatten().to_numpy().reshape(piece.num_rows, -1) for piece in pieces
        )
        mean = a.mean(axis=0) if mean is None else mean
        apart = np.linalg.norm(a - b, axis=1) / np.maximum(np.linalg.norm(a - mean, axis=1), 1e-6)
        greatest = max(greatest, float(apart.max()))
    return greatest


def main(config: StreamConfig) -> str:
    """The table."""
    config.out.mkdir(parents=True, exist_ok=True)
    first, rest = config.batch_sizes[0], config.batch_sizes[1:]
    settings = [(first, one) for one in config.threads]
    settings += [(one, config.threads[0]) for one in rest]
    # All first: what a process takes at its peak begins with what its parent has.
    runs = [encode(config, batch, threads) for batch, threads in settings]
    lines = ["| batch | threads | backend | rows | rows/s | peak MB | furthest from the first |"]
    lines.append("|" + "---|" * 7)
    for (batch, threads), (said, peak, out) in zip(settings, runs, strict=True):
        apart = greatest_distance(runs[0][2], out)
        told = f"{said['backend']} | {said['rows']:,} | {said['rows_per_second']:,.0f}"
        lines.append(f"| {batch} | {threads} | {told} | {peak:,.0f} | {apart:.1g} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(main(tyro.cli(StreamConfig)))
