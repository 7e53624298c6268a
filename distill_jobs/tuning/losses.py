"""What a student on a task minimises: hard labels, and soft ones from the task's teacher.

Array letters: B rows, C classes; of pairs with a score each, C is 1. All are means over rows.

| name | compares | source |
|---|---|---|
| kl | softened distributions, by their divergence | Hinton et al. 2015, arXiv 1503.02531 |
| ce | the same, by cross entropy: the same gradients, not 0 at the best | the same |
| mse | the logits or scores themselves | Ba & Caruana 2014; Distilled BiLSTM, arXiv 1903.12136 |
| margin_mse | differences of scores between rows | Hofstaetter et al. 2020, arXiv 2010.02666 |
| score_kl | the batch's scores as a distribution over its rows | ListNet, Cao et al. 2007 |

kl and ce are of classes, margin_mse and score_kl of scores, mse of both. They are on one scale:
gradients of kl, ce and score_kl are multiplied by T^2 and of mse divided by C, so that for logits
of mean 0 kl and ce become mse as T grows (Hinton et al., section 2.1), and score_kl margin_mse,
which is mse but for what all scores of a batch are off by.
"""

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

Soft = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def kl(student_BC: torch.Tensor, teacher_BC: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 times the divergence, in nats, of the teacher's softened classes from the student's.

    >>> float(kl(torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 1.0]]), 4.0))
    0.0
    """
    found_BC = functional.log_softmax(student_BC / temperature, dim=1)
    wanted_BC = functional.log_softmax(teacher_BC / temperature, dim=1)
    apart = functional.kl_div(found_BC, wanted_BC, reduction="batchmean", log_target=True)
    return temperature**2 * apart


def ce(student_BC: torch.Tensor, teacher_BC: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 times the cross entropy, in nats, of the teacher's softened classes under the student's.

    >>> round(float(ce(torch.zeros(1, 2), torch.zeros(1, 2), 1.0)), 4)
    0.6931
    """
    found_BC = functional.log_softmax(student_BC / temperature, dim=1)
    wanted_BC = functional.softmax(teacher_BC / temperature, dim=1)
    return -(temperature**2) * (wanted_BC * found_BC).sum(dim=1).mean()


def mse(student_BC: torch.Tensor, teacher_BC: torch.Tensor, temperature: float) -> torch.Tensor:
    """Half the mean squared difference of the logits; it knows no temperature.

    >>> float(mse(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]), 1.0))
    1.0
    """
    return (student_BC - teacher_BC).square().mean() / 2


def margin_mse(
    student_B1: torch.Tensor, teacher_B1: torch.Tensor, temperature: float
) -> torch.Tensor:
    """A quarter of the mean squared difference of margins, over all pairs of rows; no temperature.

    A margin is by how much one row's score is above another's.

    >>> float(margin_mse(torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [5.0]]), 1.0))
    0.5
    """
    apart_B1 = student_B1 - teacher_B1
    # Over all pairs, the mean of (a - b)^2 / 4 is half the variance.
    return (apart_B1 - apart_B1.mean(dim=0)).square().mean() / 2


def score_kl(
    student_B1: torch.Tensor, teacher_B1: torch.Tensor, temperature: float
) -> torch.Tensor:
    """T^2 times the divergence, in nats, of the teacher's softened scores from the student's.

    The scores of the batch, divided by T, are a distribution over its rows.

    >>> float(score_kl(torch.tensor([[2.0], [0.0]]), torch.tensor([[3.0], [1.0]]), 4.0))
    0.0
    """
    return kl(student_B1.T, teacher_B1.T, temperature)


SOFT: Mapping[str, Soft] = {
    "kl": kl,
    "ce": ce,
    "mse": mse,
    "margin_mse": margin_mse,
    "score_kl": score_kl,
}
OF_CLASSES = ("kl", "ce", "mse")
OF_SCORES = ("mse", "margin_mse", "score_kl")


def score(found_BC: torch.Tensor) -> torch.Tensor:
    """What a network says of pairs as one score [B, 1]: its own, or the log odds of class 1.

    >>> score(torch.tensor([[1.0, 3.0]]))
    tensor([[2.]])
    """
    return found_BC[:, -1:] - found_BC[:, :-1] if found_BC.shape[1] == 2 else found_BC


def hard(found_BC: torch.Tensor, targets_B: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the right classes, in nats; of scores, half the mean squared error.

    Args:
        found_BC: logits, or scores [B, 1].
        targets_B: class numbers, or scores as floats. Rows of class -1 count for nothing.
    """
    if targets_B.is_floating_point():
        return (found_BC[:, 0] - targets_B).square().mean() / 2
    return functional.cross_entropy(found_BC, targets_B, ignore_index=-1)
