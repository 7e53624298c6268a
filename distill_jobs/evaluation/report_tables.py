"""Result -> the tables of the report's scores, as plain values that the template lays out."""

import dataclasses
import math
from collections.abc import Sequence

from distill_jobs.evaluation.estimates import Estimate
from distill_jobs.evaluation.result import HEADLINE, Column, Result, Score
from distill_jobs.evaluation.scoreboard import percent

MEANINGS = {
    "spearman": ("Similarity", "Spearman correlation of cosine and human score"),
    "auc": ("Same meaning or not", "AUC of the cosine of pairs"),
    "accuracy": ("Classification", "Accuracy of logistic regression on the vectors"),
    "v_measure": ("Clustering", "V-measure of k-means"),
    "ndcg@10": ("Retrieval", "nDCG@10 among the second sentences of the pairs"),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number of the main table, ready to be shown."""

    value: str
    interval: str
    kept: str
    share: float
    best: bool


Line = tuple[str, int, list[Cell | None]]


def sections(result: Result) -> list[tuple[str, str, list[Line]]]:
    """Per metric: title, meaning, and a line per task: its name, its rows, a cell per model."""
    found = []
    for metric in HEADLINE:
        lines = [_line(result, column) for column in result.columns((metric,))]
        if lines:
            found.append((*MEANINGS[metric], lines))
    return found


def means(result: Result) -> list[Cell | None]:
    """The last line of the main table."""
    models = result.ranked()
    shares = [result.mean_retention(model).value for model in models]
    return _cells([result.mean(model) for model in models], shares)


def asymmetric(result: Result) -> tuple[list[str], list[tuple[str, list[tuple[str, str]]]]]:
    """Retrieval by the student's queries among the reference's documents (LEAF, arXiv 2509.12539).

    Returns:
        The tasks; and for the reference and each student of its width, a pair of texts per task:
        nDCG@10 among its own documents, and among the reference's (with its share of the
        reference's own).
    """
    tasks = [task for task, _ in result.columns(("index_ndcg@10",))]
    lines = []
    for model in result.ranked():
        own = [result.score(model, (task, "ndcg@10")) for task in tasks]
        index = [result.score(model, (task, "index_ndcg@10")) for task in tasks]
        if model == result.reference or any(index):
            shown = [
                (f"{a.value:.3f}" if a else "–", _with_share(result, b) if b else "")
                for a, b in zip(own, index, strict=True)
            ]
            lines.append((model, shown))
    return tasks, lines if tasks else []


def _line(result: Result, column: Column) -> Line:
    scores = [result.score(model, column) for model in result.ranked()]
    values = [Estimate(s.value, *s.interval) if s else None for s in scores]
    shares = [result.retention(s).value if s else math.nan for s in scores]
    return column[0], max(s.rows for s in scores if s), _cells(values, shares)


def _cells(values: Sequence[Estimate | None], shares: Sequence[float]) -> list[Cell | None]:
    best = max(value.value for value in values if value)
    return [
        Cell(
            f"{value.value:.3f}",
            f"{value.low:.3f} to {value.high:.3f}",
            percent(share),
            0.0 if math.isnan(share) else min(max(share, 0.0), 1.0),
            value.value == best,
        )
        if value
        else None
        for value, share in zip(values, shares, strict=True)
    ]


def _with_share(result: Result, score: Score) -> str:
    return f"{score.value:.3f} · {percent(result.retention(score).value)}"
