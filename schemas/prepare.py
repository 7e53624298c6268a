"""From cleaned text to what a teacher or student reads: words, token ids and token weights.

One function for both sides: the teacher pipeline and the serving encoder call `Preparer.prepare`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import parts
from schemas.fast_tokens import FastTokenizer
from schemas.fingerprint import (
    Fingerprint,
    check_same,
    digest,
    file_digest,
    read_sealed,
    seal,
)
from schemas.idf import IdfTable
from schemas.weights import SMOOTHING, Floats, character_shares, character_weights, token_weights
from schemas.words import Segmenter, segmenter

_DICTIONARY = "user_dictionary.txt"
_FINGERPRINT = (
    *("cleaning", "segmenter", "idf", "tokenizer", "vocabulary", "max_tokens", "smoothing"),
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """One sentence, ready for a model.

    Attributes:
        text: the cleaned sentence.
        words: its segmentation, joined giving the text.
        token_ids: [T], special tokens included, cut at the preparer's `max_tokens`.
        weights: [T], summing to 1; 0 exactly for special tokens.
    """

    text: str
    words: list[str]
    token_ids: npt.NDArray[np.int32]
    weights: Floats


class Preparer:
    """Holds a tokenizer, a segmenter and an IDF table that belong together."""

    def __init__(
        self,
        tokenizer_json: str,
        words: Segmenter,
        idf: IdfTable,
        *,
        max_tokens: int = 128,
        smoothing: float = SMOOTHING,
    ) -> None:
        """Build the preparer.

        Args:
            tokenizer_json: the text of a Hugging Face ``tokenizer.json``.
            words: splits a sentence into words.
            idf: made with the same segmenter.
            max_tokens: special tokens included; longer sentences are cut.
            smoothing: see `token_weights`.

        Raises:
            ValueError: if the IDF table was made with another segmenter.
        """
        if idf.segmenter != words.name:
            raise ValueError(
                f"the IDF table was made with segmenter {idf.segmenter!r}, this one is "
                f"{words.name!r}: make the table again, or give its user dictionary"
            )
        self.tokenizer_json = tokenizer_json
        self.table = idf
        self._tokenizer = FastTokenizer(tokenizer_json, max_tokens)
        self._segmenter = words
        self._idf = idf.lookup()
        self._unseen = idf.unseen_idf
        self.max_tokens = max_tokens
        self.smoothing = smoothing
        self.fingerprint = {
            "cleaning": idf.cleaning,
            "segmenter": words.name,
            "idf": idf.digest(),
            "tokenizer": digest(tokenizer_json),
            "vocabulary": str(self._tokenizer.library.get_vocab_size()),
            "max_tokens": str(max_tokens),
            "smoothing": str(smoothing),
        }

    def prepare(self, texts: Sequence[str]) -> list[Prepared]:
        """Segment, tokenise and weigh cleaned sentences, in order.

        Returns:
            One `Prepared` each; its weights are all 0 where the tokenizer sees nothing.
        """
        return [self._prepare(text) for text in texts]

    def _prepare(self, text: str) -> Prepared:
        words = self._segmenter.words(text)
        shares = character_shares(words, self._idf_of)
        ids, places = self._tokenizer.content(text)
        head, tail = self._tokenizer.head, self._tokenizer.tail
        if places is None:
            ends = len(head), len(tail)
            weights = character_weights(shares[: len(ids)], ends, self.smoothing)
        else:
            offsets = [0] * 2 * len(head) + places + [0] * 2 * len(tail)
            special = [True] * len(head) + [False] * len(ids) + [True] * len(tail)
            weights = token_weights(
                shares,
                np.array(offsets, dtype=np.int64).reshape(-1, 2),
                np.array(special, dtype=np.bool_),
                self.smoothing,
            )
        return Prepared(text, words, np.array([*head, *ids, *tail], dtype=np.int32), weights)

    def _idf_of(self, word: str) -> float:
        return self._idf.get(word, self._unseen)

    def with_table(self, idf: IdfTable) -> "Preparer":
        """The same preparer with another IDF table, made with the same segmenter."""
        return Preparer(
            self.tokenizer_json,
            self._segmenter,
            idf,
            max_tokens=self.max_tokens,
            smoothing=self.smoothing,
        )

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens of ids, as the vocabulary writes them."""
        return [str(self._tokenizer.library.id_to_token(one)) for one in ids]

    def save(self, folder: str | Path) -> None:
        """Write what `load_preparer` needs: its files, and last the one with their digests."""
        sink = pa.BufferOutputStream()
        pq.write_table(self.table.to_arrow(), sink, compression="zstd", write_page_checksum=True)
        files = {"tokenizer.json": self.tokenizer_json.encode(), "idf.parquet": sink.getvalue()}
        if self._segmenter.user_dictionary is not None:
            files[_DICTIONARY] = self._segmenter.user_dictionary.read_bytes()
        for name, content in files.items():
            parts.write_bytes(content, folder, name)
        described = {
            "max_tokens": self.max_tokens,
            "smoothing": self.smoothing,
            "fingerprint": self.fingerprint,
            "sha256": {
                name: hashlib.sha256(content).hexdigest() for name, content in files.items()
            },
        }
        content = json.dumps(seal(described), indent=2).encode()
        parts.write_bytes(content, folder, "preparer.json")
        parts.tidy(folder)


def preparer_folder(location: str, fingerprint: Fingerprint) -> str:
    """Where a store keeps the preparer of its rows; older versions may have had another one."""
    own = {name: fingerprint[name] for name in _FINGERPRINT}
    return parts.join(f"{location}.preparer", digest(own))


PREPARER_FILES = ("tokenizer.json", "idf.parquet", _DICTIONARY)
"""What a ``preparer.json`` may name, beside it."""


def load_preparer(folder: Path) -> Preparer:
    """The preparer that `Preparer.save` wrote into a folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a file is not what it was when it was saved, or none of a preparer's, naming
            which.
    """
    described = read_sealed(folder / "preparer.json")
    for name, sha256 in described["sha256"].items():
        if name not in PREPARER_FILES:
            raise ValueError(f"{folder / 'preparer.json'} names {name!r}, no file of a preparer")
        if file_digest(folder / name) != sha256:
            raise ValueError(f"{folder / name} has changed since it was written")
    dictionary = folder / _DICTIONARY if _DICTIONARY in described["sha256"] else None
    preparer = Preparer(
        read_tokenizer(folder),
        segmenter(dictionary),
        IdfTable.load(folder / "idf.parquet"),
        max_tokens=described["max_tokens"],
        smoothing=described["smoothing"],
    )
    check_same(preparer.fingerprint, described["fingerprint"], of=f"what {folder} holds")
    return preparer


def read_tokenizer(folder: Path) -> str:
    """The text of a model folder's fast tokenizer.

    Raises:
        FileNotFoundError: if the folder has no ``tokenizer.json``.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no tokenizer.json: a fast tokenizer is needed")
    return path.read_text(encoding="utf-8")
