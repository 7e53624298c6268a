"""Rows of a task -> tokens and targets -> padded batches.

Array letters: N rows, B of a batch, T tokens, C classes.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from distill_jobs.evaluation.tasks import Kind, Row
from distill_jobs.padding import pad_content
from distill_jobs.tokens import Tokens
from distill_jobs.tuning.task import Task

Prepare = Callable[[Sequence[str]], Sequence[Any]]
"""Cleaned texts to what has token_ids [T] and weights [T]."""
Numbers = npt.NDArray[np.int64]

_WINDOW = 16  # batches sorted by length together: padding of 2 % instead of 60 on mixed lengths


@dataclasses.dataclass(frozen=True)
class Examples:
    """Holds rows as a student reads them.

    Attributes:
        sides: the first sentence of each row, and of pairs the second: N each.
        targets: class numbers [N], -1 for a class never trained; or scores [N]; or a
            teacher's logits [N, C] or scores [N, 1].
    """

    sides: tuple[list[Tokens], ...]
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.sides[0])

    def lengths(self) -> Numbers:
        """Tokens of the longest sentence of each row [N]."""
        sides = [[len(one.token_ids) for one in side] for side in self.sides]
        longest: Numbers = np.array(sides, dtype=np.int64).max(axis=0)
        return longest

    def joined(self, others: "Examples") -> "Examples":
        """These rows and then others of the same task."""
        sides = zip(self.sides, others.sides, strict=True)
        targets = torch.cat([self.targets, others.targets])
        return Examples(tuple(mine + theirs for mine, theirs in sides), targets)


class Batch(NamedTuple):
    """Rows to be read at once.

    Attributes:
        ids_BT: tokens; of pairs the first sentences of all rows, then the second.
        weights_BT: 0 for padding.
        sides: 1, or 2 for pairs.
        targets: as in `Examples`.
    """

    ids_BT: torch.Tensor
    weights_BT: torch.Tensor
    sides: int
    targets: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        moved = (self.ids_BT.to(device), self.weights_BT.to(device))
        return Batch(*moved, self.sides, self.targets.to(device))


def prepare_rows(task: Task, rows: Sequence[Row], prepare: Prepare) -> Examples:
    """Tokenise labelled rows."""
    return Examples(sides_of(rows, prepare), targets_of(task, rows))


def sides_of(rows: Sequence[Row], prepare: Prepare) -> tuple[list[Tokens], ...]:
    """Tokenise the sentences of rows, each distinct one once."""
    texts = list(dict.fromkeys(text for row in rows for text in row.sentences))
    found = zip(texts, prepare(texts), strict=True)
    tokens = {text: Tokens(one.token_ids, one.weights) for text, one in found}
    sides = zip(*(row.sentences for row in rows), strict=True)
    return tuple([tokens[text] for text in side] for side in sides)


def targets_of(task: Task, rows: Sequence[Row]) -> torch.Tensor:
    """Class numbers [N], or scores [N] scaled to mean 0 and deviation 1 over the training rows."""
    if task.kind is Kind.GRADED:
        mean, deviation = score_scale(task)
        return torch.tensor([(float(row.label) - mean) / deviation for row in rows])
    number = {name: place for place, name in enumerate(task.classes)}
    return torch.tensor([number.get(row.label, -1) for row in rows])


def score_scale(task: Task) -> tuple[float, float]:
    """Mean and deviation of the training rows' scores."""
    scores = np.array([float(row.label) for row in task.train])
    return float(scores.mean()), max(float(scores.std()), 1e-6)


def pad(examples: Examples, rows: Numbers) -> Batch:
    """Pad some rows, by number, into one batch."""
    some = [side[row] for side in examples.sides for row in rows.tolist()]
    ids_BT, weights_BT = pad_content(
        np.concatenate([one.token_ids for one in some]),
        np.concatenate([one.weights for one in some]),
        np.array([len(one.token_ids) for one in some], dtype=np.int32),
    )
    tensors = torch.from_numpy(ids_BT), torch.from_numpy(weights_BT)
    return Batch(*tensors, len(examples.sides), examples.targets[rows])


def passes(examples: Examples, size: int, seed: int) -> Iterator[Batch]:
    """Batches of pass after pass without end, every pass in an order of its own.

    Rows of like length stand together, so that little is padding; which do depends on the seed.
    """
    rng = np.random.default_rng(seed)
    lengths_N = examples.lengths()
    while True:
        order_N = rng.permutation(len(examples))
        for start in range(0, len(order_N), size * _WINDOW):
            window = order_N[start : start + size * _WINDOW]
            window = window[np.argsort(lengths_N[window], kind="stable")]
            slices = [window[at : at + size] for at in range(0, len(window), size)]
            for place in rng.permutation(len(slices)):
                yield pad(examples, slices[place])


def in_order(examples: Examples, size: int = 256) -> Iterator[tuple[Numbers, Batch]]:
    """Every row once, shortest first, with the rows' numbers."""
    order_N = np.argsort(examples.lengths(), kind="stable")
    for start in range(0, len(order_N), size):
        rows = order_N[start : start + size]
        yield rows, pad(examples, rows)
