"""Which tokens deserve a vector of their own: by the word counts that the IDF job already has.

Array letters: V token ids of a tokenizer.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tokenizers

from schemas.idf import IdfTable

Counts = npt.NDArray[np.int64]


def token_counts(tokenizer_json: str, table: IdfTable) -> Counts:
    """Count tokens [V] over a corpus, from the words in its IDF table.

    A word counts in as many sentences as hold it, so a token that stands twice in a sentence, in
    two different words, counts twice, and in the same word twice, once.

    Args:
        tokenizer_json: the text of a Hugging Face ``tokenizer.json``.
        table: of the corpus.
    """
    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    cut = tokenizer.encode_batch_fast(table.words.to_pylist(), add_special_tokens=False)
    ids = np.concatenate([np.array(one.ids, np.int64) for one in cut] or [np.zeros(0, np.int64)])
    of_word = np.repeat(table.df, [len(one.ids) for one in cut])
    size = tokenizer.get_vocab_size()
    return np.bincount(ids, weights=of_word, minlength=size).astype(np.int64)


def most_frequent(counts: Counts, number: int) -> tuple[list[int], float]:
    """Choose the token ids that occur most, and say what share of the corpus is none of them.

    Args:
        counts: [V].
        number: how many to keep; of equally frequent ones the lowest.

    Returns:
        The ids, ascending, and the unknown rate, from 0 to 1.

    Raises:
        ValueError: if there are not so many tokens to leave any out.

    >>> most_frequent(np.array([0, 6, 3, 1]), 2)
    ([1, 2], 0.1)
    """
    if not 1 <= number < len(counts):
        raise ValueError(f"vocabulary must be 1 to {len(counts) - 1} tokens, got {number}")
    kept = np.sort(np.argsort(-counts, kind="stable")[:number]).tolist()
    return kept, unknown_rate(counts, kept)


def unknown_rate(counts: Counts, kept: Sequence[int]) -> float:
    """Share of a corpus's tokens [V] that is none of those kept, from 0 to 1.

    >>> unknown_rate(np.array([0, 6, 3, 1]), [1, 2])
    0.1
    """
    return round(float(1 - counts[list(kept)].sum() / max(1, counts.sum())), 12)
