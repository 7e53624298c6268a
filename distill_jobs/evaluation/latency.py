"""A function from texts to vectors -> how long it takes, text in, vector out, on one thread."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

SENTENCES = 200
BATCH = 64
BATCHES = 10


@dataclasses.dataclass(frozen=True)
class Latency:
    """Microseconds per sentence: alone (median, 99th percentile), and in batches of 64 (median)."""

    p50_us: float
    p99_us: float
    batch_us: float


def measure(encode: Callable[[Sequence[str]], object], texts: Sequence[str]) -> Latency:
    """Time an encoder on texts spread evenly over those given.

    Args:
        encode: called with one text 200 times, then with 64 texts 10 times.
        texts: at least one; fewer than needed are used again.
    """
    with one_thread():
        alone = _spread(texts, SENTENCES)
        for text in alone[:20]:  # the first calls also pay for allocations
            encode([text])
        single_us = [_microseconds(encode, [text]) for text in alone]
        batches = _spread(texts, BATCH * BATCHES)
        encode(batches[:BATCH])
        batch_us = [
            _microseconds(encode, batches[start::BATCHES]) / BATCH for start in range(BATCHES)
        ]
    p50, p99 = np.percentile(single_us, [50, 99])
    return Latency(float(p50), float(p99), float(np.median(batch_us)))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold Torch to one thread, then give it back what it had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _spread(texts: Sequence[str], number: int) -> list[str]:
    return [texts[place * len(texts) // number] for place in range(number)]


def _microseconds(encode: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    started = time.perf_counter()
    encode(texts)
    return (time.perf_counter() - started) * 1e6
