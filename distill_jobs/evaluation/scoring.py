"""A labelled set and a model's vectors -> scores."""

import dataclasses
import zlib

import numpy as np

from distill_jobs.evaluation import metrics
from distill_jobs.evaluation.likeness import pair_cosines
from distill_jobs.evaluation.metrics import Doubles, Integers
from distill_jobs.evaluation.models import Vectors
from distill_jobs.evaluation.result import Score
from distill_jobs.evaluation.tasks import Kind, LabelledSet, Ranking, ranking

DRAWS = 5  # label budgets are averaged over this many draws, the same for every model


@dataclasses.dataclass(frozen=True)
class Scorer:
    """Scores one set; every model meets the same draws and bootstrap samples.

    Attributes:
        labelled: the set.
        budgets: numbers of labels that probes are taught with, besides all.
        seed: of draws, k-means starts and bootstrap samples.
    """

    labelled: LabelledSet
    budgets: tuple[int, ...]
    seed: int

    def scores(self, model: str, vectors: Vectors, reference: Vectors | None) -> list[Score]:
        """Score one model.

        Args:
            model: its name.
            vectors: its vectors of the set's texts.
            reference: vectors of a model with the same width that queries are also sent against:
                documents embedded by the teacher once, queries by the student (``index_`` metrics).
        """
        found: dict[str, tuple[Doubles, int]] = {}
        if self.labelled.kind in (Kind.PAIRS, Kind.GRADED):
            found |= self._pairs(vectors)
        elif self.labelled.kind is Kind.CLASSES:
            found |= self._classes(vectors)
        task = ranking(self.labelled)
        if task is not None:
            found |= self._retrieval(task, vectors, vectors, "")
        if task is not None and reference is not None:
            found |= self._retrieval(task, vectors, reference, "index_")
        name, overlaps = self.labelled.name, self.labelled.overlaps
        return [
            Score(model, name, metric, samples_R, rows, overlaps)
            for metric, (samples_R, rows) in found.items()
        ]

    def _counts(self, rows: int) -> Doubles:
        return metrics.resample(rows, self._rng("bootstrap"))

    def _rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(
            [self.seed, zlib.crc32(self.labelled.name.encode()), zlib.crc32(purpose.encode())]
        )

    def _pairs(self, vectors: Vectors) -> dict[str, tuple[Doubles, int]]:
        gold_N = np.array([float(row.label) for row in self.labelled.test])
        cosines_N, counts_RN = pair_cosines(self.labelled, vectors), self._counts(len(gold_N))
        if self.labelled.kind is Kind.GRADED:
            return {"spearman": (metrics.spearman(cosines_N, gold_N, counts_RN), len(gold_N))}
        return {"auc": (metrics.auc(cosines_N, gold_N == 1, counts_RN), len(gold_N))}

    def _classes(self, vectors: Vectors) -> dict[str, tuple[Doubles, int]]:
        names = sorted({row.label for row in self.labelled.test + self.labelled.train})
        number = {name: place for place, name in enumerate(names)}
        test_N = np.array([number[row.label] for row in self.labelled.test])
        test_NH = vectors.of([row.sentences[0] for row in self.labelled.test])
        counts_RN = self._counts(len(test_N))
        grouped_N = metrics.clusters(test_NH, len(set(test_N.tolist())), self.seed)
        alike_R = metrics.centred(metrics.v_measure(test_N, grouped_N, counts_RN))
        found = {"v_measure": (alike_R, len(test_N))}
        train_N = np.array([number[row.label] for row in self.labelled.train], dtype=np.int64)
        train_NH = vectors.of([row.sentences[0] for row in self.labelled.train])
        rng = self._rng("budgets")
        # With fewer than two labels a class, a probe says more of the draw than of the vectors.
        least = 2 * len(set(train_N.tolist()))
        for budget in [*(b for b in self.budgets if least <= b < len(train_N)), len(train_N)]:
            if not budget:
                continue
            draws = DRAWS if budget < len(train_N) else 1
            right_N = np.zeros(len(test_N))
            for _ in range(draws):
                drawn = rng.permutation(len(train_N))[:budget]
                predicted_N: Integers = metrics.probe(train_NH[drawn], train_N[drawn], test_NH)
                right_N += (predicted_N == test_N) / draws
            name = "accuracy" if budget == len(train_N) else f"accuracy@{budget}"
            found[name] = (metrics.average(right_N, counts_RN), len(test_N))
        return found

    def _retrieval(
        self, task: Ranking, queries: Vectors, documents: Vectors, prefix: str
    ) -> dict[str, tuple[Doubles, int]]:
        best_QK = metrics.top_documents(queries.of(task.queries), documents.of(task.documents))
        hits_QK = np.array(
            [
                [number in relevant for number in best_K]
                for best_K, relevant in zip(best_QK.tolist(), task.relevant, strict=True)
            ]
        )
        counts_RN = self._counts(len(task.queries))
        relevant_Q = np.array([len(relevant) for relevant in task.relevant])
        reciprocal = metrics.average(metrics.reciprocal_ranks(hits_QK), counts_RN)
        gain = metrics.average(metrics.gains(hits_QK, relevant_Q), counts_RN)
        rows = len(task.queries)
        return {f"{prefix}mrr@10": (reciprocal, rows), f"{prefix}ndcg@10": (gain, rows)}
