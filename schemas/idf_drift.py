"""How far two IDF tables, and the token weights that follow from them, are apart."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.idf import IdfTable
from schemas.weights import Floats

SHARES = (50, 90, 99, 100)
"""Percentiles that are reported."""


def weight_drift(before: IdfTable, after: IdfTable) -> dict[str, object]:
    """How words' IDF differs between two tables: all words of either, and those that moved most."""
    old, new = before.lookup(), after.lookup()
    words = sorted(old.keys() | new.keys())
    moves = np.array(
        [new.get(word, after.unseen_idf) - old.get(word, before.unseen_idf) for word in words]
    )
    order = np.argsort(-np.abs(moves), kind="stable")[:10]
    return {
        "sentences": [before.n_docs, after.n_docs],
        "words": [len(old), len(new)],
        "words_added": len(new.keys() - old.keys()),
        "words_dropped": len(old.keys() - new.keys()),
        **{
            f"idf_change_p{share}": round(float(np.percentile(np.abs(moves), share)), 5)
            for share in SHARES
            if len(moves)
        },
        "most_moved": {words[index]: round(float(moves[index]), 4) for index in order},
    }


def weight_changes(stored: pa.ChunkedArray, fresh: Sequence[Floats]) -> npt.NDArray[np.float64]:
    """Sum of the absolute changes of each sentence's token weights.

    Args:
        stored: lists of weights, N of them.
        fresh: as many arrays of the same lengths.

    Returns:
        Changes [N], 0 to 2.

    >>> weight_changes(pa.chunked_array([[[0.5, 0.5]]]), [np.array([0.75, 0.25], np.float32)])
    array([0.5])
    """
    return np.array(
        [
            np.abs(new - np.array(old)).sum()
            for old, new in zip(stored.to_pylist(), fresh, strict=True)
        ]
    )
