"""Score a student without labels, on rows that it never trains on.

Array letters: N sentences, H the teacher's width.
"""

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr

from distill_jobs.reader import Batch, Group, read_group, to_batch
from distill_jobs.student import Student
from schemas.vectors import Decoder, row_cosines

_PAIRS = 20_000
_ROWS = 256


def held_out_batches(groups: list[Group], decoder: Decoder) -> list[Batch]:
    """The held-out rows as batches, read once."""
    columns = ["token_ids", "weights", *decoder.columns]
    found = []
    for group in groups:
        table = read_group(group, columns)
        for start in range(0, table.num_rows, _ROWS):
            piece = table.slice(start, _ROWS).combine_chunks()
            found.append(to_batch(piece, decoder, piece.num_rows))
    return found


@torch.inference_mode()
def validate(student: Student, held_out: list[Batch], device: torch.device) -> dict[str, float]:
    """Compare student and teacher on the held-out rows.

    Returns:
        ``spearman``: of the cosines of 20,000 random pairs, student's against teacher's.
        ``cosine``: mean cosine of a sentence's two vectors.
        ``unexplained``: share of the teacher's variance that is missed; 1 for the mean vector.
    """
    student.eval()
    mine, theirs = [], []
    for batch in held_out:
        vectors_BH = student.vectors(batch.ids_BT.to(device), batch.weights_BT.to(device))
        mine.append(vectors_BH.float().cpu().numpy())
        theirs.append(batch.teacher_BH.numpy())
    student.train()
    student_NH, teacher_NH = np.concatenate(mine), np.concatenate(theirs)
    spread = np.square(teacher_NH - teacher_NH.mean(axis=0)).sum()
    return {
        "spearman": pair_spearman(student_NH, teacher_NH),
        "cosine": float(row_cosines(student_NH, teacher_NH).mean()),
        "unexplained": float(np.square(student_NH - teacher_NH).sum() / spread),
    }


def pair_spearman(
    student_NH: npt.NDArray[np.float32], teacher_NH: npt.NDArray[np.float32]
) -> float:
    """Spearman correlation of pair cosines, over random pairs that depend only on N.

    >>> vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    >>> round(pair_spearman(3 * vectors, vectors), 6)
    1.0
    """
    rng = np.random.default_rng(len(student_NH))
    left, right = rng.integers(len(student_NH), size=(2, _PAIRS))
    left, right = left[left != right], right[left != right]
    of_pairs = [row_cosines(side[left], side[right]) for side in (student_NH, teacher_NH)]
    return float(spearmanr(*of_pairs).statistic)
