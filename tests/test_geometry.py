"""distill_jobs/evaluation/geometry.py against scikit-learn and slow obvious code."""

import itertools
import math

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from distill_jobs.evaluation import geometry


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def cosine(one, other):
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_neighbours_are_scikit_learns(rng):
    vectors = rng.normal(size=(600, 7)).astype(np.float32)
    queries = rng.permutation(600)[:300]
    found = geometry.nearest(vectors, queries)
    theirs = NearestNeighbors(n_neighbors=11, metric="cosine", algorithm="brute").fit(vectors)
    expected = theirs.kneighbors(vectors[queries], return_distance=False)
    for row, others, query in zip(found, expected, queries, strict=True):
        assert set(row) == set(others) - {query}


def test_a_text_is_not_its_own_neighbour_even_among_equal_vectors():
    found = geometry.nearest(np.ones((6, 3), np.float32), np.arange(6), top=5)
    assert [set(row) for row in found.tolist()] == [set(range(6)) - {own} for own in range(6)]


@pytest.mark.parametrize("number", [1, 2, 4])
def test_fewer_texts_than_neighbours_are_all_neighbours(number):
    vectors = np.eye(number, dtype=np.float32)
    assert geometry.nearest(vectors, np.arange(number)).shape == (number, number - 1)


def test_neighbours_in_common_are_counted_as_sets_are(rng):
    first, second = (np.stack([rng.permutation(30)[:10] for _ in range(20)]) for _ in range(2))
    expected = [len(set(a) & set(b)) / 10 for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(geometry.shared(first, second), expected)


def test_the_mean_cosine_of_pairs_is_that_of_all_pairs(rng):
    vectors = (rng.normal(size=(25, 6)) + 1).astype(np.float32)
    expected = np.mean([cosine(a, b) for a, b in itertools.combinations(vectors, 2)])
    assert geometry.pair_cosine(vectors) == pytest.approx(expected, abs=1e-6)


def test_one_text_has_no_pair():
    assert math.isnan(geometry.pair_cosine(np.ones((1, 3), np.float32)))


def test_the_first_component_is_scikit_learns(rng):
    vectors = (rng.normal(size=(80, 6)) * [5, 1, 1, 2, 1, 1] + 3).astype(np.float32)
    expected = PCA().fit(vectors.astype(np.float64)).explained_variance_ratio_[0]
    assert geometry.first_component(vectors) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_equal_vectors_have_no_first_component(value):
    assert math.isnan(geometry.first_component(np.full((50, 4), value, np.float32)))


def test_the_cosine_to_others_is_the_mean_over_all_permutations_without_a_fixed_point(rng):
    mine, theirs = rng.normal(size=(2, 5, 3)).astype(np.float32)
    moved = [p for p in itertools.permutations(range(5)) if all(i != j for i, j in enumerate(p))]
    expected = [np.mean([cosine(mine[i], theirs[p[i]]) for p in moved]) for i in range(5)]
    np.testing.assert_allclose(geometry.others_cosine(mine, theirs), expected, atol=1e-6)
