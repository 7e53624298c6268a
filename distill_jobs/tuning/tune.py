"""Job: exported student, labelled set -> the student and a head trained on it, scored, in a folder.

With --logits the student also learns what the task's teacher says of unlabelled sentences, with
--scores what a teacher that reads both sentences of a pair says of unlabelled pairs.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from distill_jobs.encoder import preparer_of, read_card
from distill_jobs.evaluation.tasks import Kind, Row
from distill_jobs.tuning.examples import Examples, Prepare, prepare_rows
from distill_jobs.tuning.fit import (
    FROM_SCRATCH,
    RANDOM_HEAD,
    Fitted,
    Recipe,
    fit,
    predict,
    scores,
    warm_head,
)
from distill_jobs.tuning.folder import write_folder
from distill_jobs.tuning.losses import OF_CLASSES, OF_SCORES
from distill_jobs.tuning.model import held
from distill_jobs.tuning.network import Tuned, load_student
from distill_jobs.tuning.task import Task, among, draw, read_task
from distill_jobs.tuning.transfer import check_tokens, open_soft, read_scores, read_soft
from schemas.command import run_job
from schemas.fingerprint import digest, file_digest
from schemas.store import open_store


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Train a finished student on a labelled set, with a head."""

    student: Path
    """Folder of the exported student."""
    task: Path
    """Folder of one labelled set: its train, dev and test files."""
    out: Path
    """Folder to create: the tuned model."""
    labels: int | None = None
    """Labelled rows to learn from, drawn by the seed; by default all."""
    from_scratch: bool = False
    """Begin with random weights instead of the student's: what the distillation is worth."""
    freeze: bool = False
    """Train the head alone."""
    epochs: int = 10
    """Passes over the rows, at most; it stops after 3 that the dev rows say were no better."""
    batch_size: int = 32
    """Labelled rows in a step."""
    learning_rate: float | None = None
    """Peak learning rate of the student, by default 0.001, from scratch 0.003."""
    seed: int = 0
    """Of the draw, the head's first weights and the order of rows."""
    among: str | None = None
    """Teacher store: learn from rows only that it has, the same as task-logits draws."""
    logits: str | None = None
    """Table of task-logits: soft labels of unlabelled sentences."""
    store: str | None = None
    """The store that the table was made from."""
    scores: Path | None = None
    """Soft labels of unlabelled pairs: a .tsv with sentence1, sentence2, score, of any teacher."""
    rows: int = 20_000
    """Unlabelled sentences or pairs to learn from, drawn by the seed."""
    kd: str = "kl"
    """What soft labels are learned by: logits by kl, ce (softened classes) or mse; scores by mse,
    margin_mse (differences between pairs) or score_kl (a batch's scores, softened)."""
    temperature: float = 2.0
    """Softens the classes of kl and ce, and the scores of score_kl, in their deviations."""
    alpha: float = 0.5
    """Weight of the hard labels, 0 to 1; the soft ones have the rest."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        for name in ("epochs", "batch_size", "rows", "learning_rate", "temperature"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0, got {value}")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, got {self.alpha}")
        wanted, of = (OF_SCORES, "scores") if self.scores else (OF_CLASSES, "classes")
        if self.kd not in wanted:
            raise ValueError(f"kd of {of} must be one of {', '.join(wanted)}, got {self.kd!r}")
        if self.logits and self.scores:
            raise ValueError("logits are of sentences, scores of pairs: give one of them")
        if (self.logits is None) != (self.store is None):
            raise ValueError("logits and store belong together: give both or neither")
        if self.from_scratch and self.freeze:
            raise ValueError("a frozen student with random weights learns nothing")

    def recipe(self, *, warm: bool) -> Recipe:
        """The part that says how to train.

        Args:
            warm: whether the head begins as the best one for the student's vectors.
        """
        names = {field.name for field in dataclasses.fields(Recipe)} & vars(self).keys()
        given = {name: getattr(self, name) for name in names}
        if self.learning_rate is None:
            given["learning_rate"] = FROM_SCRATCH if self.from_scratch else Recipe.learning_rate
        if not warm:
            given["head_learning_rate"] = RANDOM_HEAD
        return Recipe(**given)


def main(argv: Sequence[str]) -> None:
    """Read the flags and tune."""
    run_job(TuneConfig, argv, tune)


def tune(config: TuneConfig) -> dict[str, object]:
    """Tune a student, or find that it has been done.

    Returns:
        Scores on the test rows, what was learned from, and how; `reused` if the folder held this.

    Raises:
        FileNotFoundError: if the set, the export, its weights or a table is not there.
        FileExistsError: if the folder holds something else.
        ValueError: if there is nothing to learn, or what was given does not belong together.
    """
    card = read_card(config.student)
    task = _task(config)
    train, dev = draw(task, config.labels, config.seed)
    task = dataclasses.replace(task, train=train)  # scores are scaled by the budget alone
    settings = _settings(config)
    content = [task.name, task.classes, train, dev, task.test]
    name = digest([card["export_id"], settings, content])
    if done := held(config.out, name):
        return {**done, "reused": True}
    prepare = preparer_of(config.student, card).prepare
    learned, stopped, tested = (
        prepare_rows(task, rows, prepare) for rows in (train, dev, task.test)
    )
    soft = _soft(config, task, (*dev, *task.test), prepare)
    began = time.monotonic()
    network, fitted = _trained(config, task, (learned, stopped, soft))
    result: dict[str, object] = {
        **_about(task),
        "student": card["student"],
        "from_scratch": config.from_scratch,
        "labels": len(train),
        "dev_rows": len(dev),
        "soft_rows": len(soft) if soft else 0,
        "scores": _rounded(scores(predict(network, tested), tested)),
        **dataclasses.asdict(fitted),
        "seconds": round(time.monotonic() - began, 1),
        "settings": settings,
    }
    told = stopped, {**result, "name": name}
    write_folder(config.student, config.out, network.cpu(), task, told)
    return {**result, "reused": False}


def _task(config: TuneConfig) -> Task:
    task = read_task(config.task)
    return task if config.among is None else among(task, open_store(config.among))


def _trained(
    config: TuneConfig, task: Task, given: tuple[Examples, Examples, Examples | None]
) -> tuple[Tuned, Fitted]:
    """Train on the rows to learn from, to stop by, and the soft ones."""
    learned, stopped, soft = given
    torch.manual_seed(config.seed)
    student = load_student(config.student, from_scratch=config.from_scratch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Tuned(student, len(learned.sides), task.outputs).to(device)
    if config.freeze:
        network.freeze()
    warm = bool(task.classes) and not config.from_scratch
    if warm:
        warm_head(network, learned)
    return network, fit(network, learned, stopped, config.recipe(warm=warm), soft)


def _about(task: Task) -> dict[str, object]:
    return {
        "task": task.name,
        "kind": str(task.kind),
        "learned_from": task.splits[0],
        "scored_on": task.splits[1],
        "test_rows": len(task.test),
        "rows_left_out": {"in test": task.in_test, "not in the teacher store": task.not_held},
    }


def _rounded(found: dict[str, float]) -> dict[str, float]:
    return {metric: round(value, 4) for metric, value in found.items()}


def _settings(config: TuneConfig) -> dict[str, object]:
    """What the config says besides places; of the table of logits what it was made from."""
    given = dataclasses.asdict(config)
    for name in ("student", "task", "out", "among", "store", "logits", "scores"):
        del given[name]
    if config.logits is not None:
        return {**given, "logits": digest(dict(open_store(config.logits).fingerprint))}
    if config.scores is not None:
        return {**given, "scores": file_digest(config.scores)}
    for name in ("rows", "kd", "temperature", "alpha"):
        del given[name]
    return given


def _soft(
    config: TuneConfig, task: Task, kept_back: Sequence[Row], prepare: Prepare
) -> Examples | None:
    """The unlabelled rows with the teacher's logits or scores, if they are asked for."""
    single = task.kind is Kind.CLASSES
    if config.scores is not None:
        if single:
            raise ValueError(f"{task.name} is of {task.kind}: scores are of pairs; give --logits")
        return read_scores(config.scores, prepare, kept_back, config.rows, config.seed)
    if config.logits is None or config.store is None:
        return None
    if not single:
        raise ValueError(
            f"{task.name} is of {task.kind}: logits are of single sentences, no pairs; "
            "give --scores"
        )
    table, store = open_soft(config.logits, config.store, task.classes)
    check_tokens(config.student, store)
    return read_soft(table, store, kept_back, config.rows, config.seed)
