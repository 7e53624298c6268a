"""From word IDF to token weights, and from weights to a sentence vector (LTD-BERT).

Array letters: B sentences, T tokens of a sentence, N tokens of all sentences, H hidden size.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

SMOOTHING = 0.1  # the seed adds "a smoothing term"; the one known re-implementation uses 0.1

Floats = npt.NDArray[np.float32]

_NOTHING = np.zeros(1)


class _Array(Protocol):
    """What NumPy arrays and Torch tensors have in common, as far as pooling needs it."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __matmul__(self, other: Any, /) -> Any: ...


Array = TypeVar("Array", bound=_Array)


def character_shares(words: Sequence[str], idf: Callable[[str], float]) -> npt.NDArray[np.float64]:
    """Share each word's IDF equally among its characters.

    Args:
        words: the segmented sentence.
        idf: gives the IDF of a word, in nats.

    Returns:
        One share per character of the joined words.

    >>> character_shares(["北京", "好"], {"北京": 4.0, "好": 1.0}.__getitem__)
    array([2., 2., 1.])
    """
    shares: list[float] = []
    for word in words:
        shares += [idf(word) / len(word)] * len(word)
    return np.array(shares, dtype=np.float64)


def token_weights(
    shares: npt.NDArray[np.float64],
    offsets_T2: npt.NDArray[np.int64],
    special_T: npt.NDArray[np.bool_],
    smoothing: float = SMOOTHING,
) -> Floats:
    """Weigh each token by the characters that it covers.

    A token gets the sum of its characters' shares plus the smoothing; special tokens get 0; the
    weights of a sentence sum to 1. Truncate before calling, so that what is cut off has no say.

    Args:
        shares: one per character of the text.
        offsets_T2: first character and end of each token.
        special_T: whether a token stands for no characters ([CLS], [SEP]).
        smoothing: added to each token before normalising, in IDF units (nats); positive, so that
            a weight of 0 marks a special token and nothing else.

    Returns:
        Weights [T]; all 0 if every token is special.

    Raises:
        ValueError: if the smoothing is not positive.

    >>> offsets = np.array([[0, 0], [0, 1], [1, 2], [2, 3], [0, 0]])
    >>> special = np.array([True, False, False, False, True])
    >>> token_weights(np.array([2.0, 2.0, 1.0]), offsets, special, smoothing=1.0)
    array([0.   , 0.375, 0.375, 0.25 , 0.   ], dtype=float32)
    """
    # reduceat sums each [start, end) by itself, so a sentence's neighbours cannot move its last
    # bit, as differences of one running sum would. The pad keeps an end at len(shares) legal.
    padded = np.concatenate((shares, _NOTHING))
    sums_T = np.add.reduceat(padded, offsets_T2.ravel())[::2]
    empty_T = offsets_T2[:, 0] == offsets_T2[:, 1]
    raw_T = np.where(special_T, 0.0, np.where(empty_T, 0.0, sums_T) + _positive(smoothing))
    return _normalised(raw_T)


def character_weights(
    shares_C: npt.NDArray[np.float64], ends: tuple[int, int], smoothing: float = SMOOTHING
) -> Floats:
    """`token_weights`, to the bit, where every character is a token: 3 us, not 7 (2026-11-21).

    Args:
        shares_C: one per character that is a token.
        ends: number of special tokens before and after them.
        smoothing: as of `token_weights`.

    Returns:
        Weights [T], T being C and the special tokens.

    Raises:
        ValueError: if the smoothing is not positive.

    >>> character_weights(np.array([2.0, 2.0, 1.0]), (1, 1), smoothing=1.0)
    array([0.   , 0.375, 0.375, 0.25 , 0.   ], dtype=float32)
    """
    before, after = ends
    raw_T = np.zeros(before + len(shares_C) + after)
    raw_T[before : before + len(shares_C)] = shares_C + _positive(smoothing)
    return _normalised(raw_T)


def _positive(smoothing: float) -> float:
    if not smoothing > 0:
        raise ValueError(f"smoothing must be positive, got {smoothing}")
    return smoothing


def _normalised(raw_T: npt.NDArray[np.float64]) -> Floats:
    total = raw_T.sum()
    weights_T: Floats = (raw_T / total if total else raw_T).astype(np.float32)
    return weights_T


def weighted_pool(states: Array, weights: Array) -> Array:
    """Sum states [..., T, H] under weights [..., T] into [..., H]; NumPy and Torch alike.

    >>> weighted_pool(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0.25, 0.75]))
    array([0.25, 0.75])
    """
    pooled: Array = (weights[..., None, :] @ states)[..., 0, :]
    return pooled
