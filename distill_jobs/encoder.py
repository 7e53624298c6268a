"""Serve a student: sentences in, vectors out, with neither Beam nor Ray nor transformers nor torch.

torch is imported only where its backend is asked for, jieba only for students that pool by IDF.
Array letters: N sentences, B of a batch, T tokens, H the teacher's width.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_jobs.backends import FILES, Vectorise, choose, open_backend
from distill_jobs.padding import one_row, pad_content
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
        self,
        vectorise: Vectorise,
        preparer: "Preparer | TokenPreparer",
        card: dict[str, Any],
        threads: int = 1,
    ) -> None:
        """Hold a student and what prepares its sentences.

        Args:
            vectorise: from `distill_jobs.backends`.
            preparer: the one that its store was made with, or its tokenizer alone if the student
                does not pool by IDF.
            card: what is known of it, see `distill_jobs.export`; and the ``backend``.
            threads: batches that are vectorised at a time.
        """
        self._vectorise = vectorise
        self._preparer = preparer
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.card = card

    @classmethod
    def load(
        cls, folder: str | Path, backend: str = "auto", threads: int | None = None
    ) -> "SentenceEncoder":
        """Read the folder that ``python -m distill_jobs export`` wrote.

        Args:
            folder: of the export; the weights of backends that are not used may be left out of it.
            backend: ``onnx-int8``, ``onnx`` or ``torch``; ``auto`` takes onnx-int8 where its
                vectors have a cosine of at least 0.999 to torch's and do not depend on their
                neighbours, as measured at export, else onnx.
            threads: batches that ONNX encodes at a time, by default 1; processor threads of torch,
                by default its own choice.

        Raises:
            FileNotFoundError: if it is not such a folder.
            ValueError: if a file has changed since it was exported, naming it, or there is no such
                backend.
        """
        # Once: a link may come to lead elsewhere before the last file is read.
        folder = Path(folder).resolve()
        card = read_card(folder)
        chosen = choose(card, backend)
        vectorise = open_backend(folder, card, chosen, threads)
        served = {"backend": chosen, "file_bytes": (folder / FILES[chosen]).stat().st_size}
        at_a_time = 1 if chosen == "torch" else threads or 1
        return cls(vectorise, preparer_of(folder, card), {**card, **served}, at_a_time)

    @property
    def width(self) -> int:
        """H."""
        return int(self.card["student_config"]["width"])

    def encode(self, texts: Iterable[str], batch_size: int = BATCH_SIZE) -> Floats:
        """Encode sentences, in batches of similar length.

        A sentence is cleaned, and cut as the teacher's were. One in which nothing is left to read
        gets the mean vector of the training corpus.

        Args:
            texts: any number of sentences; read a few thousand at a time, so that beside a
                generator's no more than the result is in memory.
            batch_size: sentences a batch. The vectors do not depend on it but for rounding: by
                1e-5 of their distance from the mean vector. A backend that `load` takes only if
                told to may move them by its ``batch_effect`` in the card, about a hundredth.

        Returns:
            Vectors [N, H] in the order of the texts.

        Raises:
            ValueError: if `texts` is a single string, one of the texts is not a string, or
                `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if isinstance(texts, str | bytes):
            what = "string" if isinstance(texts, str) else "bytes"
            raise ValueError(f"encode takes a list of sentences, got the {what} {texts[:40]!r}")
        waiting = iter(texts)
        found = self._encode(_next_piece(waiting, 0), batch_size)
        while piece := _next_piece(waiting, len(found)):
            done = len(found)
            # Moves pages, not bytes: no time at which the vectors are in memory twice.
            found.resize((done + len(piece), self.width), refcheck=False)
            found[done:] = self._encode(piece, batch_size)
        return found

    def _encode(self, texts: list[str], batch_size: int) -> Floats:
        prepared = self._preparer.prepare(texts)
        if len(prepared) == 1:
            return self._vectorise(*one_row(prepared[0].token_ids, prepared[0].weights))
        lengths = [len(one.token_ids) for one in prepared]
        order = sorted(range(len(prepared)), key=lengths.__getitem__)
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

        def vectors(batch: list[int]) -> Floats:
            ids_BT, weights_BT = pad_content(
                np.concatenate([prepared[i].token_ids for i in batch]),
                np.concatenate([prepared[i].weights for i in batch]),
                np.array([lengths[i] for i in batch], dtype=np.int32),
            )
            return self._vectorise(ids_BT, weights_BT)

        found = np.empty((len(texts), self.width), dtype=np.float32)
        run = map if self._pool is None or len(batches) == 1 else self._pool.map
        for batch, vectors_BH in zip(batches, run(vectors, batches), strict=True):
            found[batch] = vectors_BH
        return found


def preparer_of(folder: Path, card: Mapping[str, Any]) -> "Preparer | TokenPreparer":
    """What prepares sentences for an exported student: words only where it needs them."""
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


def _next_piece(waiting: Iterator[str], done: int) -> list[str]:
    """The next thousands of sentences, cleaned; `done` came before."""
    piece = []
    for position, text in enumerate(itertools.islice(waiting, _SORTED_TOGETHER), done):
        if not isinstance(text, str):
            what = f"{type(text).__name__}: {text!r:.80}"
            raise ValueError(f"a sentence must be a string, got {what} at position {position}")
        # Text from programs may hold lone surrogates, which no tokenizer takes.
        piece.append(clean(text[:MAX_CHARACTERS].encode("utf-8", "replace").decode()))
    return piece
