"""Models that turn texts into vectors -> microseconds a sentence, each model in its turn."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from distill_jobs.encoder import BATCH_SIZE

BASES = {"x base torch": ("BERT-base", "torch float32"), "x base int8": ("BERT-base", "onnx-int8")}
"""Columns of ratios, and the model that each is to."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A model; `encode` takes texts and a batch size, `times` the teacher's number of texts."""

    kind: str
    pooling: str
    backend: str
    bytes: int
    encode: Callable[[Sequence[str], int], object]
    times: int = 1

    @property
    def name(self) -> str:
        return ", ".join(filter(None, (self.kind, self.pooling, self.backend)))


def measure(models, texts, setting, amount) -> list[dict[str, object]]:
    """One row per model.

    Args:
        models: contestants.
        texts: sentences in random order.
        setting: threads, and texts a call.
        amount: rounds, and texts in each.
    """
    threads, batch = setting
    rounds, calls = amount
    clock = time.process_time if threads == 1 else time.perf_counter
    taken: dict[str, list[float]] = {one.name: [] for one in models}
    for turn in range(rounds + 1):
        for one in models:
            # A first round, of few texts, pays for allocations.
            some = texts[: calls * one.times if turn else max(batch, 8)]
            found = seconds_of(one.encode, some, batch, clock)
            if turn:
                taken[one.name] += found
    middle = {name: statistics.median(found) for name, found in taken.items()}
    return [
        {
            "kind": one.kind,
            "pooling": one.pooling,
            "backend": one.backend,
            "MB": round(one.bytes / 1e6, 1),
            "threads": threads,
            "texts": batch,
            "us": round(middle[one.name] * 1e6),
            "p99": round(float(np.percentile(taken[one.name], 99)) * 1e6) if batch == 1 else None,
            **{
                column: round(middle[", ".join(base)] / middle[one.name], 1)
                for column, base in BASES.items()
            },
        }
        for one in models
    ]


def seconds_of(encode, texts, size, clock):
    """Seconds per sentence, of each call with `size` texts; all models batch them alike."""
    taken = []
    for start in range(0, len(texts) - size + 1, size):
        began = clock()
        encode(texts[start : start + size], min(size, BATCH_SIZE))
        taken.append((clock() - began) / size)
    return taken


def markdown(rows) -> str:
    """A table per number of threads: a line per model, one text a call and many side by side."""
    lines: list[str] = []
    for threads in sorted({row["threads"] for row in rows}):
        here = [row for row in rows if row["threads"] == threads]
        alone, many = ([row for row in here if (row["texts"] == 1) is one] for one in (True, False))
        clock = "processor time" if threads == 1 else "by the clock"
        lines += [f"Threads: {threads}, {clock}; us a sentence.", ""]
        titles = ["model", "MB", "alone: p50", "p99", *BASES, f"{many[0]['texts']} a call", *BASES]
        lines += ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
        for one, other in zip(alone, many, strict=True):
            name = ", ".join(filter(None, (one["kind"], one["pooling"], one["backend"])))
            numbers = [one["us"], one["p99"], *(one[base] for base in BASES), other["us"]]
            cells = [name, one["MB"], *numbers, *(other[base] for base in BASES)]
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _cell(value) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
