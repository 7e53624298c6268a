"""Verb: shorter sentence vectors, by PCA or a random projection that the student takes over.

    offset + scale * (projection @ pooled)  ->  P @ offset + scale * (P @ projection @ pooled)

Array letters: N sentences, H width of the vectors, K of the shorter ones, P [K, H].
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from distill_jobs.compress.fidelity import vectors_of
from distill_jobs.compress.folder import Changed, compress
from distill_jobs.compress.source import Compression, Source
from distill_jobs.compress.tensors import (
    PROJECTION,
    arrays_of,
    assembled,
    projection_of,
    with_fixed_states,
)
from distill_jobs.student import Student
from schemas.command import run_job
from schemas.weights import Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class DimensionsConfig(Compression):
    """Shorten the sentence vectors; pca needs --sentences."""

    keep: int
    """K, numbers of a vector, fewer than it has."""
    by: Literal["pca", "random"] = "pca"
    """How they are chosen; random (Gaussian) needs no sentences."""
    seed: int = 0
    """Of the random projection."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and shorten."""
    run_job(DimensionsConfig, argv, shorten)


def shorten(config: DimensionsConfig) -> dict[str, object]:
    """Shorten the vectors of an export, see `compress`."""

    def change(source: Source) -> Changed:
        student = source.student
        _check(student, config.keep)
        facts = {}
        if config.by == "pca":
            vectors_NH = vectors_of(student, source.sentences.fitted)
            components_KH, kept = principal(vectors_NH, config.keep)
            facts = {"energy": round(kept, 6)}
        else:
            rng = np.random.default_rng(config.seed)
            components_KH = gaussian(config.keep, student.config.width, rng)
        shorter = with_components(student, components_KH)
        back_KH = np.linalg.pinv(components_KH).T.astype(np.float32)
        return Changed(shorter, facts, back_KH=back_KH)

    return compress(config, "dimensions", change)


def _check(student: Student, keep: int) -> None:
    # As many as there are would be another space of the same width: nobody could tell them apart.
    width = student.config.width
    if not 1 <= keep < width:
        raise ValueError(f"keep must be 1 to {width - 1} numbers, fewer than {width}, got {keep}")


def principal(vectors_NH: Floats, keep: int) -> tuple[Floats, float]:
    """Find the directions in which vectors are longest [K, H].

    They are eigenvectors of the second moments, not centred: of all matrices of rank K the
    projection on them changes the dot products of the sample least (Eckart and Young 1936). The
    components of the covariance keep as many nearest neighbours, 0.917 for 0.916 of bilstm's at 64
    numbers, 0.679 for 0.679 at 32, unless the mean is taken away, which the cosine needs: 0.743
    (2026-11-21). A random projection: 0.474.

    Returns:
        Orthonormal rows, and the share of the vectors' squares that they keep, 0 to 1.

    Raises:
        ValueError: unless there are more vectors than directions.
    """
    if len(vectors_NH) <= keep:
        raise ValueError(f"{keep} numbers need more than {len(vectors_NH)} sentences to choose by")
    exact_NH = vectors_NH.astype(np.float64)
    squares_H, directions_HH = np.linalg.eigh(exact_NH.T @ exact_NH)
    components_KH = directions_HH[:, ::-1][:, :keep].T
    # It is left open which way a direction points.
    strongest_K = np.abs(components_KH).argmax(axis=1)
    components_KH = components_KH * np.sign(components_KH[range(keep), strongest_K])[:, None]
    kept = squares_H[::-1][:keep].sum() / squares_H.sum()
    return components_KH.astype(np.float32), float(kept)


def gaussian(keep: int, width: int, rng: np.random.Generator) -> Floats:
    """Directions [K, H] drawn at random, that keep dot products on average (Johnson-Lindenstrauss).

    >>> rows = gaussian(500, 100, np.random.default_rng(0))
    >>> bool(np.allclose((rows**2).sum(), 100, rtol=0.02))
    True
    """
    return rng.normal(0, keep**-0.5, size=(keep, width)).astype(np.float32)


def with_components(student: Student, components_KH: Floats) -> Student:
    """Fold a projection of the vectors into the student."""
    _check(student, len(components_KH))
    arrays = arrays_of(student)
    arrays[PROJECTION] = components_KH @ projection_of(student)
    arrays["offset"] = components_KH @ arrays["offset"]
    shape = dataclasses.replace(with_fixed_states(student.config), width=len(components_KH))
    return assembled(shape, arrays)
