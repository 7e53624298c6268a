"""distill_jobs/objectives.py, against slow obvious formulas."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from distill_jobs.objectives import (
    OBJECTIVES,
    RELATIONS,
    cosine,
    divergence,
    gram_kl,
    infonce,
    l2,
    margin_mse,
    mse,
    order,
    read_objective,
    relational,
)

RNG = np.random.default_rng(0)
STUDENT, TEACHER = (torch.tensor(RNG.normal(size=(6, 4)), dtype=torch.float32) for _ in range(2))
BOTH = (STUDENT, TEACHER)


def cosine_of(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_mse_is_the_mean_squared_distance():
    expected = np.mean(
        [np.sum((s - t) ** 2) for s, t in zip(STUDENT.numpy(), TEACHER.numpy(), strict=True)]
    )
    assert float(mse(STUDENT, TEACHER)) == pytest.approx(expected, rel=1e-5)


def test_cosine_is_one_minus_the_mean_cosine():
    pairs = zip(STUDENT.numpy(), TEACHER.numpy(), strict=True)
    expected = 1 - np.mean([cosine_of(s, t) for s, t in pairs])
    assert float(cosine(STUDENT, TEACHER)) == pytest.approx(expected, rel=1e-5)


def test_relational_compares_every_pair_but_not_a_sentence_with_itself():
    s, t = STUDENT.numpy(), TEACHER.numpy()
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    expected = np.mean([(cosine_of(s[i], s[j]) - cosine_of(t[i], t[j])) ** 2 for i, j in pairs])
    assert float(relational(STUDENT, TEACHER)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_nothing_costs_less_than_the_teachers_own_vectors(name):
    own = float(OBJECTIVES[name](TEACHER, TEACHER))
    assert own < float(OBJECTIVES[name](STUDENT, TEACHER))
    if name not in ("order", "infonce"):  # a margin is asked for, and sentences are alike
        assert own == pytest.approx(0, abs=1e-6)


def test_answering_with_the_mean_costs_one_under_mse():
    centred = TEACHER - TEACHER.mean(dim=0)
    scaled = centred / centred.square().sum(dim=1).mean().sqrt()
    assert float(mse(torch.zeros_like(scaled), scaled)) == pytest.approx(1, rel=1e-5)


def test_a_weighted_sum_adds_up():
    both = read_objective("cosine=2, relational=0.5")
    expected = 2 * cosine(STUDENT, TEACHER) + 0.5 * relational(STUDENT, TEACHER)
    torch.testing.assert_close(both(STUDENT, TEACHER, 0.3), expected)


def test_a_weight_goes_evenly_from_its_first_to_its_last_value():
    moving = read_objective("mse=2..0, cosine=0..4")
    one, other = mse(STUDENT, TEACHER), cosine(STUDENT, TEACHER)
    for done, expected in ((0.0, 2 * one), (0.25, 1.5 * one + other), (1.0, 4 * other)):
        torch.testing.assert_close(moving(STUDENT, TEACHER, done), expected)


def test_the_first_numbers_of_a_vector_are_compared_with_the_teachers_whole_one():
    part = read_objective("relational@2")(STUDENT, TEACHER, 0.0)
    torch.testing.assert_close(part, relational(STUDENT[:, :2], TEACHER))


def test_l2_is_the_mean_distance():
    distances = [np.linalg.norm(s - t) for s, t in zip(*BOTH, strict=True)]
    assert float(l2(STUDENT, TEACHER)) == pytest.approx(np.mean(distances), rel=1e-5)


def others(vectors):
    """Cosines of each sentence to the others, in order."""
    return [[cosine_of(a, b) for b in vectors if b is not a] for a in list(vectors)]


def test_gram_kl_is_scipys_relative_entropy_of_the_neighbours():
    mine, theirs = (softmax(np.array(others(list(v.numpy()))) / 0.1, axis=1) for v in BOTH)
    expected = rel_entr(theirs, mine).sum(axis=1).mean()
    assert float(gram_kl(STUDENT, TEACHER)) == pytest.approx(expected, rel=1e-4)


def test_order_counts_pairs_that_stand_the_other_way_round_or_too_close():
    total, number = 0.0, 0
    mine, theirs = (others(list(v.numpy())) for v in BOTH)
    for s, t in zip(mine, theirs, strict=True):
        for place in range(len(s)):
            before = place - 1  # the first is compared with the last
            sign = np.sign(t[place] - t[before])
            total += max(0.0, 0.015 - sign * (s[place] - s[before]))
            number += 1
    assert float(order(STUDENT, TEACHER)) == pytest.approx(total / number, rel=1e-4)


def test_margin_mse_compares_all_pairs_of_a_sentences_neighbours():
    mine, theirs = (others(list(v.numpy())) for v in BOTH)
    apart = [
        (s[j] - s[k]) - (t[j] - t[k])
        for s, t in zip(mine, theirs, strict=True)
        for j in range(len(s))
        for k in range(len(s))
        if j != k
    ]
    assert float(margin_mse(STUDENT, TEACHER)) == pytest.approx(np.mean(np.square(apart)), rel=1e-4)


def test_cosines_that_are_all_off_by_the_same_amount_have_the_right_margins():
    gram = torch.tensor(0.5 * np.eye(4) + 0.5, dtype=torch.float64)
    equal = torch.linalg.cholesky(gram)  # every cosine is 0.5
    assert float(margin_mse(equal, torch.eye(4, dtype=torch.float64))) == pytest.approx(0, abs=1e-9)
    assert float(relational(equal, torch.eye(4, dtype=torch.float64))) == pytest.approx(0.25)


def test_infonce_is_the_cross_entropy_of_finding_ones_own_teacher():
    logits = np.array([[cosine_of(s, t) / 0.05 for t in TEACHER.numpy()] for s in STUDENT.numpy()])
    expected = -np.mean(np.log(softmax(logits, axis=1).diagonal()))
    assert float(infonce(STUDENT, TEACHER)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", RELATIONS)
def test_what_compares_sentences_takes_one_sentence_and_does_not_see_a_rotation(name):
    one = STUDENT[:1].clone().requires_grad_()
    OBJECTIVES[name](one, TEACHER[:1]).backward()
    assert one.grad.abs().sum() == 0
    turn = torch.linalg.qr(torch.tensor(RNG.normal(size=(4, 4)), dtype=torch.float32))[0]
    turned = OBJECTIVES[name](STUDENT @ turn, TEACHER)
    torch.testing.assert_close(turned, OBJECTIVES[name](STUDENT, TEACHER), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mes", "infonce, got 'mes'"),
        ("mse=-1", "positive number, got '-1'"),
        ("mse=x", "positive number, got 'x'"),
        ("mse=0..0", "positive number, got '0..0'"),
        ("mse=1..nan", "positive number, got '1..nan'"),
        (
            "mse@64",
            "relational, gram_kl, order, margin_mse can be of a part .*, not mse",
        ),
        ("relational@x", "how many numbers of the vector, got 'x'"),
        ("", "got ''"),
    ],
)
def test_a_wrong_objective_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_objective(text)


def test_divergence_of_weights_is_scipys_relative_entropy():
    found, wanted = RNG.dirichlet(np.ones(5), size=7), RNG.dirichlet(np.ones(5), size=7)
    expected = rel_entr(wanted, found).sum(axis=1).mean()
    assert float(divergence(torch.tensor(found), torch.tensor(wanted))) == pytest.approx(expected)
    assert float(divergence(torch.tensor(wanted), torch.tensor(wanted))) == 0


def test_padding_and_empty_sentences_add_nothing_to_the_divergence_nor_to_its_gradient():
    wanted = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    found = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    loss = divergence(found, wanted)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(found.grad).all()
    assert (found.grad[wanted == 0] == 0).all()
