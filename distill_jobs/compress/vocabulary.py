"""Verb: keep the vectors of the most frequent tokens; all others share one, their mean.

Array letters: V token ids, R rows of the embedding, E its size.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from distill_jobs.compress.folder import Changed, compress
from distill_jobs.compress.source import Compression, Source
from distill_jobs.compress.tensors import arrays_of, assembled, embedding_name
from distill_jobs.student import Student
from distill_jobs.vocabulary import Counts, most_frequent
from schemas.command import run_job


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocabularyConfig(Compression):
    """Keep the vectors of frequent tokens."""

    keep: int
    """Tokens that keep a vector of their own."""
    idf: str | None = None
    """IDF table whose words are counted; by default the export's own."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and prune."""
    run_job(VocabularyConfig, argv, prune)


def prune(config: VocabularyConfig) -> dict[str, object]:
    """Prune the vocabulary of an export, see `compress`."""

    def change(source: Source) -> Changed:
        counts = source.counts(config.idf)
        if counts is None:
            raise ValueError(f"{source.folder} has no IDF table; give one by --idf")
        student, unknown = with_vocabulary(source.student, counts, config.keep)
        return Changed(student, {"unknown_rate": unknown})

    return compress(config, "vocabulary", change)


def with_vocabulary(student: Student, counts: Counts, keep: int) -> tuple[Student, float]:
    """Keep the rows of the most frequent tokens.

    The others share the mean of their rows, weighted by their counts: of all single rows it is the
    one with the least squared error over the corpus.

    Args:
        student: pruned already or not.
        counts: [V] of the corpus; longer or shorter than V is cut, or filled with 0.
        keep: tokens.

    Returns:
        The smaller student, and what share of the corpus' tokens have the shared row, 0 to 1.

    Raises:
        ValueError: if there are not so many tokens to leave any out.
    """
    config = student.config
    arrays = arrays_of(student)
    counts_V = np.zeros(config.vocabulary, np.int64)
    counts_V[: len(counts)] = counts[: config.vocabulary]
    rows_V = np.arange(config.vocabulary) if student.rows is None else arrays["rows"].astype(int)
    own_V = np.ones(len(rows_V), bool) if student.rows is None else rows_V > 0
    if not 1 <= keep < own_V.sum():
        raise ValueError(f"keep must be 1 to {own_V.sum() - 1} tokens, got {keep}")
    kept, _ = most_frequent(np.where(own_V, counts_V, -1), keep)
    shared_V = np.ones(len(rows_V), bool)
    shared_V[kept] = False
    table_VE = arrays[embedding_name(config)][rows_V]
    occurring = counts_V[shared_V] if counts_V[shared_V].any() else None
    shared_E = np.average(table_VE[shared_V], axis=0, weights=occurring)
    arrays[embedding_name(config)] = np.vstack([shared_E, table_VE[kept]]).astype(np.float32)
    arrays["rows"] = np.where(shared_V, 0, np.cumsum(~shared_V)).astype(np.int32)
    unknown = counts_V[shared_V].sum() / max(1, counts_V.sum())
    return assembled(dataclasses.replace(config, kept=keep), arrays), round(float(unknown), 6)
