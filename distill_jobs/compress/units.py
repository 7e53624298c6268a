"""Verb: keep the units of the LSTM that matter most, each way; a really smaller student.

What is left is not trained again, but its projection is fitted by least squares, on sentences, to
the vectors of the student that it came from.

Array letters: N sentences, S states of a token, H the vectors' width, h hidden units each way, n of
them that are kept.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from distill_jobs.compress.fidelity import vectors_of
from distill_jobs.compress.folder import Changed, compress
from distill_jobs.compress.source import Compression, Source
from distill_jobs.compress.tensors import (
    DIRECTIONS,
    PROJECTION,
    WEIGHER,
    arrays_of,
    assembled,
    projection_of,
)
from distill_jobs.reader import Batch
from distill_jobs.student import Student
from schemas.command import run_job
from schemas.weights import Floats

_RIDGE = 1e-6  # added to the squares, in shares of their mean, so that the fit has one solution

Kept = npt.NDArray[np.int64]
"""Units of each way [2, n], ascending."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitsConfig(Compression):
    """Keep the units of the LSTM that matter most; --sentences is needed."""

    keep: int
    """Hidden units that are kept, each way."""
    by: Literal["importance", "random"] = "importance"
    """How they are chosen; random is there to compare with."""
    seed: int = 0
    """Of the random choice."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and prune."""
    run_job(UnitsConfig, argv, prune)


def prune(config: UnitsConfig) -> dict[str, object]:
    """Prune the units of an export, see `compress`."""

    def change(source: Source) -> Changed:
        _check(source.student, config.keep)
        fitted = source.sentences.fitted
        if config.by == "random":
            scores_S = np.random.default_rng(config.seed).random(source.student.config.states)
        else:
            scores_S = importance(source.student, fitted)
        smaller = with_units(source.student, best(scores_S, config.keep))
        return Changed(fit_projection(smaller, source.student, fitted), {})

    return compress(config, "units", change)


def _check(student: Student, keep: int) -> None:
    config = student.config
    if not config.kind.startswith("bilstm"):
        raise ValueError(f"only an LSTM has units to prune, not a {config.kind} student")
    if not 1 <= keep <= config.states // 2:
        raise ValueError(f"keep must be 1 to {config.states // 2} units, got {keep}")


def importance(student: Student, batches: Sequence[Batch]) -> npt.NDArray[np.float64]:
    """How much the sentence vectors would vary less without each unit [S].

    The standard deviation of the unit's pooled state, times the length of its column in the
    projection. Cosines after halving bilstm and bilstm-small, before the fit: 0.745 and 0.753; with
    the states of tokens instead 0.722 and 0.720, with the length of the recurrent columns 0.687 and
    0.693, random 0.666 and 0.676. After the fit: 0.959 and 0.891, random 0.953 and 0.867
    (2026-11-21).
    """
    spread_S: npt.NDArray[np.float64] = _pooled(student, batches).std(axis=0)
    spread_S *= np.linalg.norm(projection_of(student), axis=0)
    return spread_S


def best(scores_S: npt.NDArray[np.float64], keep: int) -> Kept:
    """The units [2, n] with the greatest scores, each way.

    >>> best(np.array([0.1, 0.3, 0.2, 7.0, 9.0, 8.0]), 2)
    array([[1, 2],
           [1, 2]])
    """
    order_2h = np.argsort(-scores_S.reshape(2, -1), axis=1, kind="stable")
    return np.sort(order_2h[:, :keep], axis=1)


def with_units(student: Student, kept_2n: Kept) -> Student:
    """Leave out all other units."""
    _check(student, kept_2n.shape[1])
    config, arrays = student.config, arrays_of(student)
    hidden = config.states // 2
    for direction, kept_n in zip(DIRECTIONS, kept_2n, strict=True):
        gates = (np.arange(4)[:, None] * hidden + kept_n).ravel()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            key = f"{direction}.{name}_l0"
            arrays[key] = arrays[key][gates]
        recurrent = f"{direction}.weight_hh_l0"
        arrays[recurrent] = arrays[recurrent][:, kept_n]
    states = np.concatenate([kept_2n[0], kept_2n[1] + hidden])
    if student.projection is not None or len(states) < config.states:
        arrays[PROJECTION] = projection_of(student)[:, states]
    if WEIGHER in arrays:
        arrays[WEIGHER] = arrays[WEIGHER][:, states]
    return assembled(dataclasses.replace(config, hidden=kept_2n.shape[1]), arrays)


def fit_projection(smaller: Student, student: Student, batches: Sequence[Batch]) -> Student:
    """Fit the projection of a smaller student to the vectors of the one that it came from.

    Least squares over 8,192 sentences; bilstm with half of its units: cosine 0.745 before, 0.959
    after; with a quarter 0.547 and 0.873 (2026-11-21). That the mean of what is left out goes into
    the biases, too, gave 0.0002 and 0.0007 more: not done.
    """
    if smaller.projection is None:
        return smaller
    pooled_NS = _pooled(smaller, batches)
    target_NH = (vectors_of(student, batches) - student.offset.numpy()) / float(student.scale)
    squares_SS = pooled_NS.T @ pooled_NS
    ridge = _RIDGE * max(float(np.trace(squares_SS)) / len(squares_SS), 1e-30)
    fitted_SH = np.linalg.solve(
        squares_SS + ridge * np.eye(len(squares_SS)), pooled_NS.T @ target_NH.astype(np.float64)
    )
    arrays = arrays_of(smaller)
    arrays[PROJECTION] = fitted_SH.T.astype(np.float32)
    return assembled(smaller.config, arrays)


def _pooled(student: Student, batches: Sequence[Batch]) -> npt.NDArray[np.float64]:
    """Pooled states [N, S]: what the projection gets."""
    found: list[Floats] = []
    projection, student.projection = student.projection, None
    try:
        with torch.inference_mode():
            found += [student(one.ids_BT, one.weights_BT)[0].numpy() for one in batches]
    finally:
        student.projection = projection
    return np.concatenate(found).astype(np.float64)
