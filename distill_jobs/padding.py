"""Sentences of different lengths -> arrays that a student reads. NumPy only.

Array letters: B sentences, T tokens of the longest, N tokens of all sentences.
"""

import numpy as np
import numpy.typing as npt

from schemas.weights import Floats

Ids = npt.NDArray[np.int64]


def pad_content(
    ids_N: npt.NDArray[np.int32], weights_N: Floats, lengths_B: npt.NDArray[np.int32]
) -> tuple[Ids, Floats]:
    """Leave out special tokens, whose weight is 0, and pad what remains.

    Args:
        ids_N: tokens of all sentences, one after another.
        weights_N: of the tokens.
        lengths_B: tokens of each sentence.

    Returns:
        Ids and weights [B, T], padded with 0.

    >>> pad_content(np.array([2, 5, 6, 3, 2, 7, 3]), np.array([0, .5, .5, 0, 0, 1, 0]),
    ...             np.array([4, 3]))[0]
    array([[5, 6],
           [7, 0]])
    """
    content_N = weights_N > 0
    row_N = np.repeat(np.arange(len(lengths_B)), lengths_B)[content_N]
    counts_B = np.bincount(row_N, minlength=len(lengths_B))
    position_N = np.arange(len(row_N)) - np.repeat(np.cumsum(counts_B) - counts_B, counts_B)
    shape = (len(lengths_B), max(1, int(counts_B.max())))
    ids_BT, weights_BT = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    ids_BT[row_N, position_N] = ids_N[content_N]
    weights_BT[row_N, position_N] = weights_N[content_N]
    return ids_BT, weights_BT


def one_row(ids_T: npt.NDArray[np.int32], weights_T: Floats) -> tuple[Ids, Floats]:
    """`pad_content` for one sentence: 4 us, not 13 (2026-11-21).

    >>> one_row(np.array([2, 5, 6, 3]), np.array([0, .5, .5, 0]))[0]
    array([[5, 6]])
    """
    content_T = weights_T > 0
    ids_1T = ids_T[None, content_T].astype(np.int64)
    if not ids_1T.size:
        return np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32)
    return ids_1T, weights_T[None, content_T]
