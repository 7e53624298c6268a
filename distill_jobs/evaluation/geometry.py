"""Vectors -> how they lie: neighbours, spread, nearness to another model's of the same sentences.

Array letters: N sentences, H vector width, Q queries (numbers of sentences), K neighbours.
"""

import numpy as np

from distill_jobs.evaluation.metrics import TOP, Doubles, Floats, Integers, unit

_QUERIES_AT_ONCE = 256  # x 100,000 sentences are 0.1 GB of cosines


def nearest(vectors_NH: Floats, queries_Q: Integers, top: int = TOP) -> Integers:
    """Numbers [Q, K] of the sentences closest by cosine to each query, itself left out, unordered.

    K is `top`, or the N - 1 others that there are.

    >>> nearest(np.float32([[1, 0], [2, 0.1], [0, 1]]), np.array([0, 2]), top=1)
    array([[1],
           [1]])
    """
    unit_NH = unit(vectors_NH)
    wanted = min(top, len(unit_NH) - 1)
    found = [np.zeros((0, wanted), dtype=np.int64)]
    for start in range(0, len(queries_Q), _QUERIES_AT_ONCE):
        some_Q = queries_Q[start : start + _QUERIES_AT_ONCE]
        scores_QN = unit_NH[some_Q] @ unit_NH.T
        scores_QN[np.arange(len(some_Q)), some_Q] = -np.inf
        found.append(np.argpartition(-scores_QN, max(wanted - 1, 0), axis=1)[:, :wanted])
    return np.concatenate(found)


def shared(first_QK: Integers, second_QK: Integers) -> Doubles:
    """Share [Q] of each query's neighbours that both have (overlap@K; Kriegeskorte 2008, MTEB).

    >>> shared(np.array([[4, 7], [1, 2]]), np.array([[7, 4], [3, 2]]))
    array([1. , 0.5])
    """
    common_Q = (first_QK[:, :, None] == second_QK[:, None, :]).any(axis=2).sum(axis=1)
    found: Doubles = common_Q / max(first_QK.shape[1], 1)
    return found


def pair_cosine(vectors_NH: Floats) -> float:
    """Mean cosine of two different sentences, over all pairs (anisotropy, Ethayarajh 2019).

    The sum over pairs is the squared length of the sum of unit vectors, less each one's own. NaN
    for fewer than two sentences.

    >>> pair_cosine(np.float32([[1, 0], [3, 0], [0, 2]])).__round__(6)
    0.333333
    """
    unit_NH = unit(vectors_NH).astype(np.float64)
    number = len(unit_NH)
    if number < 2:
        return float("nan")
    together = np.square(unit_NH.sum(axis=0)).sum() - np.square(unit_NH).sum()
    return float(together / (number * (number - 1)))


def first_component(vectors_NH: Floats) -> float:
    """Share of the variance along the first principal component (Mu & Viswanath 2018).

    1 / H for vectors spread evenly; NaN for vectors that are all the same.

    >>> first_component(np.float32([[0, 1], [0, -1], [3, 0], [-3, 0]])).__round__(6)
    0.9
    """
    wide_NH = vectors_NH.astype(np.float64)
    centred_NH = wide_NH - wide_NH.mean(axis=0)
    variances_H = np.linalg.eigvalsh(centred_NH.T @ centred_NH)
    total = float(variances_H.sum())
    if total <= 1e-12 * float(np.square(wide_NH).sum()):
        return float("nan")
    return float(variances_H[-1]) / total


def others_cosine(mine_NH: Floats, theirs_NH: Floats) -> Doubles:
    """Mean cosine [N] of each vector to the other model's vectors of all *other* sentences.

    What a sentence's cosine to its own would be, had the sentences been permuted; exact over all
    permutations without a fixed point.

    >>> others_cosine(np.float32([[1, 0], [0, 1], [0, 1]]), np.float32([[1, 0], [0, 1], [1, 0]]))
    array([0.5, 0. , 0.5])
    """
    mine, theirs = (unit(one).astype(np.float64) for one in (mine_NH, theirs_NH))
    own_N = (mine * theirs).sum(axis=1)
    found: Doubles = (mine @ theirs.sum(axis=0) - own_N) / max(len(mine) - 1, 1)
    return found
