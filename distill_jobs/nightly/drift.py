"""How far a night's rows are from what came before: numbers that the gate has bounds for.

Array letters: N new rows, M earlier rows, H the teacher's width.
"""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from schemas.idf import IdfTable
from schemas.idf_drift import weight_drift
from schemas.vectors import row_cosines
from schemas.weights import Floats

_PAIRS = 20_000


def unknown_tokens(tokens: npt.NDArray[np.int32], unknown: int | None) -> float:
    """Share of tokens that are the tokenizer's unknown one, 0 to 1.

    >>> unknown_tokens(np.array([7, 1, 8, 9], dtype=np.int32), 1)
    0.25
    """
    return 0.0 if unknown is None or not len(tokens) else float((tokens == unknown).mean())


def unknown_words(night: IdfTable, pinned: IdfTable) -> float:
    """Share of a night's words, each counted once a sentence, that the pinned table lacks.

    >>> night = IdfTable.from_counts({"北京": 3, "东京": 1}, 3, segmenter="jieba")
    >>> unknown_words(night, IdfTable.from_counts({"北京": 9}, 9, segmenter="jieba"))
    0.25
    """
    known = set(pinned.words.to_pylist())
    is_new = np.array([word not in known for word in night.words.to_pylist()], dtype=np.bool_)
    return float(night.df[is_new].sum() / max(night.df.sum(), 1))


def idf_change(pinned: IdfTable, nights: Sequence[IdfTable]) -> dict[str, object] | None:
    """What merging nights into the pinned table would move.

    A word's IDF also moves because time passes and it does not come; that changes no sentence. So
    the words that came are looked at, each as often as it came.

    Returns:
        ``idf_change``: mean absolute change, in nats, over the nights' words, each counted once a
        sentence; and what `weight_drift` says of all words. None if nothing can be merged exactly.

    >>> pinned = IdfTable.from_counts({"北京": 1, "天气": 1}, 9, segmenter="jieba")
    >>> night = IdfTable.from_counts({"北京": 8}, 10, segmenter="jieba")
    >>> round(idf_change(pinned, [night])["idf_change"], 4)  # ln(20 / 10) against ln(10 / 2)
    0.9163
    """
    if pinned.min_df > 1 or not nights:
        return None
    came = functools.reduce(IdfTable.merge, nights)
    merged = pinned.merge(came)
    old, new = pinned.lookup(), merged.lookup()
    moves = [abs(new[word] - old.get(word, pinned.unseen_idf)) for word in came.words.to_pylist()]
    change = float(np.average(moves, weights=came.df))
    return {"idf_change": round(change, 5), **weight_drift(pinned, merged)}


def centroid_shift(new_NH: Floats, old_MH: Floats) -> float:
    """Distance of two means, in the root mean square distance of earlier rows from theirs.

    Rows drawn from the same source give about 1 / sqrt(N).

    >>> round(centroid_shift(np.ones((2, 2), np.float32), np.array([[0, 1], [0, -1]], "f4")), 4)
    1.4142
    """
    mean_H = old_MH.mean(axis=0, dtype=np.float64)
    spread = np.sqrt(np.square(old_MH - mean_H).sum(axis=1).mean())
    return float(np.linalg.norm(new_NH.mean(axis=0, dtype=np.float64) - mean_H) / spread)


def likeness(
    student_NH: Floats, teacher_NH: Floats, mean_H: Floats | None
) -> dict[str, float | None]:
    """How near a student is to its teacher on rows, without labels.

    Args:
        student_NH: its vectors.
        teacher_NH: the teacher's.
        mean_H: of the teacher's vectors; taken from both, since it is what all texts share. None
            for a student whose vectors are not in the teacher's space: it has no cosine.

    Returns:
        ``cosine``: mean over the rows; ``spearman``: of the cosines of random pairs; ``flawed``:
        rows with a number that is not finite, which make the others None.
    """
    flawed = int(np.logical_not(np.isfinite(student_NH).all(axis=1)).sum())
    if flawed:
        return {"cosine": None, "spearman": None, "flawed": flawed}
    cosine = None
    if mean_H is not None:
        cosine = round(float(row_cosines(student_NH - mean_H, teacher_NH - mean_H).mean()), 4)
    rng = np.random.default_rng(len(student_NH))
    left, right = rng.integers(len(student_NH), size=(2, _PAIRS))
    apart = left != right
    sides = [row_cosines(one[left[apart]], one[right[apart]]) for one in (student_NH, teacher_NH)]
    pairs = float(spearmanr(*sides).statistic) if apart.any() else float("nan")
    spearman = round(pairs, 4) if np.isfinite(pairs) else None
    return {"cosine": cosine, "spearman": spearman, "flawed": 0}
