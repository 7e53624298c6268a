"""evaluation/likeness.py: how alike two models' vectors are, over all, by length and by set."""

import numpy as np
import pytest
import scipy.stats

from distill_jobs.evaluation.likeness import BUCKETS, Reference, pair_cosines
from distill_jobs.evaluation.models import Vectors, all_texts
from distill_jobs.evaluation.tasks import Kind, LabelledSet, Row
from tests.evaluation_kit import TEXTS, classes_set, pairs_set, teacher_vectors

TEACHER = Vectors(TEXTS, teacher_vectors(TEXTS))


def noisy(noise: float) -> Vectors:
    own = np.random.default_rng(0).normal(size=(len(TEXTS), 8))
    return Vectors(TEXTS, (teacher_vectors(TEXTS) + noise * own).astype(np.float32))


def liken(vectors, sets=None, teacher=TEACHER):
    reference = Reference(sets or [pairs_set(), classes_set()], teacher, seed=0)
    return reference.liken(vectors, teacher)


def test_the_reference_is_like_itself():
    found = liken(TEACHER)
    assert found.neighbours_R.min() == 1
    assert found.agreement.value == pytest.approx(1)
    assert [group.agreement for group in found.by_set] == [pytest.approx(1), None]
    assert all(group.cosine == pytest.approx(1) for group in found.by_set)


def test_the_share_of_neighbours_and_its_interval_are_those_of_slow_code():
    found, mine = liken(noisy(2.0)), noisy(2.0)
    texts = sorted(TEXTS)

    def near(vectors, text):
        def closeness(other):
            one, two = vectors.of([text])[0], vectors.of([other])[0]
            return one @ two / np.linalg.norm(one) / np.linalg.norm(two)

        return set(sorted((t for t in texts if t != text), key=closeness)[-10:])

    shares = [len(near(mine, text) & near(TEACHER, text)) / 10 for text in texts]
    assert found.neighbours_R[0] == pytest.approx(np.mean(shares))
    # The interval of a mean over 32 queries, by the central limit theorem.
    width = np.subtract(*np.percentile(found.neighbours_R[1:], [97.5, 2.5]))
    assert width == pytest.approx(2 * 1.96 * np.std(shares) / np.sqrt(32), rel=0.15)


def test_permuted_texts_gain_nothing_and_own_texts_much():
    shuffled = np.random.default_rng(1).permutation(len(TEXTS))
    permuted = liken(Vectors(TEXTS, teacher_vectors(TEXTS)[shuffled]))
    assert permuted.gain.low < 0 < permuted.gain.high
    own = liken(noisy(0.5))
    assert own.gain.low > 0.5
    vectors, noise = teacher_vectors(TEXTS), noisy(0.5).of(TEXTS)
    cosines = (vectors * noise).sum(1) / np.linalg.norm(vectors, axis=1)
    mean = (cosines / np.linalg.norm(noise, axis=1)).mean()
    assert own.permuted + own.gain.value == pytest.approx(mean)


def test_vectors_of_another_width_have_neighbours_but_no_cosine():
    found = liken(Vectors(TEXTS, teacher_vectors(TEXTS)[:, :4]))
    assert (found.gain, found.permuted) == (None, None)
    assert found.neighbours_R[0] > 0.3
    assert {group.cosine for group in (*found.by_set, *found.by_length)} == {None}
    assert found.by_set[0].agreement > 0.5


def test_a_text_stands_in_the_group_of_its_length_and_a_pair_in_that_of_its_longer_text():
    texts = ["好" * length for length in (1, 7, 8, 15, 16, 31, 32, 99)]
    vectors = Vectors(texts, np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    rows = [Row((texts[0], texts[7]), "1"), Row((texts[1], texts[0]), "0")]
    rows += [Row((a, b), "1") for a, b in (texts[2:4], texts[4:6], texts[3:5])]
    paired = LabelledSet("pairs", Kind.PAIRS, "test", tuple(rows))
    single = LabelledSet("single", Kind.CLASSES, "test", (Row((texts[6],), "x"),))
    found = liken(vectors, [paired, single], vectors)
    assert [(g.name, g.texts, g.pairs) for g in found.by_length] == [
        (BUCKETS[0], 2, 1),
        (BUCKETS[1], 2, 1),
        (BUCKETS[2], 2, 2),
        (BUCKETS[3], 2, 1),
    ]


def test_a_group_s_cosine_is_taken_from_the_reference_s_mean_vector():
    mine = noisy(1.0)
    group = liken(mine).by_set[1]
    texts = classes_set().texts
    mean = teacher_vectors(sorted(TEXTS)).mean(axis=0)
    one, other = mine.of(texts) - mean, TEACHER.of(texts) - mean
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(one, other, strict=True)
    ]
    assert group.cosine == pytest.approx(np.mean(cosines), abs=1e-6)
    assert group.tenth == pytest.approx(np.quantile(cosines, 0.1), abs=1e-6)
    assert (group.texts, group.pairs, group.agreement) == (32, 0, None)


def test_the_agreement_of_pairs_is_scipys_spearman():
    mine = noisy(1.0)
    cosines = [pair_cosines(pairs_set(), vectors) for vectors in (mine, TEACHER)]
    expected = scipy.stats.spearmanr(*cosines).statistic
    assert liken(mine).by_set[0].agreement == pytest.approx(expected)


def test_the_same_seed_asks_the_same_queries():
    first, second = liken(noisy(1.0)), liken(noisy(1.0))
    np.testing.assert_array_equal(first.neighbours_R, second.neighbours_R)
    assert first.gain == second.gain


def test_a_single_text_is_likened_without_a_complaint():
    alone = LabelledSet("one", Kind.CLASSES, "test", (Row((TEXTS[0],), "x"),))
    found = Reference([alone], TEACHER, seed=0).liken(TEACHER, TEACHER)
    assert (found.queries, found.neighbours_R[0]) == (1, 0)
    assert all_texts([alone]) == [TEXTS[0]]
