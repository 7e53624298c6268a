"""evaluation/metrics.py against SciPy, scikit-learn and slow obvious code, sample by sample."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from distill_jobs.evaluation import metrics


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def drawn(counts_N):
    """The rows of a bootstrap sample, each as often as it was drawn."""
    return np.repeat(np.arange(len(counts_N)), counts_N.astype(int))


def test_spearman_of_every_sample_is_scipys(rng):
    values, gold = rng.normal(size=60).round(1), rng.integers(6, size=60).astype(float)
    counts = metrics.resample(60, rng, resamples=25)
    expected = [scipy.stats.spearmanr(values[drawn(c)], gold[drawn(c)]).statistic for c in counts]
    np.testing.assert_allclose(metrics.spearman(values, gold, counts), expected, atol=1e-12)


def test_auc_of_every_sample_is_scikit_learns(rng):
    values, positive = rng.normal(size=60).round(1), rng.random(60) < 0.3
    counts = metrics.resample(60, rng, resamples=25)
    expected = [sklearn.metrics.roc_auc_score(positive[drawn(c)], values[drawn(c)]) for c in counts]
    np.testing.assert_allclose(metrics.auc(values, positive, counts), expected, atol=1e-12)


def test_v_measure_of_every_sample_is_scikit_learns(rng):
    labels, groups = rng.integers(5, size=80), rng.integers(4, size=80)
    counts = metrics.resample(80, rng, resamples=25)
    expected = [sklearn.metrics.v_measure_score(labels[drawn(c)], groups[drawn(c)]) for c in counts]
    np.testing.assert_allclose(metrics.v_measure(labels, groups, counts), expected, atol=1e-9)


def test_an_average_of_every_sample_is_numpys(rng):
    scores = rng.random(40)
    counts = metrics.resample(40, rng, resamples=25)
    expected = [scores[drawn(c)].mean() for c in counts]
    np.testing.assert_allclose(metrics.average(scores, counts), expected)


def test_a_sample_has_as_many_rows_as_the_set_and_the_first_is_the_set_itself(rng):
    counts = metrics.resample(30, rng, resamples=100)
    assert (counts.sum(axis=1) == 30).all()
    assert (counts[0] == 1).all()
    assert counts.shape == (101, 30)


def test_an_interval_covers_the_truth_about_95_times_in_100():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sample = (rng.random(200) < 0.7).astype(float)
        low, high = metrics.interval(metrics.average(sample, metrics.resample(200, rng))[1:])
        covered += low <= 0.7 <= high
    assert 180 <= covered <= 198


def test_constant_cosines_order_nothing():
    same, gold = np.full(4, 0.9), np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.spearman(same, gold, np.ones((1, 4))) == 0
    assert metrics.auc(same, gold > 2, np.ones((1, 4))) == 0.5


def test_a_sample_of_one_class_has_no_auc_and_does_not_spoil_the_interval():
    counts = np.array([[1.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    samples = metrics.auc(np.array([0.9, 0.1]), np.array([True, False]), counts)
    assert math.isnan(samples[1])
    assert metrics.interval(samples[1:]) == (1.0, 1.0)


def test_reciprocal_ranks_and_gains_are_those_of_slow_code(rng):
    queries, documents = rng.normal(size=(30, 6)), rng.normal(size=(50, 6))
    relevant = [set(rng.choice(50, size=rng.integers(1, 15), replace=False)) for _ in range(30)]
    best = metrics.top_documents(queries.astype(np.float32), documents.astype(np.float32))
    hits = np.array([[d in r for d in row] for row, r in zip(best, relevant, strict=True)])
    sizes = np.array([len(r) for r in relevant])
    for number in range(30):

        def closeness(document, query=queries[number]):
            lengths = np.linalg.norm(query) * np.linalg.norm(documents[document])
            return query @ documents[document] / lengths

        order = sorted(range(50), key=closeness, reverse=True)[:10]
        assert best[number].tolist() == order
        ranks = [rank for rank, d in enumerate(order, 1) if d in relevant[number]]
        best_gain = sum(1 / math.log2(r + 1) for r in range(1, min(10, sizes[number]) + 1))
        gain = sum(1 / math.log2(rank + 1) for rank in ranks) / best_gain
        assert metrics.reciprocal_ranks(hits)[number] == pytest.approx(1 / ranks[0] if ranks else 0)
        assert metrics.gains(hits, sizes)[number] == pytest.approx(gain)


def test_gains_are_scikit_learns(rng):
    scores, truth = rng.random((20, 10)), rng.random((20, 10)) < 0.3
    truth[:, 0] = True
    order = np.argsort(-scores, axis=1)
    found = metrics.gains(np.take_along_axis(truth, order, axis=1), truth.sum(axis=1))
    assert found.mean() == pytest.approx(sklearn.metrics.ndcg_score(truth, scores))


def test_fewer_documents_than_ranks_are_all_ranked():
    best = metrics.top_documents(np.float32([[1, 0]]), np.float32([[0, 1], [1, 0]]))
    assert best.tolist() == [[1, 0]]


def test_a_probe_does_not_see_the_scale_of_a_vector(rng):
    train, labels = rng.normal(size=(60, 4)).astype(np.float32), rng.integers(3, size=60)
    test = rng.normal(size=(30, 4)).astype(np.float32)
    scales = np.float32([1e-3, 1, 50, 1000])
    found = metrics.probe(train, labels, test)
    assert (metrics.probe(train * scales, labels, test * scales) == found).mean() > 0.95


def test_a_probe_taught_one_class_knows_one_class():
    vectors = np.eye(3, dtype=np.float32)
    assert metrics.probe(vectors, np.array([2, 2, 2]), vectors).tolist() == [2, 2, 2]


def test_clusters_are_the_same_for_a_seed(rng):
    vectors = rng.normal(size=(40, 5)).astype(np.float32)
    assert (metrics.clusters(vectors, 4, seed=3) == metrics.clusters(vectors, 4, seed=3)).all()


def test_the_cosine_of_a_zero_vector_is_0():
    assert metrics.cosines(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)) == 0
