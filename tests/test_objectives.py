"""distill_jobs/objectives.py, against slow obvious formulas."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from distill_jobs.objectives import (
    OBJECTIVES,
    cosine,
    divergence,
    mse,
    read_objective,
    relational,
)

RNG = np.random.default_rng(0)
STUDENT, TEACHER = (torch.tensor(RNG.normal(size=(6, 4)), dtype=torch.float32) for _ in range(2))


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


def test_relational_of_one_sentence_costs_nothing_and_has_a_gradient():
    one = STUDENT[:1].clone().requires_grad_()
    relational(one, TEACHER[:1]).backward()
    assert one.grad.abs().sum() == 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_teachers_own_vectors_cost_nothing(name):
    assert float(OBJECTIVES[name](TEACHER, TEACHER)) == pytest.approx(0, abs=1e-6)


def test_answering_with_the_mean_costs_one_under_mse():
    centred = TEACHER - TEACHER.mean(dim=0)
    scaled = centred / centred.square().sum(dim=1).mean().sqrt()
    assert float(mse(torch.zeros_like(scaled), scaled)) == pytest.approx(1, rel=1e-5)


def test_a_weighted_sum_adds_up():
    both = read_objective("cosine=2, relational=0.5")
    expected = 2 * cosine(STUDENT, TEACHER) + 0.5 * relational(STUDENT, TEACHER)
    torch.testing.assert_close(both(STUDENT, TEACHER), expected)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("mes", "mse, cosine, relational, got 'mes'"),
        ("mse=-1", "positive number, got '-1'"),
        ("mse=x", "positive number, got 'x'"),
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
