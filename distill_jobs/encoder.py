"""Serve a student: sentences in, vectors out, with neither Beam nor Ray nor transformers.

Array letters: N sentences, B of a batch, T tokens, H the teacher's width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from distill_jobs.reader import pad_content
from distill_jobs.student import Student, StudentConfig
from schemas.fingerprint import file_digest, read_sealed
from schemas.prepare import Preparer, load_preparer
from schemas.text import MAX_CHARACTERS, clean
from schemas.weights import Floats

_SORTED_TOGETHER = 8192  # sentences prepared and sorted by length at a time: bounds the memory


class SentenceEncoder:
    """A finished student, ready to encode."""

    def __init__(self, student: Student, preparer: Preparer, card: dict[str, Any]) -> None:
        """Hold a student in evaluation mode and what prepares its sentences.

        Args:
            student: with its trained weights.
            preparer: the one that its store was made with.
            card: what is known of it; see `distill_jobs.export`.
        """
        self._student = student.eval()
        self._preparer = preparer
        self.card = card

    @classmethod
    def load(cls, folder: str | Path) -> "SentenceEncoder":
        """Read the folder that ``python -m distill_jobs export`` wrote.

        Raises:
            FileNotFoundError: if it is not such a folder.
            ValueError: if a file has changed since it was exported, naming it.
        """
        folder = Path(folder)
        card = read_card(folder)
        student = Student(StudentConfig(**card["student_config"]))
        student.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"))
        return cls(student, load_preparer(folder), card)

    @property
    def width(self) -> int:
        """H."""
        return self._student.config.width

    def encode(self, texts: Sequence[str], batch_size: int = 64) -> Floats:
        """Encode sentences, in batches of similar length.

        A sentence is cleaned, and cut as the teacher's were. One in which nothing is left to read
        gets the mean vector of the training corpus.

        Args:
            texts: any number of sentences.
            batch_size: sentences a batch; the vectors do not depend on it.

        Returns:
            Vectors [N, H] in the order of the texts.

        Raises:
            ValueError: if `texts` is a single string, or one of the texts is not a string.
        """
        if isinstance(texts, str):
            raise ValueError(f"encode takes a list of sentences, got the string {texts[:40]!r}")
        found = np.empty((len(texts), self.width), dtype=np.float32)
        for start in range(0, len(texts), _SORTED_TOGETHER):
            piece = [_cleaned(text) for text in texts[start : start + _SORTED_TOGETHER]]
            found[start : start + len(piece)] = self._encode(piece, batch_size)
        return found

    @torch.inference_mode()
    def _encode(self, texts: list[str], batch_size: int) -> Floats:
        prepared = self._preparer.prepare(texts)
        lengths_N = np.array([len(one.token_ids) for one in prepared], dtype=np.int32)
        order = np.argsort(lengths_N, kind="stable")
        found = np.empty((len(texts), self.width), dtype=np.float32)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            ids_BT, weights_BT = pad_content(
                np.concatenate([prepared[i].token_ids for i in batch]),
                np.concatenate([prepared[i].weights for i in batch]),
                lengths_N[batch],
            )
            vectors_BH = self._student.vectors(
                torch.from_numpy(ids_BT), torch.from_numpy(weights_BT)
            )
            found[batch] = vectors_BH.numpy()
        return found


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an export, after checking that its weights are the ones exported.

    Raises:
        FileNotFoundError: if the folder is not an export.
        ValueError: if it or the weights have changed.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is not an exported student: it has no config.json")
    card = read_sealed(path)
    if card.get("model_type") != "ltd_student":
        raise ValueError(f"{folder} is not an exported student: {card.get('model_type')!r}")
    found = file_digest(folder / "model.safetensors")
    if found != card["sha256"]:
        raise ValueError(f"{folder / 'model.safetensors'} has changed since it was exported")
    return card


def _cleaned(text: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"a sentence must be a string, got {type(text).__name__}: {text!r}")
    # Text from programs may hold lone surrogates, which no tokenizer takes.
    return clean(text[:MAX_CHARACTERS].encode("utf-8", "replace").decode())
