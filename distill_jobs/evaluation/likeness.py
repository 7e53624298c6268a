"""A model's vectors and the reference's -> how alike they are, over all, by set and by length.

Array letters: N texts, H vector width, Q queries, P pairs, R bootstrap samples.
"""

import bisect
import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from distill_jobs.evaluation import geometry, metrics
from distill_jobs.evaluation.estimates import Estimate, estimate
from distill_jobs.evaluation.metrics import Doubles, Floats
from distill_jobs.evaluation.models import Vectors, all_texts
from distill_jobs.evaluation.tasks import Kind, LabelledSet

QUERIES = 1000  # texts drawn to ask for their neighbours, the same for every model
BUCKETS = ("under 8", "8 to 15", "16 to 31", "32 and more")  # characters
_STARTS = (8, 16, 32)


@dataclasses.dataclass(frozen=True)
class Group:
    """Texts of one set or of one length, and the pairs of such texts.

    Attributes:
        name: of the set, or the lengths in characters.
        texts: how many.
        cosine: mean cosine of a text's two vectors, the reference's mean vector taken from both
            (the rest is what all texts share); None for another width, or if there is no text.
        tenth: a tenth of the texts are below this.
        pairs: how many; a pair is as long as the longer of the two.
        agreement: Spearman of the two models' cosines of the pairs; None if there are none.
    """

    name: str
    texts: int
    cosine: float | None
    tenth: float | None
    pairs: int
    agreement: float | None


@dataclasses.dataclass(frozen=True)
class Likeness:
    """How a model's vectors lie, and how near the reference's they are.

    Attributes:
        texts: that it was asked for.
        flawed: vectors with NaN or infinity; zeros stand for them.
        pair_cosine: mean cosine of two different texts.
        first_component: share of variance; NaN if all vectors are the same.
        neighbours_R: share of the 10 nearest in common with the reference, in bootstrap samples of
            the queries, the value in front.
        queries: how many texts asked for their neighbours.
        permuted: mean cosine of the queries to the reference's vectors of other texts; None for
            another width.
        gain: how much higher it is to those of the same texts; None for another width.
        agreement: Spearman of the two models' cosines of random pairs.
        by_length: shortest first.
        by_set: in the order of the sets.
        pair_cosines: of each set's pairs; empty for a set without pairs.
    """

    texts: int
    flawed: int
    pair_cosine: float
    first_component: float
    neighbours_R: Doubles
    queries: int
    permuted: float | None
    gain: Estimate | None
    agreement: Estimate
    by_length: tuple[Group, ...]
    by_set: tuple[Group, ...]
    pair_cosines: tuple[Doubles, ...]


class Reference:
    """Holds what the others are likened to, worked out once."""

    def __init__(self, sets: Sequence[LabelledSet], vectors: Vectors, seed: int) -> None:
        self._sets = sets
        self._texts = all_texts(sets)
        self._vectors_NH = vectors.of(self._texts)
        number = len(self._texts)
        rng = np.random.default_rng([seed, zlib.crc32(b"likeness")])
        self._queries_Q = np.sort(rng.permutation(number)[:QUERIES])
        moved_Q = 1 + rng.integers(max(number - 1, 1), size=len(self._queries_Q))
        self._others_Q = (self._queries_Q + moved_Q) % number
        self._counts_RQ = metrics.resample(len(self._queries_Q), rng)
        self._nearest_QK = geometry.nearest(self._vectors_NH, self._queries_Q)
        self._cosines_Q = self._random_pairs(self._vectors_NH)
        self._pairs = tuple(pair_cosines(labelled, vectors) for labelled in sets)

    def liken(self, vectors: Vectors, aim: Vectors) -> Likeness:
        """Compare a model whose vectors do not depend on the set.

        Args:
            vectors: the model's.
            aim: the reference's, as the model was to learn them.
        """
        mine_NH, aim_NH = vectors.of(self._texts), aim.of(self._texts)
        shared_Q = geometry.shared(geometry.nearest(mine_NH, self._queries_Q), self._nearest_QK)
        permuted, gain = self._beyond_permuted(mine_NH, aim_NH)
        together_R = metrics.spearman(self._random_pairs(mine_NH), self._cosines_Q, self._counts_RQ)
        pairs = tuple(pair_cosines(labelled, vectors) for labelled in self._sets)
        by_length, by_set = self._groups(mine_NH, aim_NH, pairs)
        return Likeness(
            texts=len(mine_NH),
            flawed=vectors.flawed,
            pair_cosine=geometry.pair_cosine(mine_NH),
            first_component=geometry.first_component(mine_NH),
            neighbours_R=metrics.average(shared_Q, self._counts_RQ),
            queries=len(self._queries_Q),
            permuted=permuted,
            gain=gain,
            agreement=estimate(together_R),
            by_length=by_length,
            by_set=by_set,
            pair_cosines=pairs,
        )

    def _random_pairs(self, vectors_NH: Floats) -> Doubles:
        return metrics.cosines(vectors_NH[self._queries_Q], vectors_NH[self._others_Q])

    def _beyond_permuted(
        self, mine_NH: Floats, aim_NH: Floats
    ) -> tuple[float | None, Estimate | None]:
        if mine_NH.shape != aim_NH.shape:
            return None, None
        others_N = geometry.others_cosine(mine_NH, aim_NH)
        more_N = metrics.cosines(mine_NH, aim_NH) - others_N
        more_R = metrics.average(more_N[self._queries_Q], self._counts_RQ)
        return float(others_N[self._queries_Q].mean()), estimate(more_R)

    def _groups(
        self, mine_NH: Floats, aim_NH: Floats, pairs: tuple[Doubles, ...]
    ) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
        """By length, then by set."""
        mean_H = aim_NH.mean(axis=0)
        cosines_N = np.full(len(self._texts), np.nan)
        if mine_NH.shape == aim_NH.shape:
            cosines_N = metrics.cosines(mine_NH - mean_H, aim_NH - mean_H)
        both_2P = np.stack([np.concatenate(list(of)) for of in (pairs, self._pairs)])
        lengths_N = np.array([_bucket(text) for text in self._texts])
        lengths_P = np.array([max(map(_bucket, pair)) for s in self._sets for pair in _pairs(s)])
        by_length = [
            _group(name, cosines_N[lengths_N == place], both_2P[:, lengths_P == place])
            for place, name in enumerate(BUCKETS)
        ]
        row = {text: number for number, text in enumerate(self._texts)}
        by_set = []
        for labelled, of_mine, of_theirs in zip(self._sets, pairs, self._pairs, strict=True):
            rows = [row[text] for text in labelled.texts]
            by_set.append(_group(labelled.name, cosines_N[rows], np.stack([of_mine, of_theirs])))
        return tuple(by_length), tuple(by_set)


def pair_cosines(labelled: LabelledSet, vectors: Vectors) -> Doubles:
    """Cosine of the two sentences of each pair; empty if the set has no pairs."""
    pairs = _pairs(labelled)
    if not pairs:
        return np.zeros(0)
    first, second = zip(*pairs, strict=True)
    return metrics.cosines(vectors.of(first), vectors.of(second))


def _pairs(labelled: LabelledSet) -> list[tuple[str, ...]]:
    return [] if labelled.kind is Kind.CLASSES else [row.sentences for row in labelled.test]


def _bucket(text: str) -> int:
    """Number of the length that a text has.

    >>> _bucket("今天"), _bucket("今天天气怎么样啊"), _bucket("好" * 99)
    (0, 1, 3)
    """
    return bisect.bisect_right(_STARTS, len(text))


def _group(name: str, cosines_N: Doubles, pairs_2P: Doubles) -> Group:
    known = len(cosines_N) > 0 and bool(np.isfinite(cosines_N).all())
    pairs = pairs_2P.shape[1]
    mine_P, theirs_P = pairs_2P
    return Group(
        name=name,
        texts=len(cosines_N),
        cosine=float(cosines_N.mean()) if known else None,
        tenth=float(np.quantile(cosines_N, 0.1)) if known else None,
        pairs=pairs,
        agreement=_spearman(mine_P, theirs_P) if pairs > 1 else None,
    )


def _spearman(first_P: Doubles, second_P: Doubles) -> float:
    return float(metrics.spearman(first_P, second_P, np.ones((1, len(first_P))))[0])
