"""distill_jobs/evaluation/estimates.py: differences of two models on the same rows."""

import numpy as np
import pytest

from distill_jobs.evaluation import metrics
from distill_jobs.evaluation.estimates import Difference, difference, estimate


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_a_paired_difference_is_that_of_slow_code(rng):
    one, other = rng.random(40), rng.random(40)
    counts = metrics.resample(40, rng, resamples=200)
    found = difference(metrics.average(one, counts), metrics.average(other, counts))
    differences = []
    for drawn in counts[1:].astype(int):
        rows = [row for row, times in enumerate(drawn) for _ in range(times)]
        differences.append(sum(one[row] - other[row] for row in rows) / len(rows))
    low, high = np.percentile(differences, [2.5, 97.5])
    assert found.value == pytest.approx(np.mean(one - other))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_rows_that_are_hard_for_both_do_not_hide_a_small_difference(rng):
    hard = rng.random(300)
    counts = metrics.resample(300, rng)
    better, worse = (metrics.average(hard + shift, counts) for shift in (0.01, 0.0))
    assert difference(better, worse).verdict == "better"
    assert difference(worse, better).verdict == "worse"
    assert estimate(better).low < estimate(worse).value


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.02, "better"),
        (-0.02, -0.001, "worse"),
        (-0.01, 0.01, "no difference shown"),
        (0.0, 0.0, "no difference shown"),
        (float("nan"), float("nan"), "no difference shown"),
    ],
)
def test_a_verdict_needs_an_interval_without_0(low, high, verdict):
    assert Difference(0.005, low, high).verdict == verdict


def test_two_equal_models_are_told_apart_about_once_in_20_times():
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        one, other = (rng.random((2, 150)) < 0.7).astype(float)
        counts = metrics.resample(150, rng)
        found = difference(metrics.average(one, counts), metrics.average(other, counts))
        wrong += found.verdict != "no difference shown"
    assert 2 <= wrong <= 22
