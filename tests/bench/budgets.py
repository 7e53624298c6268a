"""How good teacher and student are with few labels: frozen, tuned, from scratch, task-distilled.

    python -m tests.bench.budgets --tasks sets --sets tnews lcqmc --student work/student \
        --teacher-store work/labelled --out work/budgets

All arms learn from the same rows, those that the teacher store has, and are scored on the same test
rows. The teacher's and the student's probe are the same logistic head on frozen vectors. What is
task-distilled learns the logits of the teacher's probe for all training rows, whose labels beyond
the budget nobody looks at. Rows that are in the output already are not measured again; an output
of another student, store or number of rows is refused.
Array letters: N rows, H vector width, F features, C classes.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import tyro

from distill_jobs.encoder import preparer_of, read_card
from distill_jobs.evaluation.tasks import Row
from distill_jobs.tuning.examples import Examples, prepare_rows, sides_of
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
from schemas.fingerprint import check_same, digest
from schemas.store import open_store
from tests.bench.budget_curves import draw_curves, markdown

ARMS = ("teacher probe", "student probe", "student tuned", "from scratch", "task-distilled")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetsConfig:
    """Measure accuracy by the number of labels."""

    tasks: Path
    """Folder of labelled sets."""
    sets: tuple[str, ...]
    """Which of them."""
    student: Path
    """An exported student."""
    teacher_store: str
    """Store of the teacher's vectors of their sentences."""
    out: Path
    """Folder for rows.jsonl, table.md and curves.png."""
    budgets: tuple[int, ...] = (100, 1000)
    """Numbers of labels, besides all."""
    seeds: int = 3
    """Draws of each budget but all, which has one."""
    most: int = 5000
    """What all is at most."""
    test_rows: int = 3000
    """Test rows at most."""
    soft_rows: int = 5000
    """Training rows whose logits are distilled, at most."""
    arms: tuple[str, ...] = ARMS
    """Which curves."""


class Bench:
    """Holds what all measurements of a set share: its rows, their vectors."""

    def __init__(self, config: BudgetsConfig, name: str) -> None:
        """Read a set, and look its sentences up in the teacher store."""
        store = open_store(config.teacher_store)
        task = among(read_task(config.tasks / name), store)
        if not task.classes:
            raise ValueError(f"{name} is of {task.kind}: a probe needs classes or pairs")
        rng = np.random.default_rng(0)
        pool = [task.train[i] for i in rng.permutation(len(task.train))]
        held = held_rows(task.test, store)
        test = tuple(held[i] for i in rng.permutation(len(held))[: config.test_rows])
        self.task = dataclasses.replace(task, train=tuple(pool[: config.most]), test=test)
        self.pool = pool[: max(config.most, config.soft_rows)]
        self.config = config
        self.student = load_student(config.student)
        self.prepare = preparer_of(config.student, read_card(config.student)).prepare
        self.teacher = vectors_of([*self.pool, *test], store, "idf")
        self.test = prepare_rows(task, test, self.prepare)
        self.soft_sides = sides_of(self.pool[: config.soft_rows], self.prepare)

    def measure(self, arm: str, labels: int, seed: int) -> dict[str, object]:
        """One number of one curve."""
        train, dev = draw(self.task, labels, seed)
        torch.manual_seed(seed)
        began = time.monotonic()
        if arm.endswith("probe"):
            features = self._of_teacher if arm.startswith("teacher") else self._of_student
            logits_NC = self._head(train, features).logits(features(self.task.test))
            found = scores(torch.from_numpy(logits_NC), self.test)
        else:
            found = self._tuned(arm, train, dev, seed)
        seconds = round(time.monotonic() - began, 1)
        found = {metric: round(value, 4) for metric, value in found.items()}
        return {"arm": arm, "labels": labels, "seed": seed, **found, "seconds": seconds}

    def _tuned(self, arm: str, train: tuple[Row, ...], dev: tuple[Row, ...], seed: int):
        scratch = arm == "from scratch"
        student = load_student(self.config.student, from_scratch=scratch)
        network = Tuned(student, len(self.test.sides), self.task.outputs)
        rates = {"learning_rate": FROM_SCRATCH, "head_learning_rate": RANDOM_HEAD}
        learned, stopped = (prepare_rows(self.task, rows, self.prepare) for rows in (train, dev))
        if arm in ("student tuned", "task-distilled"):
            warm_head(network, learned)
        soft = self._soft(train) if arm == "task-distilled" else None
        recipe = Recipe(seed=seed, soft_batch_size=64, **(rates if scratch else {}))
        fit(network, learned, stopped, recipe, soft)
        return scores(predict(network, self.test), self.test)

    def _soft(self, train: tuple[Row, ...]) -> Examples:
        rows = self.pool[: self.config.soft_rows]
        logits_NC = self._head(train, self._of_teacher).logits(self._of_teacher(rows))
        return Examples(self.soft_sides, torch.from_numpy(logits_NC))

    def _head(self, train: tuple[Row, ...], features) -> LogisticHead:
        targets_N = prepare_rows(self.task, train, self.prepare).targets.numpy()
        return fit_head(features(train), targets_N, self.task.classes)

    def _of_teacher(self, rows) -> np.ndarray:
        sides = zip(*(row.sentences for row in rows), strict=True)
        return self._features([self.teacher.of(side) for side in sides])

    def _of_student(self, rows) -> np.ndarray:
        examples = Examples(sides_of(rows, self.prepare), torch.zeros(len(rows)))
        found = []
        for side in examples.sides:
            network = _Vectors(self.student)
            found.append(predict(network, Examples((side,), examples.targets)).numpy())
        return self._features(found)

    def _features(self, sides: list[np.ndarray]) -> np.ndarray:
        """Centred and scaled by the mean vector of the corpus, as the tuned network sees them."""
        offset_H, scale = self.student.offset.numpy(), float(self.student.scale)
        factor = len(offset_H) ** 0.5 / scale
        scaled = [(one_NH - offset_H) * factor for one_NH in sides]
        return scaled[0] if len(scaled) == 1 else pair_features(*scaled)


class _Vectors(torch.nn.Module):
    """A student that `predict` can ask for its vectors."""

    def __init__(self, student) -> None:
        super().__init__()
        self.student = student

    def forward(self, batch) -> torch.Tensor:
        return self.student.vectors(batch.ids_BT, batch.weights_BT)


def budgets_of(config: BudgetsConfig, task: Task) -> list[tuple[int, int]]:
    """Labels and seed of every measurement of a curve."""
    whole = len(task.train)
    fewer = [(n, seed) for n in config.budgets if n < whole for seed in range(config.seeds)]
    return [*fewer, (whole, 0)]


def check_settings(config: BudgetsConfig) -> None:
    """Refuse an output whose rows were measured under other conditions; write down these.

    Raises:
        ValueError: naming what differs.
    """
    store = open_store(config.teacher_store)
    wanted = {
        "student": str(read_card(config.student)["export_id"]),
        "teacher_store": digest([dict(store.fingerprint), [one.run_id for one in store.commits]]),
        **{name: str(getattr(config, name)) for name in ("most", "test_rows", "soft_rows")},
    }
    path = config.out / "settings.json"
    if (config.out / "rows.jsonl").exists():
        found = json.loads(path.read_text()) if path.exists() else {}
        check_same(found, wanted, of=f"what {config.out} holds")
    path.write_text(json.dumps(wanted, indent=2))


def main(config: BudgetsConfig) -> None:
    torch.set_num_threads(1)
    config.out.mkdir(parents=True, exist_ok=True)
    check_settings(config)
    path = config.out / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["set"], row["arm"], row["labels"], row["seed"]) for row in rows}
    for name in config.sets:
        bench = Bench(config, name)
        for labels, seed in budgets_of(config, bench.task):
            for arm in config.arms:
                if (name, arm, labels, seed) in done:
                    continue
                row = {"set": name, **bench.measure(arm, labels, seed)}
                rows.append(row)
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    table = markdown(rows, ARMS)
    (config.out / "table.md").write_text(table)
    draw_curves(rows, ARMS, config.out / "curves.png")
    sys.stdout.write(table)


if __name__ == "__main__":
    main(tyro.cli(BudgetsConfig))
