"""What a student is asked to minimise: pure functions of student and teacher vectors.

Both arguments are [B, H], centred and scaled so that answering with the mean vector costs 1 under
`mse`. Each gives the mean over the batch's sentences.

| name | compares | source |
|---|---|---|
| mse | a sentence's two vectors [H] | LTD-BERT; LEAF, arXiv 2509.12539 |
| l2 | their distance | sentence-transformers, EmbedDistillLoss |
| cosine | their direction | sentence-transformers, EmbedDistillLoss |
| relational | two matrices of cosines [B, B] | Stella and Jasper, arXiv 2412.19048 |
| gram_kl | their rows as distributions [B, B - 1] | Luxical; PKT, arXiv 1803.10837 |
| order | the order of pairs of cosines [B, B - 1, B - 1], sampled | Stella and Jasper |
| margin_mse | differences of pairs of cosines [B, B - 1, B - 1], all | arXiv 2010.02666 |
| infonce | student's cosines to all teachers [B, B] | DistilCSE, arXiv 2112.05638 |

The last five look at other sentences of the batch; with several workers, of each worker's share.
gram_kl is what rerankers call score_kl (ListNet): a list's scores, softened, by their divergence.
"""

import re
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch.nn import functional

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class WeightedSum(Protocol):
    """Objectives and their weights, at a point of the training."""

    def __call__(
        self, student_BH: torch.Tensor, teacher_BH: torch.Tensor, done: float
    ) -> torch.Tensor:
        """The sum; `done` is the share of the training that is over."""
        ...


_TEMPERATURE = 0.1  # of gram_kl
_MARGIN = 0.015  # of order, Jasper's
_OF_INFONCE = 0.05


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

    The term that Stella and Jasper weigh most. The student's vectors may be narrower.

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


def l2(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
    """Distance of the vectors: a few bad sentences weigh less than under `mse`.

    >>> float(l2(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])))
    5.0
    """
    distances_B: torch.Tensor = torch.linalg.vector_norm(student_BH - teacher_BH, dim=1)
    return distances_B.mean()


def gram_kl(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence, in nats, of a sentence's neighbours by teacher and by student.

    A row's cosines to the others, divided by a temperature of 0.1, are a distribution over them.
    The student's vectors may be narrower.

    >>> vectors = torch.eye(3)
    >>> float(gram_kl(2 * vectors, vectors))
    0.0
    """
    if len(student_BH) < 2:
        return student_BH.sum() * 0
    found, wanted = (
        functional.log_softmax(_others(one) / _TEMPERATURE, dim=1)
        for one in (student_BH, teacher_BH)
    )
    return functional.kl_div(found, wanted, reduction="batchmean", log_target=True)


def order(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
    """How far pairs of neighbours are from standing in the teacher's order, with a margin of 0.015.

    Of each sentence's neighbours, each is compared with the next one along (all pairs of pairs
    would take B^3). The student's vectors may be narrower.

    >>> vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> float(order(vectors, vectors))
    0.0
    """
    if len(student_BH) < 3:
        return student_BH.sum() * 0
    mine, theirs = _others(student_BH), _others(teacher_BH)
    sign = torch.sign(theirs - theirs.roll(1, dims=1))
    ahead = sign * (mine - mine.roll(1, dims=1))
    return (functional.relu(_MARGIN - ahead) * sign.abs()).mean()


def margin_mse(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of margins: by how much one neighbour is closer than another.

    Margin-MSE (Hofstaetter et al. 2020), with cosines for scores and, for the two documents of a
    query, all pairs of a sentence's neighbours. Cosines that are off by the same amount cost
    nothing. The student's vectors may be narrower.

    >>> vectors = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> float(margin_mse(2 * vectors, vectors)) < 1e-12
    True
    """
    if len(student_BH) < 3:
        return student_BH.sum() * 0
    # The mean of (a - b)^2 over all pairs is twice the variance: no B^3 numbers are needed.
    return 2 * (_others(student_BH) - _others(teacher_BH)).var(dim=1).mean()


def infonce(student_BH: torch.Tensor, teacher_BH: torch.Tensor) -> torch.Tensor:
    """Cross entropy of finding a sentence's own teacher vector among those of the batch, in nats.

    By cosine, divided by a temperature of 0.05. It is not 0 for the teacher's own vectors.

    >>> bool(infonce(torch.eye(2), torch.eye(2)) < 1e-6)
    True
    """
    student_BH, teacher_BH = (functional.normalize(one, dim=1) for one in (student_BH, teacher_BH))
    own_B = torch.arange(len(student_BH), device=student_BH.device)
    return functional.cross_entropy(student_BH @ teacher_BH.T / _OF_INFONCE, own_B)


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


OBJECTIVES: Mapping[str, Objective] = {
    "mse": mse,
    "l2": l2,
    "cosine": cosine,
    "relational": relational,
    "gram_kl": gram_kl,
    "order": order,
    "margin_mse": margin_mse,
    "infonce": infonce,
}
# Compare sentences, so widths may differ.
RELATIONS = ("relational", "gram_kl", "order", "margin_mse")


def read_objective(text: str) -> WeightedSum:
    """Read a weighted sum such as ``cosine=1,relational=20``; a bare name weighs 1.

    ``=0..20`` is a weight that goes from 0 to 20, evenly, over the training. ``relational@64`` asks
    the first 64 numbers of the student's vector to relate sentences as the teacher's whole ones do
    (Matryoshka, arXiv 2205.13147).

    Returns:
        A function of vectors and of the share of the training that is done, from 0 to 1.

    Raises:
        ValueError: for an unknown name, a weight that is not positive, or a width of an objective
            that compares the vectors themselves.

    >>> both = read_objective("mse,cosine=0..1")
    >>> float(both(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 0.5))
    2.5
    """
    terms = [_read_term(term) for term in text.split(",")]

    def weighted_sum(
        student_BH: torch.Tensor, teacher_BH: torch.Tensor, done: float
    ) -> torch.Tensor:
        losses = [
            (first + (last - first) * done) * objective(student_BH, teacher_BH)
            for objective, first, last in terms
        ]
        return torch.stack(losses).sum()

    return weighted_sum


def widest_part(text: str) -> int:
    """The greatest N of the terms ``name@N`` of an objective, 0 if there is none.

    >>> widest_part("mse,relational@64=5")
    64
    """
    return max(map(int, re.findall(r"@(\d+)", text)), default=0)


def _read_term(term: str) -> tuple[Objective, float, float]:
    named, _, weight = term.strip().partition("=")
    name, at, numbers = named.partition("@")
    if name not in OBJECTIVES:
        raise ValueError(f"objective must be of {', '.join(OBJECTIVES)}, got {name!r}")
    first, _, last = (weight or "1").partition("..")
    try:
        ends = float(first), float(last or first)
    except ValueError:
        ends = (0.0, 0.0)
    if not (all(0 <= end < float("inf") for end in ends) and max(ends) > 0):
        raise ValueError(f"the weight of {name} must be a positive number, got {weight!r}")
    objective = OBJECTIVES[name]
    return _first_numbers(name, objective, numbers) if at else objective, *ends


def _first_numbers(name: str, objective: Objective, numbers: str) -> Objective:
    """The objective for the first few numbers of the student's vector."""
    if name not in RELATIONS:
        raise ValueError(f"only {', '.join(RELATIONS)} can be of a part of a vector, not {name}")
    if not numbers.isdecimal() or int(numbers) < 1:
        raise ValueError(f"{name}@ takes how many numbers of the vector, got {numbers!r}")
    return lambda student_BH, teacher_BH: objective(student_BH[:, : int(numbers)], teacher_BH)


def _cosines(vectors_BH: torch.Tensor) -> torch.Tensor:
    unit_BH = functional.normalize(vectors_BH, dim=1)
    return unit_BH @ unit_BH.T


def _others(vectors_BH: torch.Tensor) -> torch.Tensor:
    """Cosines [B, B - 1] of each sentence to the others."""
    size = len(vectors_BH)
    apart_BB = ~torch.eye(size, dtype=torch.bool, device=vectors_BH.device)
    return _cosines(vectors_BH)[apart_BB].view(size, size - 1)
