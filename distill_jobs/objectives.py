"""What a student is asked to minimise: pure functions of student and teacher vectors.

Both arguments are [B, H], centred and scaled so that answering with the mean vector costs 1 under
`mse`. Each gives the mean over the batch's sentences.
"""

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def mse(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
    """Squared distance of the vectors (LTD-BERT): the share of variance not explained.

    >>> float(mse(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])))
    2.0
    """
    return (student_BH - teacher_BH).square().sum(dim=1).mean()


def cosine(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
    """One minus the cosine (sentence-transformers, EmbedDistillLoss).

    >>> float(cosine(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])))
    0.0
    """
    return (1 - functional.cosine_similarity(student_BH, teacher_BH, dim=1)).mean()


def relational(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of the two matrices of cosines within the batch, diagonal left out.

    The term that Stella and Jasper (arXiv 2412.19048) weigh most. With several workers it sees the
    pairs within each worker's share of the batch.

    >>> vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> float(relational(vectors, vectors @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]])))
    0.0
    """
    size = len(student_BH)
    if size < 2:
        return student_BH.sum() * 0
    student_BB, teacher_BB = _cosines(student_BH), _cosines(teacher_BH)
    # The diagonals are both 1, so they add nothing to the sum.
    return (student_BB - teacher_BB).square().sum() / (size * (size - 1))


def divergence(found_BT: torch.Tensor, wanted_BT: torch.Tensor) -> torch.Tensor:
    """How far weights of tokens are from the IDF weights: Kullback-Leibler, in nats.

    Added to the objective of a student that learns its weights; both rows sum to 1, 0 is padding.

    >>> half = torch.tensor([[0.5, 0.5, 0.0]])
    >>> round(float(divergence(torch.tensor([[0.25, 0.75, 0.0]]), half)), 4)
    0.1438
    """
    # Each is kept from 0 by itself: the gradient of 0 log(0 / 0) would be NaN.
    known_BT = torch.xlogy(wanted_BT, wanted_BT.clamp(min=1e-12))
    return (known_BT - torch.xlogy(wanted_BT, found_BT.clamp(min=1e-12))).sum(dim=1).mean()


OBJECTIVES: Mapping[str, Objective] = {"mse": mse, "cosine": cosine, "relational": relational}


def read_objective(text: str) -> Objective:
    """Read a weighted sum such as ``cosine=1,relational=20``; a bare name weighs 1.

    Raises:
        ValueError: for an unknown name or a weight that is not positive.

    >>> both = read_objective("mse,cosine=0.5")
    >>> float(both(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])))
    2.5
    """
    terms = [_read_term(term) for term in text.split(",")]

    def weighted_sum(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
        losses = [weight * objective(student_BH, teacher_BH) for objective, weight in terms]
        return torch.stack(losses).sum()

    return weighted_sum


def _read_term(term: str) -> tuple[Objective, float]:
    name, _, weight = term.strip().partition("=")
    if name not in OBJECTIVES:
        raise ValueError(f"objective must be of {', '.join(OBJECTIVES)}, got {name!r}")
    try:
        value = float(weight or 1)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError(f"the weight of {name} must be a positive number, got {weight!r}")
    return OBJECTIVES[name], value


def _cosines(vectors_BH: torch.Tensor) -> torch.Tensor:
    unit_BH = functional.normalize(vectors_BH, dim=1)
    return unit_BH @ unit_BH.T
