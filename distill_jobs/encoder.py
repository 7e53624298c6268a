"""Serve a student: sentences in, vectors out, with neither Beam nor Ray nor transformers nor torch.

torch is imported only where its backend is asked for, jieba only for students that pool by IDF.
Array letters: N sentences, B of a batch, T tokens, H the teacher's width.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_jobs.backends import FILES, Vectorise, choose, open_backend
from distill_jobs.padding import pad_content
from distill_jobs.tokens import TokenPreparer, load_tokens
from schemas.fingerprint import file_digest, read_sealed
from schemas.text import MAX_CHARACTERS, clean
from schemas.weights import Floats

if TYPE_CHECKING:
    from schemas.prepare import Preparer

BATCH_SIZE = 32  # int8: 205 to 215 us a sentence from 8 to 32, 256 at 64, 393 at 128 (2026-11-21)
_SORTED_TOGETHER = 8192  # sentences prepared and sorted by length at a time: bounds the memory


class SentenceEncoder:
    """A finished student, ready to encode."""

    def __init__(
        self, vectorise: Vectorise, preparer: "Preparer | TokenPreparer", card: dict[str, Any]
    ) -> None:
        """Hold a student and what prepares its sentences.

        Args:
            vectorise: from `distill_jobs.backends`.
            preparer: the one that its store was made with, or its tokenizer alone if the student
                does not pool by IDF.
            card: what is known of it, see `distill_jobs.export`; and the ``backend``.
        """
        self._vectorise = vectorise
        self._preparer = preparer
        self.card = card

    @classmethod
    def load(
        cls, folder: str | Path, backend: str = "auto", threads: int | None = None
    ) -> "SentenceEncoder":
        """Read the folder that ``python -m distill_jobs export`` wrote.

        Args:
            folder: of the export; the weights of backends that are not used may be left out of it.
            backend: ``onnx-int8``, ``onnx`` or ``torch``; ``auto`` takes onnx-int8 where its
                vectors have a cosine of at least 0.999 to torch's, as measured at export, else
                onnx.
            threads: processor threads; by default 1 for ONNX, and torch's own choice for torch.

        Raises:
            FileNotFoundError: if it is not such a folder.
            ValueError: if a file has changed since it was exported, naming it, or there is no such
                backend.
        """
        folder = Path(folder)
        card = read_card(folder)
        chosen = choose(card, backend)
        vectorise = open_backend(folder, card, chosen, threads)
        served = {"backend": chosen, "file_bytes": (folder / FILES[chosen]).stat().st_size}
        return cls(vectorise, _load_preparer(folder, card), {**card, **served})

    @property
    def width(self) -> int:
        """H."""
        return int(self.card["student_config"]["width"])

    def encode(self, texts: Sequence[str], batch_size: int = BATCH_SIZE) -> Floats:
        """Encode sentences, in batches of similar length.

        A sentence is cleaned, and cut as the teacher's were. One in which nothing is left to read
        gets the mean vector of the training corpus.

        Args:
            texts: any number of sentences.
            batch_size: sentences a batch. The vectors do not depend on it but for rounding: by
                1e-5 of their distance from the mean vector; with onnx-int8, which rounds what a
                batch has in common, by a few hundredths, at a cosine above 0.999.

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
            found[batch] = self._vectorise(ids_BT, weights_BT)
        return found


def _load_preparer(folder: Path, card: dict[str, Any]) -> "Preparer | TokenPreparer":
    if card["student_config"].get("pooling", "idf") != "idf":
        return load_tokens(folder)
    # Only here: the other students need no words, hence no dictionary in memory.
    from schemas.prepare import load_preparer

    return load_preparer(folder)


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an export, after checking that the weights there are the ones exported.

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
    recorded = {"torch": card["sha256"]}
    recorded |= {name: facts["sha256"] for name, facts in card.get("backends", {}).items()}
    for name, sha256 in recorded.items():
        path = folder / FILES[name]
        if path.exists() and file_digest(path) != sha256:
            raise ValueError(f"{path} has changed since it was exported")
    return card


def _cleaned(text: str) -> str:
    if not isinstance(text, str):
        raise ValueError(f"a sentence must be a string, got {type(text).__name__}: {text!r}")
    # Text from programs may hold lone surrogates, which no tokenizer takes.
    return clean(text[:MAX_CHARACTERS].encode("utf-8", "replace").decode())
