"""Cosines of labelled pairs by two models -> the pairs that they rank most differently.

Array letters: N pairs of a set.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from distill_jobs.evaluation.metrics import Doubles
from distill_jobs.evaluation.tasks import Kind, LabelledSet

WORST = 10


@dataclasses.dataclass(frozen=True)
class Disagreement:
    """A pair, its label as written, and what both models make of it.

    Attributes:
        task: the set.
        first: sentence.
        second: sentence.
        label: as the set has it.
        reference: cosine by the reference.
        student: cosine by the student.
        reference_rank: share of the set's pairs that are less alike by the reference.
        student_rank: the same by the student.
    """

    task: str
    first: str
    second: str
    label: str
    reference: float
    student: float
    reference_rank: float
    student_rank: float


def worst(
    sets: Sequence[LabelledSet],
    reference: Sequence[Doubles],
    student: Sequence[Doubles],
    number: int = WORST,
) -> tuple[Disagreement, ...]:
    """The pairs whose ranks within their set differ most, by size of the difference.

    Args:
        sets: those without labelled pairs are passed over.
        reference: cosines of each set's pairs.
        student: the same by the student.
        number: how many pairs.
    """
    found = [
        one
        for labelled, theirs_N, mine_N in zip(sets, reference, student, strict=True)
        if labelled.kind in (Kind.PAIRS, Kind.GRADED)
        for one in _of_set(labelled, theirs_N, mine_N, number)
    ]
    return tuple(
        sorted(found, key=lambda one: -abs(one.student_rank - one.reference_rank))[:number]
    )


def _of_set(
    labelled: LabelledSet, theirs_N: Doubles, mine_N: Doubles, number: int
) -> list[Disagreement]:
    theirs_rank_N, mine_rank_N = ranks(theirs_N), ranks(mine_N)
    order = np.argsort(-np.abs(mine_rank_N - theirs_rank_N), kind="stable")[:number]
    found = []
    for place in order:
        (first, second), label = labelled.test[place]
        cosines = float(theirs_N[place]), float(mine_N[place])
        shares = float(theirs_rank_N[place]), float(mine_rank_N[place])
        found.append(Disagreement(labelled.name, first, second, label, *cosines, *shares))
    return found


def ranks(values_N: Doubles) -> Doubles:
    """Place of each value among all, from 0 to 1; equal ones share the middle of theirs.

    >>> ranks(np.array([0.3, 0.9, 0.3, 0.8]))
    array([0.25 , 0.875, 0.25 , 0.625])
    """
    found: Doubles = (rankdata(values_N) - 0.5) / len(values_N)
    return found
