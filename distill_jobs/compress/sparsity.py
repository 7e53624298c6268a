"""Verb: set weights to zero, and measure what that gives: nothing, where it is served.

ONNX Runtime has no sparse LSTM or Gather, so files and times are those of the dense student; only
a compressed copy (zlib) is smaller. It is here to compare with `units`, which drops whole units.
A bilstm with half of its weights 0: 1.33 MB and 193 us as before, zlib 4.78 to 2.74 MB, cosine
0.950, by the same share of each matrix 0.942, at random 0.546; 64 of 128 units: 157 us, 0.970; 4
bits: a file of 0.73 MB, 0.995 (2026-11-21).
"""

import dataclasses
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from distill_jobs.compress.folder import Changed, compress
from distill_jobs.compress.source import Compression, Source
from distill_jobs.compress.tensors import arrays_of, assembled, matrices
from distill_jobs.student import Student
from schemas.command import run_job
from schemas.weights import Floats

By = Literal["magnitude", "random"]
Scope = Literal["global", "tensor"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparsityConfig(Compression):
    """Set weights to zero."""

    share: float
    """Of the weights that become zero, 0 to 1."""
    by: By = "magnitude"
    """Which: the smallest, or drawn at random."""
    scope: Scope = "global"
    """The smallest of the whole student, or the same share of each matrix."""
    seed: int = 0
    """Of the random choice."""

    def __post_init__(self) -> None:
        """Reject what cannot work."""
        if not 0 <= self.share < 1:
            raise ValueError(f"share must be at least 0 and below 1, got {self.share}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and set to zero."""
    run_job(SparsityConfig, argv, sparsify)


def sparsify(config: SparsityConfig) -> dict[str, object]:
    """Set weights of an export to zero, see `compress`."""

    def change(source: Source) -> Changed:
        rng = np.random.default_rng(config.seed) if config.by == "random" else None
        found = with_zeros(source.student, config.share, config.scope, rng)
        both = {"before": source.student, "after": found}
        return Changed(found, {f"zlib_bytes_{when}": zlib_bytes(one) for when, one in both.items()})

    return compress(config, "sparsity", change)


def with_zeros(
    student: Student, share: float, scope: Scope, rng: np.random.Generator | None = None
) -> Student:
    """Set a share of the big weights to zero.

    Args:
        student: of any kind.
        share: 0 to 1.
        scope: tensor takes that share of each matrix, global of all together.
        rng: draws them at random; without it the smallest are taken.
    """
    arrays, names = arrays_of(student), matrices(student)
    scores = {name: _scores(arrays[name], rng) for name in names}
    everything = np.concatenate([one.ravel() for one in scores.values()])
    for name in names:
        ranked = everything if scope == "global" else scores[name].ravel()
        least = np.quantile(ranked, share, method="higher") if share else -np.inf
        arrays[name][scores[name] < least] = 0
    return assembled(student.config, arrays)


def _scores(weights: Floats, rng: np.random.Generator | None) -> Floats:
    return np.abs(weights) if rng is None else rng.random(weights.shape).astype(np.float32)


def zlib_bytes(student: Student) -> int:
    """Bytes of all its numbers, compressed."""
    return len(zlib.compress(b"".join(one.tobytes() for one in arrays_of(student).values()), 6))
