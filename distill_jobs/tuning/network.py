"""A student and a head: token ids and weights in, logits of a task's classes out. Torch only.

Array letters: B rows, S sentences (B, or of pairs 2 B), T tokens, H vector width, F numbers that a
head reads (H, or of pairs 4 H), C classes.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from distill_jobs import export_folder
from distill_jobs.encoder import read_card
from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig
from distill_jobs.tuning.examples import Batch

HIDDEN = 200  # of the head for pairs, as in Distilled BiLSTM


class Tuned(nn.Module):
    """An encoder whose vectors a head reads: one linear layer, for pairs a small network beside it.

    The head sees vectors that are centred and scaled to a variance of about 1 a number, whatever
    the teacher's space is: `feature_scale` says how.
    """

    def __init__(self, student: Student, sides: int, outputs: int) -> None:
        super().__init__()
        self.student = student
        self.factor = float(student.config.width**0.5)
        self.head = Head(student.config.width, sides, outputs)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits [B, C]."""
        logits_BC: torch.Tensor = self.head(self.read(batch))
        return logits_BC

    def read(self, batch: Batch) -> torch.Tensor:
        """What the head reads [B, F]."""
        vectors_SH = self.factor * self.student(batch.ids_BT, batch.weights_BT)[0]
        return features(vectors_SH.chunk(batch.sides))

    @property
    def feature_scale(self) -> float:
        """What a vector of the teacher's space, less the offset, is multiplied by."""
        return self.factor / float(self.student.scale)

    def freeze(self) -> None:
        """Leave the student as it is: only the head learns."""
        self.student.requires_grad_(False)


class Head(nn.Module):
    """A linear layer; for pairs, plus a hidden layer (Distilled BiLSTM), which adds 0 at first.

    So a head can begin as a logistic regression, and the hidden layer learns what that misses.
    """

    def __init__(self, width: int, sides: int, outputs: int) -> None:
        super().__init__()
        inputs = width if sides == 1 else 4 * width
        self.linear = nn.Linear(inputs, outputs)
        self.hidden = nn.Linear(inputs, HIDDEN) if sides == 2 else None
        self.out = nn.Linear(HIDDEN, outputs, bias=False) if sides == 2 else None
        if self.out is not None:
            nn.init.zeros_(self.out.weight)

    def forward(self, features_BF: torch.Tensor) -> torch.Tensor:
        """Logits [B, C]."""
        logits_BC: torch.Tensor = self.linear(features_BF)
        if self.hidden is None or self.out is None:
            return logits_BC
        added_BC: torch.Tensor = self.out(self.hidden(features_BF).relu())
        return logits_BC + added_BC


def features(sides: Sequence[torch.Tensor]) -> torch.Tensor:
    """What a head reads of the vectors [B, H] of one sentence or two.

    Of two: both, their product and their distance, number by number (Distilled BiLSTM, Tang et al.
    2019, after Mou et al. 2016).

    >>> features([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])])
    tensor([[ 1.,  2.,  3., -1.,  3., -2.,  2.,  3.]])
    """
    if len(sides) == 1:
        return sides[0]
    one, other = sides
    return torch.cat([one, other, one * other, (one - other).abs()], dim=-1)


def load_student(folder: Path, *, from_scratch: bool = False) -> Student:
    """The student of an export, with its weights or with random ones.

    Args:
        folder: of the export.
        from_scratch: the same network as it was before any training, seeded by torch's seed.

    Raises:
        FileNotFoundError: if it is no export, or its weights for torch were left out.
        ValueError: if the weights have changed since the export.
    """
    card = read_card(folder)
    fresh = Student(StudentConfig(**card["student_config"]))
    trained = export_folder.load_student(folder, card)
    if not from_scratch:
        return trained
    # Which tokens have vectors of their own is no weight.
    if fresh.rows is not None and trained.rows is not None:
        fresh.rows.copy_(trained.rows)
    return fresh


def shape_of(student: Student) -> dict[str, object]:
    """The student's shape as an export's card has it."""
    return dataclasses.asdict(student.config)
