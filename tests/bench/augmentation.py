"""What variants are worth: a student tuned with soft labels of its rows, and of their variants too.

    python -m tests.bench.augmentation --tasks sets --sets tnews --teacher-store work/labelled \
        --student work/student --parents work/parents.txt
    python -m pipelines augment --corpus work/parents.txt --out work/variants --variants 10
    python -m pipelines teacher --corpus 'work/variants/*.parquet' --idf work/idf \
        --teacher path/or/hub-name --pooling idf mean cls \
        --out work/variants-teacher --date 2026-11-21
    python -m tests.bench.augmentation --tasks sets --sets tnews --teacher-store work/labelled \
        --student work/student --variants work/variants --variants-store work/variants-teacher

The task's teacher, a logistic head on stored vectors, is fitted to the drawn rows; the student
learns their labels and the head's logits: of those rows alone, or of their variants as well. Rows
alone are given twice: as often as they are (same passes), and repeated until they are as many as
with the variants (same steps). No variant has another parent than the rows drawn, and none says
what a test row says. Of pairs the first sentence, the second and both vary in turn (Tang et al.
2019, section 3.2). Array letters: N rows, H vector width.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import tyro

from distill_jobs.encoder import preparer_of, read_card
from distill_jobs.evaluation.models import Vectors
from distill_jobs.evaluation.tasks import Row
from distill_jobs.tuning.examples import Examples, prepare_rows, sides_of, targets_of
from distill_jobs.tuning.fit import (
    FROM_SCRATCH,
    RANDOM_HEAD,
    Recipe,
    fit,
    predict,
    scores,
    warm_head,
)
from distill_jobs.tuning.network import Tuned, load_student
from distill_jobs.tuning.task import Task, among, draw, held_rows, read_task
from distill_jobs.tuning.task_logits import vectors_of
from distill_jobs.tuning.teacher_head import LogisticHead, fit_head, pair_features
from schemas.fingerprint import check_same
from schemas.store import Store, open_store
from schemas.text import sentence_id
from tests.bench.budget_curves import markdown

HARD, PASSES, STEPS, VARIANTS = "labels only", "same passes", "same steps", "with variants"
ARMS = ("teacher", HARD, PASSES, STEPS, VARIANTS)

Numbered = dict[int, str]  # the variants of one sentence


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Tune a student with and without variants."""

    tasks: Path
    """Folder of labelled sets."""
    sets: tuple[str, ...]
    """Which of them: classes or pairs."""
    teacher_store: str
    """Store of the teacher's vectors of their sentences."""
    student: Path
    """An exported student."""
    parents: Path | None = None
    """Only write the sentences of all draws here, one a line, for `python -m pipelines augment`."""
    variants: str = ""
    """Table of variants."""
    variants_store: str = ""
    """Store of the teacher's vectors of the variants."""
    pooling: str = "idf"
    """Which of the stores' vectors."""
    budgets: tuple[int, ...] = (100, 1000)
    """Numbers of labels."""
    seeds: int = 3
    """Draws of each."""
    test_rows: int = 3000
    """Test rows at most."""
    from_scratch: bool = False
    """Begin with random weights instead of the student's: Distilled BiLSTM's own setting."""
    epochs: int = 10
    """Passes at most; a training ends after 3 that the dev rows say were no better."""


class Bench:
    """Holds what all measurements of a set share: its rows, variants, and the vectors of both."""

    def __init__(self, config: AugmentationConfig, name: str) -> None:
        labelled, augmented = open_store(config.teacher_store), open_store(config.variants_store)
        check_same(augmented.fingerprint, labelled.fingerprint, of=config.variants_store)
        self.config = config
        self.task = held_task(config, name, labelled)
        self.prepare = preparer_of(config.student, read_card(config.student)).prepare
        self.test = prepare_rows(self.task, self.task.test, self.prepare)
        self.of_parent = read_variants(config.variants, augmented)
        alone = [Row((text,), "") for texts in self.of_parent.values() for text in texts.values()]
        own = [*self.task.train, *self.task.test]
        self.vectors = joined((own, labelled), (alone, augmented), config.pooling)
        self.student = load_student(config.student)

    def measure(self, labels: int, seed: int) -> list[dict[str, object]]:
        """Accuracy of all arms with one draw of labels."""
        train, dev = draw(self.task, labels, seed)
        more = [*train, *variant_rows(train, self.of_parent, [*self.task.test, *dev])]
        repeated = [train[number % len(train)] for number in range(len(more))]
        targets_N = targets_of(self.task, train).numpy()
        head = fit_head(self._features(train), targets_N, self.task.classes)
        said_NC = torch.from_numpy(head.logits(self._features(self.task.test)))
        found: list[dict[str, object]] = [{"arm": "teacher", **scores(said_NC, self.test)}]
        for arm, rows in {HARD: [], PASSES: train, STEPS: repeated, VARIANTS: more}.items():
            soft = self._soft(rows, head) if rows else None
            told = self._tuned(train, dev, soft, seed)
            found.append({"arm": arm, "soft_rows": len(rows), **told})
        return [{"labels": labels, "seed": seed, **one} for one in found]

    def _tuned(
        self, train: Sequence[Row], dev: Sequence[Row], soft: Examples | None, seed: int
    ) -> dict[str, float]:
        began = time.monotonic()
        torch.manual_seed(seed)
        student = load_student(self.config.student, from_scratch=self.config.from_scratch)
        network = Tuned(student, len(self.test.sides), self.task.outputs)
        learned, stopped = (prepare_rows(self.task, rows, self.prepare) for rows in (train, dev))
        recipe = Recipe(seed=seed, epochs=self.config.epochs, soft_batch_size=64)
        if self.config.from_scratch:
            rates = {"learning_rate": FROM_SCRATCH, "head_learning_rate": RANDOM_HEAD}
            recipe = dataclasses.replace(recipe, **rates)
        else:
            warm_head(network, learned)
        fitted = fit(network, learned, stopped, recipe, soft)
        found = scores(predict(network, self.test), self.test)
        seconds = round(time.monotonic() - began, 1)
        return {**found, "epoch": fitted.epoch, "steps": fitted.steps, "seconds": seconds}

    def _soft(self, rows: Sequence[Row], head: LogisticHead) -> Examples:
        logits_NC = head.logits(self._features(rows))
        return Examples(sides_of(rows, self.prepare), torch.from_numpy(logits_NC))

    def _features(self, rows: Sequence[Row]) -> np.ndarray:
        """The teacher's vectors, centred and scaled as the tuned network sees them."""
        offset_H, scale = self.student.offset.numpy(), float(self.student.scale)
        factor = len(offset_H) ** 0.5 / scale
        sides = zip(*(row.sentences for row in rows), strict=True)
        scaled = [(self.vectors.of(side) - offset_H) * factor for side in sides]
        return scaled[0] if len(scaled) == 1 else pair_features(*scaled)


def held_task(config: AugmentationConfig, name: str, labelled: Store) -> Task:
    """A set with only those rows that the store has, and not too many test rows."""
    task = among(read_task(config.tasks / name), labelled)
    held = held_rows(task.test, labelled)
    order = np.random.default_rng(0).permutation(len(held))[: config.test_rows]
    return dataclasses.replace(task, test=tuple(held[i] for i in order))


def read_variants(location: str, augmented: Store) -> dict[str, Numbered]:
    """The variants of each parent, by its id, as far as the teacher store has them."""
    table = open_store(location).dataset().to_table(["parent_id", "variant", "text"])
    found: dict[str, Numbered] = {}
    for parent, number, text in zip(*table.to_pydict().values(), strict=True):
        found.setdefault(parent, {})[number] = text
    alone = [Row((text,), "") for texts in found.values() for text in texts.values()]
    held = {row.sentences[0] for row in held_rows(alone, augmented)}
    return {
        parent: {number: text for number, text in sorted(texts.items()) if text in held}
        for parent, texts in found.items()
    }


def joined(
    first: tuple[Sequence[Row], Store], second: tuple[Sequence[Row], Store], pooling: str
) -> Vectors:
    """The stored vectors of the sentences of some rows in one store, and of others in another."""
    texts: list[str] = []
    vectors = []
    for rows, store in (first, second):
        here = sorted({text for row in rows for text in row.sentences})
        texts += here
        vectors.append(vectors_of(rows, store, pooling).of(here))
    return Vectors(texts, np.concatenate(vectors))


def variant_rows(
    rows: Sequence[Row], of_parent: dict[str, Numbered], held_out: Sequence[Row]
) -> list[Row]:
    """The rows that variants of the rows' own sentences make, without labels.

    Of pairs, number 0, 3, 6 ... vary the first sentence, 1, 4 ... the second, 2, 5 ... both.

    Args:
        rows: to learn from.
        of_parent: variants by parent.
        held_out: rows to stop by and to be scored: what says the same as a sentence of them is left
            out.
    """
    kept_out = {text for row in held_out for text in row.sentences}
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        sides = [of_parent.get(sentence_id(text), {}) for text in row.sentences]
        for number in sorted({number for side in sides for number in side}):
            varied = {0, 1} if len(sides) == 1 or number % 3 == 2 else {number % 3}
            texts = tuple(
                side.get(number, text) if place in varied else text
                for place, (side, text) in enumerate(zip(sides, row.sentences, strict=True))
            )
            new = set(texts) - set(row.sentences)
            if new and not new & kept_out:
                found[texts] = Row(texts, "")
    return list(found.values())


def write_parents(config: AugmentationConfig, out: Path) -> int:
    """Write the sentences of the rows that any draw learns from; returns their number."""
    labelled = open_store(config.teacher_store)
    tasks = [held_task(config, name, labelled) for name in config.sets]
    drawn = [draw(task, *one)[0] for task in tasks for one in draws(config)]
    texts = sorted({text for rows in drawn for row in rows for text in row.sentences})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return len(texts)


def draws(config: AugmentationConfig) -> list[tuple[int, int]]:
    """Labels and seed of every draw."""
    return [(labels, seed) for labels in config.budgets for seed in range(config.seeds)]


def main(config: AugmentationConfig) -> None:
    torch.set_num_threads(1)
    if config.parents:
        sys.stdout.write(f"{write_parents(config, config.parents)} sentences\n")
        return
    rows = []
    for name in config.sets:
        bench = Bench(config, name)
        for labels, seed in draws(config):
            for row in bench.measure(labels, seed):
                rows.append({"set": name, **row})
                sys.stderr.write(json.dumps(rows[-1]) + "\n")
    sys.stdout.write(markdown(rows, ARMS))


if __name__ == "__main__":
    main(tyro.cli(AugmentationConfig))
