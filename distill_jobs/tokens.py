"""What prepares sentences for a student that needs no words: its tokenizer, and nothing else.

tokenizer.json      the teacher's
preparer.json       where to cut, and the digests
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.fast_tokens import FastTokenizer
from schemas.fingerprint import check_same, digest, file_digest, read_sealed, seal
from schemas.text import CLEANING
from schemas.weights import Floats


class Tokens(NamedTuple):
    """One sentence, ready for a student that weighs its tokens itself.

    Attributes:
        token_ids: [T], special tokens left out.
        weights: [T], all 1.
    """

    token_ids: npt.NDArray[np.int32]
    weights: Floats


class TokenPreparer:
    """Holds a tokenizer; cuts as `schemas.prepare.Preparer` does, and segments nothing."""

    def __init__(self, tokenizer_json: str, max_tokens: int) -> None:
        """Build the preparer.

        Args:
            tokenizer_json: the text of a Hugging Face ``tokenizer.json``.
            max_tokens: special tokens included; longer sentences are cut.
        """
        self._tokenizer = FastTokenizer(tokenizer_json, max_tokens)
        self._text = tokenizer_json
        self._max_tokens = max_tokens
        self._ones = np.ones(max_tokens, dtype=np.float32)

    def prepare(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokenise cleaned sentences, in order."""
        found = [self._tokenizer.content(text)[0] for text in texts]
        return [Tokens(np.array(ids, dtype=np.int32), self._ones[: len(ids)]) for ids in found]

    def save(self, folder: Path) -> None:
        """Write what `load_tokens` needs."""
        (folder / "tokenizer.json").write_text(self._text, encoding="utf-8")
        described = {
            "max_tokens": self._max_tokens,
            "fingerprint": self._fingerprint(),
            "sha256": {"tokenizer.json": file_digest(folder / "tokenizer.json")},
        }
        text = json.dumps(seal(described), indent=2)
        (folder / "preparer.json").write_text(text, encoding="utf-8")

    def _fingerprint(self) -> dict[str, str]:
        return {
            "cleaning": CLEANING,
            "tokenizer": digest(self._text),
            "max_tokens": str(self._max_tokens),
        }


def load_tokens(folder: Path) -> TokenPreparer:
    """The preparer that `TokenPreparer.save` wrote into a folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a file is not what it was when it was saved, naming which.
    """
    described = read_sealed(folder / "preparer.json")
    path = folder / "tokenizer.json"
    if file_digest(path) != described["sha256"][path.name]:
        raise ValueError(f"{path} has changed since it was written")
    preparer = TokenPreparer(path.read_text(encoding="utf-8"), described["max_tokens"])
    check_same(preparer._fingerprint(), described["fingerprint"], of=f"what {folder} holds")
    return preparer
