"""Vectors and labels -> metrics, each for many bootstrap samples at once.

A sample is how often each row was drawn, so all samples of a set are one matrix of counts, the same
for every model: differences between models are then paired. A metric of the rows as they are is its
value under counts of one. Nothing is approximated: ranks are those of the sample.
Array letters: N rows, R samples, H vector width, Q queries, D documents, K ranks, C groups.
"""

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

RESAMPLES = 1000
TOP = 10  # ranks looked at in retrieval


def resample(rows: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Doubles:
    """Draw bootstrap samples (Efron 1979): counts [1 + R, N], the first row all ones.

    >>> resample(4, np.random.default_rng(0), resamples=2)
    array([[1., 1., 1., 1.],
           [0., 1., 2., 1.],
           [3., 1., 0., 0.]])
    """
    drawn_RN = rng.integers(rows, size=(resamples, rows))
    offsets_R1 = np.arange(resamples)[:, None] * rows
    counts = np.bincount((drawn_RN + offsets_R1).ravel(), minlength=resamples * rows)
    counts_RN: Doubles = np.vstack([np.ones((1, rows)), counts.reshape(resamples, rows)])
    return counts_RN


def interval(samples_R: Doubles) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile; samples in which a metric has no value are left out.

    >>> interval(np.linspace(0, 1, 1001))
    (0.025, 0.975)
    """
    low, high = np.nanpercentile(samples_R, [2.5, 97.5])
    return float(low), float(high)


def centred(samples_R: Doubles) -> Doubles:
    """Move samples so that the value, in front, is their mean; nothing goes below 0.

    For V-measure: a sample misses some rows, and fewer rows look more alike by chance than they
    are, so that plain intervals lay above the value on 5 of 5 sets (2026-11-21).

    >>> centred(np.array([0.5, 0.6, 0.8]))
    array([0.5, 0.4, 0.6])
    """
    moved_R = samples_R - samples_R[1:].mean() + samples_R[0]
    moved_R[0] = samples_R[0]
    found: Doubles = np.maximum(moved_R, 0.0)
    return found


def cosines(first_NH: Floats, second_NH: Floats) -> Doubles:
    """Cosine of each row of one matrix with the same row of the other; 0 for a zero vector.

    >>> cosines(np.float32([[1, 0], [0, 2]]), np.float32([[3, 0], [1, 0]]))
    array([1., 0.])
    """
    product_N = np.einsum("nh,nh->n", unit(first_NH), unit(second_NH))
    found: Doubles = product_N.astype(np.float64)
    return found


def unit(vectors_NH: Floats) -> Floats:
    """Scale each row to length 1; a zero row stays zero."""
    norms_N1 = np.linalg.norm(vectors_NH, axis=1, keepdims=True)
    scaled: Floats = vectors_NH / np.maximum(norms_N1, np.float32(1e-12))
    return scaled


def spearman(values_N: Doubles, gold_N: Doubles, counts_RN: Doubles) -> Doubles:
    """Spearman's rank correlation with average ranks for ties; 0 where either is constant.

    The measure of semantic textual similarity (Reimers et al. 2016; SentEval, MTEB).

    >>> spearman(np.array([0.1, 0.5, 0.9]), np.array([0.0, 5.0, 4.0]), np.ones((1, 3)))
    array([0.5])
    """
    total_R1 = counts_RN.sum(axis=1, keepdims=True)
    middle_R1 = (total_R1 + 1) / 2
    first_RN = _ranks(values_N, counts_RN) - middle_R1
    second_RN = _ranks(gold_N, counts_RN) - middle_R1
    covariance_R = (counts_RN * first_RN * second_RN).sum(axis=1)
    variances_R = (counts_RN * first_RN**2).sum(axis=1) * (counts_RN * second_RN**2).sum(axis=1)
    flat = np.zeros_like(covariance_R)
    found: Doubles = np.divide(covariance_R, np.sqrt(variances_R), out=flat, where=variances_R > 0)
    return found


def auc(values_N: Doubles, positive_N: Flags, counts_RN: Doubles) -> Doubles:
    """Chance that a positive pair is closer than a negative one (Hanley & McNeil 1982).

    0.5 for chance; NaN in a sample without a positive or without a negative.

    >>> auc(np.array([0.9, 0.4, 0.6]), np.array([True, True, False]), np.ones((1, 3)))
    array([0.5])
    """
    positives_R = counts_RN @ positive_N
    negatives_R = counts_RN.sum(axis=1) - positives_R
    rank_sums_R = (_ranks(values_N, counts_RN) * counts_RN * positive_N).sum(axis=1)
    wins_R = rank_sums_R - positives_R * (positives_R + 1) / 2
    chances_R = positives_R * negatives_R
    none = np.full(len(wins_R), np.nan)
    found: Doubles = np.divide(wins_R, chances_R, out=none, where=chances_R > 0)
    return found


def average(scores_N: Doubles, counts_RN: Doubles) -> Doubles:
    """Mean of a number per row: of right answers, accuracy; of reciprocal ranks, MRR.

    >>> average(np.array([1.0, 0.0]), np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([0.5, 1. ])
    """
    found: Doubles = counts_RN @ scores_N / counts_RN.sum(axis=1)
    return found


def v_measure(labels_N: Integers, clusters_N: Integers, counts_RN: Doubles) -> Doubles:
    """Harmonic mean of homogeneity and completeness (Rosenberg & Hirschberg 2007; MTEB).

    The clusters are the same in every sample: the interval covers the rows, not k-means.

    >>> v_measure(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), np.ones((1, 4)))
    array([1.])
    """
    cells_N = labels_N * (clusters_N.max() + 1) + clusters_N
    label_R, cluster_R, both_R = (
        _entropy(groups_N, counts_RN) for groups_N in (labels_N, clusters_N, cells_N)
    )
    shared_R, total_R = label_R + cluster_R - both_R, label_R + cluster_R
    found_R: Doubles = np.divide(
        2 * shared_R, total_R, out=np.ones_like(total_R), where=total_R > 1e-12
    )
    return found_R


def clusters(vectors_NH: Floats, number: int, seed: int) -> Integers:
    """Clusters by k-means on unit vectors, as many as there are classes; best of 3 starts."""
    means = KMeans(min(number, len(vectors_NH)), n_init=3, random_state=seed)
    found: Integers = means.fit_predict(unit(vectors_NH)).astype(np.int64)
    return found


def probe(train_NH: Floats, labels_N: Integers, test_NH: Floats) -> Integers:
    """Labels of the test rows by logistic regression on standardised vectors (SentEval, MTEB).

    Strength C = 0.1 and at most 300 steps for every model, not tuned on any set.
    """
    if len(np.unique(labels_N)) == 1:  # a small draw can be of one class
        return np.full(len(test_NH), labels_N[0])
    mean_H, deviation_H = train_NH.mean(axis=0), np.maximum(train_NH.std(axis=0), 1e-6)
    model = LogisticRegression(C=0.1, max_iter=300, tol=1e-3)
    model.fit((train_NH - mean_H) / deviation_H, labels_N)
    predicted: Integers = model.predict((test_NH - mean_H) / deviation_H)
    return predicted


def top_documents(queries_QH: Floats, documents_DH: Floats, top: int = TOP) -> Integers:
    """Numbers [Q, K] of the documents closest by cosine, best first; of equals, either.

    >>> top_documents(np.float32([[1, 0]]), np.float32([[0, 1], [2, 0], [1, 1]]), top=2)
    array([[1, 2]])
    """
    documents_HD = unit(documents_DH).T
    found = []
    for start in range(0, len(queries_QH), 512):  # 512 x 100,000 documents are 0.2 GB
        scores_QD = unit(queries_QH[start : start + 512]) @ documents_HD
        best_QK = np.argpartition(-scores_QD, min(top, scores_QD.shape[1]) - 1, axis=1)[:, :top]
        order_QK = np.argsort(-np.take_along_axis(scores_QD, best_QK, 1), axis=1, kind="stable")
        found.append(np.take_along_axis(best_QK, order_QK, axis=1))
    return np.concatenate(found)


def reciprocal_ranks(hits_QK: Flags) -> Doubles:
    """1 / rank of the first relevant document, 0 if none is among the K (MRR@K, MS MARCO).

    >>> reciprocal_ranks(np.array([[False, True, True], [False, False, False]]))
    array([0.5, 0. ])
    """
    first_Q = hits_QK.argmax(axis=1)
    return np.where(hits_QK.any(axis=1), 1.0 / (first_Q + 1), 0.0)


def gains(hits_QK: Flags, relevant_Q: Integers) -> Doubles:
    """Discounted gain over the best possible one, per query (nDCG@K, Järvelin & Kekäläinen 2002).

    >>> gains(np.array([[True, False], [False, True]]), np.array([1, 3])).round(3)
    array([1.   , 0.387])
    """
    discounts_K = 1 / np.log2(np.arange(2, hits_QK.shape[1] + 2))
    best_K = np.cumsum(discounts_K)
    best_Q = best_K[np.minimum(relevant_Q, hits_QK.shape[1]) - 1]
    found: Doubles = hits_QK @ discounts_K / best_Q
    return found


def _ranks(values_N: Doubles, counts_RN: Doubles) -> Doubles:
    """Average rank, from 1, that each row's value has in each sample.

    value    0.2  0.5  0.5  0.9     rows of one value share the mean of the ranks they take:
    count     2    1    0    1      0.2 takes ranks 1, 2; 0.5 takes rank 3; 0.9 takes rank 4
    rank     1.5   3    3    4
    """
    _, group_N = np.unique(values_N, return_inverse=True)
    order_N = np.argsort(group_N, kind="stable")
    starts = np.flatnonzero(np.diff(group_N[order_N], prepend=-1))
    sizes_RG = np.add.reduceat(counts_RN[:, order_N], starts, axis=1)
    ranks_RG = np.cumsum(sizes_RG, axis=1) - sizes_RG + (sizes_RG + 1) / 2
    ranks_RN: Doubles = ranks_RG[:, group_N]
    return ranks_RN


def _entropy(groups_N: Integers, counts_RN: Doubles) -> Doubles:
    """Entropy, in nats, of the groups' shares in each sample."""
    _, group_N = np.unique(groups_N, return_inverse=True)
    order_N = np.argsort(group_N, kind="stable")
    starts = np.flatnonzero(np.diff(group_N[order_N], prepend=-1))
    sizes_RC = np.add.reduceat(counts_RN[:, order_N], starts, axis=1)
    shares_RC = sizes_RC / sizes_RC.sum(axis=1, keepdims=True)
    logs_RC = np.log(shares_RC, out=np.zeros_like(shares_RC), where=shares_RC > 0)
    entropy_R: Doubles = -(shares_RC * logs_RC).sum(axis=1)
    return entropy_R
