"""evaluation/disagreements.py: the pairs that a student and its teacher rank most differently."""

import numpy as np
import scipy.stats

from distill_jobs.evaluation.disagreements import worst
from distill_jobs.evaluation.tasks import Kind, LabelledSet, Row


def pairs(name: str, number: int, kind: Kind = Kind.PAIRS) -> LabelledSet:
    rows = [Row((f"{name}甲{i}", f"{name}乙{i}"), str(i % 2)) for i in range(number)]
    return LabelledSet(name, kind, "test", tuple(rows))


def test_the_pair_that_changed_places_comes_first_with_both_scores():
    theirs, mine = np.array([0.1, 0.2, 0.3, 0.9]), np.array([0.95, 0.2, 0.3, 0.9])
    found = worst([pairs("a", 4)], [theirs], [mine])
    assert (found[0].first, found[0].second, found[0].label) == ("a甲0", "a乙0", "0")
    assert (found[0].reference, found[0].student) == (0.1, 0.95)
    assert (found[0].reference_rank, found[0].student_rank) == (0.125, 0.875)


def test_a_shift_of_all_scores_is_no_disagreement():
    theirs = np.linspace(0, 0.5, 9)
    found = worst([pairs("a", 9)], [theirs], [theirs / 2 + 0.4])
    assert {one.student_rank - one.reference_rank for one in found} == {0.0}


def test_the_worst_of_all_sets_are_those_of_slow_code():
    rng = np.random.default_rng(2)
    sets = [pairs("a", 40), pairs("b", 25, Kind.GRADED)]
    theirs, mine = ([rng.random(40).round(1), rng.random(25).round(1)] for _ in range(2))
    expected = []
    for labelled, one, other in zip(sets, theirs, mine, strict=True):
        for place, row in enumerate(labelled.test):
            shares = [(scipy.stats.rankdata(v)[place] - 0.5) / len(v) for v in (one, other)]
            expected.append((abs(shares[0] - shares[1]), row.sentences))
    found = worst(sets, theirs, mine)
    sizes = [abs(one.student_rank - one.reference_rank) for one in found]
    assert len(found) == 10
    np.testing.assert_allclose(sizes, sorted((size for size, _ in expected), reverse=True)[:10])
    for one, size in zip(found, sizes, strict=True):
        assert any(row == (one.first, one.second) and abs(size - s) < 1e-9 for s, row in expected)


def test_sets_without_labelled_pairs_have_none():
    classes = LabelledSet("c", Kind.CLASSES, "test", (Row(("文",), "x"),))
    retrieval = LabelledSet("r", Kind.RETRIEVAL, "test", (Row(("问", "答"), ""),))
    assert worst([classes, retrieval], [np.zeros(0), np.ones(1)], [np.zeros(0), np.ones(1)]) == ()
