"""From cleaned text to what a teacher or student reads: words, token ids and token weights.

One function for both sides: the teacher pipeline and the serving encoder call `Preparer.prepare`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers

from schemas.fingerprint import digest
from schemas.idf import IdfTable
from schemas.weights import SMOOTHING, Floats, character_shares, token_weights
from schemas.words import Segmenter


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
        segmenter: Segmenter,
        idf: IdfTable,
        *,
        max_tokens: int = 128,
        smoothing: float = SMOOTHING,
    ) -> None:
        """Build the preparer.

        Args:
            tokenizer_json: the text of a Hugging Face ``tokenizer.json``.
            segmenter: splits a sentence into words.
            idf: made with the same segmenter.
            max_tokens: special tokens included; longer sentences are cut.
            smoothing: see `token_weights`.

        Raises:
            ValueError: if the IDF table was made with another segmenter.
        """
        if idf.segmenter != segmenter.name:
            raise ValueError(
                f"the IDF table was made with segmenter {idf.segmenter!r}, this one is "
                f"{segmenter.name!r}: make the table again, or give its user dictionary"
            )
        self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._segmenter = segmenter
        self._idf = idf.lookup()
        self._unseen = idf.unseen_idf
        self._smoothing = smoothing
        self.fingerprint = {
            "cleaning": idf.cleaning,
            "segmenter": segmenter.name,
            "idf": idf.digest(),
            "tokenizer": digest(tokenizer_json),
            "max_tokens": str(max_tokens),
            "smoothing": str(smoothing),
        }

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, added tokens included."""
        return int(self._tokenizer.get_vocab_size())

    def prepare(self, texts: Sequence[str]) -> list[Prepared]:
        """Segment, tokenise and weigh cleaned sentences, in order.

        Returns:
            One `Prepared` each; its weights are all 0 where the tokenizer sees nothing.
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        return [self._prepare(text, one) for text, one in zip(texts, encodings, strict=True)]

    def _prepare(self, text: str, encoding: tokenizers.Encoding) -> Prepared:
        words = self._segmenter.words(text)
        weights = token_weights(
            character_shares(words, self._idf_of),
            np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2),
            np.array(encoding.special_tokens_mask, dtype=np.bool_),
            self._smoothing,
        )
        return Prepared(text, words, np.array(encoding.ids, dtype=np.int32), weights)

    def _idf_of(self, word: str) -> float:
        return self._idf.get(word, self._unseen)


def read_tokenizer(folder: Path) -> str:
    """The text of a model folder's fast tokenizer.

    Raises:
        FileNotFoundError: if the folder has no ``tokenizer.json``.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no tokenizer.json: a fast tokenizer is needed")
    return path.read_text(encoding="utf-8")
