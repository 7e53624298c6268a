"""A file of sentences -> batches; the vectors of two students -> how alike they are.

Array letters: B sentences of a batch, N of all, T tokens, H width of vectors, K of shorter ones.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from distill_jobs.backends import Vectorise
from distill_jobs.evaluation.geometry import nearest, shared
from distill_jobs.padding import pad_content
from distill_jobs.reader import Batch
from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig
from schemas.text import read_line, sentence_id
from schemas.vectors import row_cosines
from schemas.weights import Floats

MEASURED, FITTED = 2048, 8192  # sentences, at most
_BATCH = 256


class Prepared(Protocol):
    """One sentence as `schemas.prepare` and `distill_jobs.tokens` give it."""

    @property
    def token_ids(self) -> npt.NDArray[np.int32]:
        """[T]."""

    @property
    def weights(self) -> Floats:
        """[T]."""


class Sentences(NamedTuple):
    """Real sentences.

    Attributes:
        measured: those that the report is about.
        fitted: others, for what is chosen or calibrated.
        sha256: of the file.
    """

    measured: list[Batch]
    fitted: list[Batch]
    sha256: str


def read_sentences(path: Path, prepare: Callable[[Sequence[str]], Sequence[Prepared]]) -> Sentences:
    """Draw sentences from a file, by the hash of their text.

    Args:
        path: text, a sentence a line; half of a small file is measured, half fitted.
        prepare: from texts to tokens and weights.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has fewer than 2 different sentences.
    """
    drawn = draw(_read(path), MEASURED + FITTED)
    found = [one for one in prepare(drawn) if (one.weights > 0).any()]
    if len(found) < 2:
        raise ValueError(f"{path} must have at least 2 different sentences, got {len(found)}")
    number = min(MEASURED, len(found) // 2)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Sentences(_batches(found[:number]), _batches(found[number:]), sha256)


def draw(texts: Iterable[tuple[str, str]], number: int) -> list[str]:
    """The texts of the least ids, each once however often it comes, in the order of their ids.

    Args:
        texts: (id, text), read once; at most twice `number` of them are in memory.
        number: how many, at most.

    >>> draw([("c", "三"), ("a", "一"), ("a", "一"), ("a", "一"), ("b", "二")], 2)
    ['一', '二']
    """
    least: dict[str, str] = {}
    for one, text in texts:
        least[one] = text
        if len(least) >= 2 * number:
            least = dict(heapq.nsmallest(number, least.items()))
    return [text for _, text in heapq.nsmallest(number, least.items())]


def _read(path: Path) -> Iterator[tuple[str, str]]:
    with path.open("rb") as file:
        for line in file:
            text, wrong = read_line(line)
            if wrong is None:
                yield sentence_id(text), text


def _batches(prepared: Sequence[Prepared]) -> list[Batch]:
    """Sorted by length, padded."""
    by_length = sorted(prepared, key=lambda one: len(one.token_ids))
    found = []
    for start in range(0, len(by_length), _BATCH):
        some = by_length[start : start + _BATCH]
        ids_BT, weights_BT = pad_content(
            np.concatenate([one.token_ids for one in some]),
            np.concatenate([one.weights for one in some]),
            np.array([len(one.token_ids) for one in some], dtype=np.int32),
        )
        found.append(_batch(ids_BT, weights_BT))
    return found


def _batch(ids_BT: npt.NDArray[np.int64], weights_BT: Floats) -> Batch:
    rows = len(ids_BT)
    tensors = torch.from_numpy(ids_BT), torch.from_numpy(weights_BT)
    return Batch(*tensors, torch.zeros(rows, 1), rows, rows)


def random_sentences(config: StudentConfig) -> list[Batch]:
    """64 sentences of 1 to 16 tokens drawn by a seed, where there are no real ones."""
    rng = np.random.default_rng(0)
    ids_BT = rng.integers(config.vocabulary, size=(64, 16))
    held_BT = np.arange(16) < rng.integers(1, 17, size=64)[:, None]
    weights_BT = (held_BT / held_BT.sum(axis=1, keepdims=True)).astype(np.float32)
    return [_batch(ids_BT * held_BT, weights_BT)]


@torch.inference_mode()
def vectors_of(student: Student, batches: Sequence[Batch]) -> Floats:
    """Vectors [N, H] by torch, in the order of the batches."""
    found = [student.vectors(one.ids_BT, one.weights_BT).numpy() for one in batches]
    return np.concatenate(found)


def vectors_by(vectorise: Vectorise, batches: Sequence[Batch]) -> Floats:
    """Vectors [N, H] by a backend, in the order of the batches."""
    return np.concatenate(
        [vectorise(one.ids_BT.numpy(), one.weights_BT.numpy()) for one in batches]
    )


def mean_cosine(one_NH: Floats, other_NH: Floats, offset_H: Floats) -> float:
    """Of vectors taken from the mean vector, since two BERT vectors are alike from zero anyway."""
    return float(row_cosines(one_NH - offset_H, other_NH - offset_H).mean())


def likeness(
    before_NH: Floats,
    after_NK: Floats,
    offsets: tuple[Floats, Floats],
    back_KH: Floats | None = None,
) -> dict[str, float]:
    """Compare vectors of the same sentences.

    Args:
        before_NH: of the student that was compressed.
        after_NK: of what became of it.
        offsets: their mean vectors.
        back_KH: where K is not H, what leads back into the space of H numbers.

    Returns:
        ``cosine`` and ``least_cosine``, of vectors taken from the mean vector; and ``neighbours``,
        what share of each sentence's 10 nearest, by cosine, are the same.
    """
    moved_NK = after_NK - offsets[1]
    returned_NH = moved_NK if back_KH is None else moved_NK @ back_KH
    cosines_N = row_cosines(before_NH - offsets[0], np.asarray(returned_NH, np.float32))
    return {
        "cosine": round(float(cosines_N.mean()), 6),
        "least_cosine": round(float(cosines_N.min()), 6),
        "neighbours": round(same_neighbours(before_NH, after_NK), 4),
    }


def same_neighbours(one_NH: Floats, other_NK: Floats) -> float:
    """Share of each row's 10 nearest rows in one matrix that are its nearest in the other.

    >>> line = np.array([[1, 0], [0.9, 0.1], [0.1, 0.9], [0, 1]])
    >>> same_neighbours(line, line * 2)
    1.0
    """
    every_N = np.arange(len(one_NH))
    return float(shared(nearest(one_NH, every_N), nearest(other_NK, every_N)).mean())
