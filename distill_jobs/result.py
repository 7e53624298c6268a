"""What an evaluation found: scores with their bootstrap samples, and what is kept of the reference.

Array letters: R bootstrap samples, with the value on the rows as they are in front.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from distill_jobs.metrics import Doubles, interval
from distill_jobs.tasks import LabelledSet
from schemas import tables

# One or two metrics of each kind of set stand for it in tables and means.
HEADLINE = ("spearman", "auc", "accuracy", "v_measure", "ndcg@10")

FLOOR = 0.05  # a share of less than this says nothing: k-means found nothing to keep

Column = tuple[str, str]  # task and metric


@dataclasses.dataclass(frozen=True)
class Score:
    """One model on one task by one metric.

    Attributes:
        model: its name.
        task: name of the labelled set.
        metric: its name.
        samples_R: the value, then the metric in each bootstrap sample of the rows.
        rows: what was scored: pairs, texts or queries.
        overlaps: labelled rows that were left out of the set.
    """

    model: str
    task: str
    metric: str
    samples_R: Doubles
    rows: int
    overlaps: int

    @property
    def value(self) -> float:
        """The metric on the rows as they are."""
        return float(self.samples_R[0])

    @property
    def interval(self) -> tuple[float, float]:
        """Where 95 % of the bootstrap samples lie."""
        return interval(self.samples_R[1:])


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number and where 95 % of its bootstrap samples lie."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a model costs and how near it is to the reference; None is unknown or meaningless.

    Attributes:
        bytes: size of its weights.
        parameters: numbers in them.
        batch_us: microseconds per sentence, in batches of 64.
        p50_us: median microseconds of one sentence by itself.
        p99_us: 99th percentile of that.
        alignment: mean cosine between its vectors and the reference's.
    """

    bytes: int | None = None
    parameters: int | None = None
    batch_us: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    alignment: float | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """All that a report says.

    Attributes:
        models: names; the first is the reference, which the others are measured by.
        sets: as scored, overlaps removed.
        scores: every model on every task.
        facts: by model.
        cards: by student, as its export says.
        pair_cosines: by student: the reference's and the student's cosine of pairs, one below the
            other.
    """

    models: tuple[str, ...]
    sets: tuple[LabelledSet, ...]
    scores: tuple[Score, ...]
    facts: Mapping[str, Facts]
    cards: Mapping[str, Mapping[str, object]]
    pair_cosines: Mapping[str, Doubles]

    @property
    def reference(self) -> str:
        """Name of the model that the others are measured by."""
        return self.models[0]

    @property
    def students(self) -> tuple[str, ...]:
        """Names of the models that are students."""
        return tuple(self.cards)

    def columns(self, metrics: Sequence[str] = HEADLINE) -> list[Column]:
        """Task and metric of what was scored, by metric, then by task."""
        found = {(s.task, s.metric) for s in self.scores if s.metric in metrics}
        return sorted(found, key=lambda column: (metrics.index(column[1]), column[0]))

    def score(self, model: str, column: Column) -> Score | None:
        """One model's score in one column."""
        found = [s for s in self.scores if s.model == model and (s.task, s.metric) == column]
        return found[0] if found else None

    def retention(self, score: Score) -> Estimate:
        """The value divided by the reference's, in the same bootstrap samples.

        The reference's own is 1; NaN where the reference is below `FLOOR` or has no such score.
        """
        base = self.score(self.reference, (score.task, score.metric.removeprefix("index_")))
        if base is None or base.value < FLOOR:
            return Estimate(np.nan, np.nan, np.nan)
        # A sample in which the reference falls to 0 says nothing about a share of it.
        base_R = np.where(base.samples_R > 0, base.samples_R, np.nan)
        return _estimate(score.samples_R / base_R)

    def mean(self, model: str) -> Estimate:
        """Mean value over the headline columns."""
        return _estimate(self._mean_samples(model))

    def mean_retention(self, model: str) -> Estimate:
        """The mean value divided by the reference's mean value.

        A ratio of means, not a mean of ratios: a task on which the reference itself is near 0
        would rule the latter.
        """
        return _estimate(self._mean_samples(model) / self._mean_samples(self.reference))

    def best_student(self) -> str | None:
        """The student that keeps most."""
        kept = [(self.mean_retention(name).value, name) for name in self.students]
        return max(kept)[1] if kept else None

    def to_arrow(self) -> pa.Table:
        """Evaluation rows, sorted by model, task and metric."""
        rows = [
            {
                "model": s.model,
                "task": s.task,
                "metric": s.metric,
                "value": s.value,
                "low": s.interval[0],
                "high": s.interval[1],
                "rows": s.rows,
                "overlaps": s.overlaps,
                "retention": self.retention(s).value,
            }
            for s in sorted(self.scores, key=lambda s: (s.model, s.task, s.metric))
        ]
        return pa.Table.from_pylist(rows, schema=tables.EVALUATION)

    def _mean_samples(self, model: str) -> Doubles:
        found = [self.score(model, column) for column in self.columns()]
        samples: Doubles = np.mean([score.samples_R for score in found if score], axis=0)
        return samples


def _estimate(samples_R: Doubles) -> Estimate:
    return Estimate(float(samples_R[0]), *interval(samples_R[1:]))
