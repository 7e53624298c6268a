"""What an evaluation found: scores with their bootstrap samples, and what is kept of the reference.

Array letters: R bootstrap samples, with the value on the rows as they are in front.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from distill_jobs.evaluation import guards
from distill_jobs.evaluation.disagreements import Disagreement
from distill_jobs.evaluation.estimates import Difference, Estimate, difference, estimate
from distill_jobs.evaluation.likeness import Likeness
from distill_jobs.evaluation.metrics import Doubles, interval
from distill_jobs.evaluation.tasks import LabelledSet
from schemas import tables

# One or two metrics of each kind of set stand for it in tables and means.
HEADLINE = ("spearman", "auc", "accuracy", "v_measure", "ndcg@10")

KINDS: Mapping[str, tuple[str, ...]] = {
    "pairs": ("spearman", "auc"),
    "probes": ("accuracy",),
    "clusters": ("v_measure",),
    "retrieval": ("ndcg@10",),
}
"""The headline metrics by what they ask of vectors."""

FLOOR = 0.05  # a share of less than this says nothing: k-means found nothing to keep

MOST_SHOWN = 9  # models in one picture

Column = tuple[str, str]  # task and metric

ALL = "*"  # stands for the task where a number is of all sets
MEAN, DIFFERENCE, NEIGHBOURS = "mean", "mean_minus_reference", "neighbours@10"


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
        likeness: to the reference, by model; not of models that encode each set by itself.
        disagreements: by student, the largest first.
        least_kept: share of the reference's mean value below which a student does not stand in.
    """

    models: tuple[str, ...]
    sets: tuple[LabelledSet, ...]
    scores: tuple[Score, ...]
    facts: Mapping[str, Facts]
    cards: Mapping[str, Mapping[str, object]]
    pair_cosines: Mapping[str, Doubles]
    likeness: Mapping[str, Likeness] = dataclasses.field(default_factory=dict)
    disagreements: Mapping[str, tuple[Disagreement, ...]] = dataclasses.field(default_factory=dict)
    least_kept: float = guards.LEAST_KEPT

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
        return self._placed.get((model, *column))

    def retention(self, score: Score) -> Estimate:
        """The value divided by the reference's, in the same bootstrap samples.

        The reference's own is 1; NaN where the reference is below `FLOOR` or has no such score.
        """
        base = self.score(self.reference, (score.task, score.metric.removeprefix("index_")))
        if base is None or base.value < FLOOR:
            return Estimate(np.nan, np.nan, np.nan)
        # A sample in which the reference falls to 0 says nothing about a share of it.
        base_R = np.where(base.samples_R > 0, base.samples_R, np.nan)
        return estimate(score.samples_R / base_R)

    def ranked(self) -> list[str]:
        """The models: reference, other teachers, students from the best on, baselines."""
        order = {name: (2, 0.0) for name in self.models}
        order |= {name: (1, -self.mean(name).value) for name in self.students}
        order |= {name: (0, 0.0) for name in self.models if name.startswith("teacher/")}
        return sorted(self.models, key=lambda name: (name != self.reference, order[name]))

    def shown(self) -> list[str]:
        """The models that a picture has room for: all, or without the worse students."""
        students = [name for name in self.ranked() if name in self.students]
        room = max(MOST_SHOWN - (len(self.models) - len(students)), 1)
        left_out = {name for name in students[room:] if name != self.reference}
        return [name for name in self.ranked() if name not in left_out]

    def mean(self, model: str) -> Estimate:
        """Mean value over the headline columns."""
        return estimate(self._means[model])

    def mean_retention(self, model: str) -> Estimate:
        """The mean value divided by the reference's mean value.

        A ratio of means, not a mean of ratios: a task on which the reference itself is near 0
        would rule the latter.
        """
        return estimate(self._means[model] / self._means[self.reference])

    def by_kind(self, model: str) -> dict[str, tuple[Estimate, Estimate]]:
        """Mean value over the columns of each of `KINDS`, and the share of the reference's."""
        found = {}
        for kind, metrics in KINDS.items():
            mine_R, base_R = (self._mean_of(name, metrics) for name in (model, self.reference))
            if mine_R is not None and base_R is not None:
                kept_R = mine_R / np.where(base_R > 0, base_R, np.nan)
                found[kind] = estimate(mine_R), estimate(kept_R)
        return found

    def difference(self, model: str, other: str) -> Difference:
        """How much higher a model's mean value is than another's, in the same samples."""
        return difference(self._means[model], self._means[other])

    def broken(self, student: str) -> list[str]:
        """What is wrong with a student's vectors, whatever they score."""
        known = self.likeness
        if student not in known or self.reference not in known:
            return []
        return guards.broken(known[student], known[self.reference], self.cards[student])

    def faults(self, student: str) -> list[str]:
        """Why a student does not stand in for its teacher; nothing if it does."""
        kept = self.mean_retention(student).value
        return self.broken(student) + guards.kept_too_little(kept, self.least_kept)

    def best_student(self) -> str | None:
        """The student that keeps most; one with broken vectors only if all are."""
        kept = [
            (not self.broken(name), self.mean_retention(name).value, name) for name in self.students
        ]
        return max(kept)[2] if kept else None

    def as_good_as_best(self) -> list[str]:
        """The students without a fault that are not shown to be worse than the best."""
        best = self.best_student()
        return [
            name
            for name in self.students
            if best and not self.faults(name) and self.difference(name, best).verdict != "worse"
        ]

    def to_arrow(self) -> pa.Table:
        """Evaluation rows, sorted by model, task and metric."""
        return pa.Table.from_pylist(self.rows(), schema=tables.EVALUATION)

    def rows(self) -> list[dict[str, object]]:
        """One for each score, and for each model's mean and how far it is from the reference's."""
        scores = [*self.scores, *(score for name in self.models for score in self._overall(name))]
        return [
            {
                "model": s.model,
                "task": s.task,
                "metric": s.metric,
                "value": s.value,
                "low": s.interval[0],
                "high": s.interval[1],
                "rows": s.rows,
                "overlaps": s.overlaps,
                "retention": self._share(s),
            }
            for s in sorted(scores, key=lambda s: (s.model, s.task, s.metric))
        ]

    def _overall(self, model: str) -> list[Score]:
        mean_R = self._means[model]
        found = {MEAN: mean_R, DIFFERENCE: mean_R - self._means[self.reference]}
        found |= {
            f"{MEAN}_{kind}": of_kind_R
            for kind, metrics in KINDS.items()
            if (of_kind_R := self._mean_of(model, metrics)) is not None
        }
        rows, overlaps = sum(len(s.test) for s in self.sets), sum(s.overlaps for s in self.sets)
        return [Score(model, ALL, name, of_R, rows, overlaps) for name, of_R in found.items()]

    def _share(self, score: Score) -> float:
        metrics = {MEAN: HEADLINE, **{f"{MEAN}_{kind}": of for kind, of in KINDS.items()}}
        if score.task != ALL or score.metric not in metrics:
            return self.retention(score).value
        base_R = self._mean_of(self.reference, metrics[score.metric])
        return np.nan if base_R is None else float(score.samples_R[0] / base_R[0])

    @functools.cached_property
    def _placed(self) -> dict[tuple[str, str, str], Score]:
        return {(s.model, s.task, s.metric): s for s in reversed(self.scores)}

    @functools.cached_property
    def _means(self) -> dict[str, Doubles]:
        """Mean over the headline columns in each sample, by model."""
        return {
            model: found
            for model in self.models
            if (found := self._mean_of(model, HEADLINE)) is not None
        }

    def _mean_of(self, model: str, metrics: Sequence[str]) -> Doubles | None:
        """Mean over the columns of some metrics in each sample; None if there are none."""
        scores = [self.score(model, column) for column in self.columns(metrics)]
        samples = [score.samples_R for score in scores if score]
        return np.mean(samples, axis=0) if samples else None
