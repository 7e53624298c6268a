"""A labelled set on disk -> rows to learn from, rows to stop by, rows to be scored on.

The test split is scored, or dev where there is none. Learned from is the train split, or dev where
only test is beside it. Training rows that are also test rows are left out.
"""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from distill_jobs.evaluation.holdout import held_ids
from distill_jobs.evaluation.tasks import Kind, Row, check_labels, read_file, split_file
from schemas.store import Store
from schemas.text import sentence_id

MAX_DEV = 1000  # rows that decide when to stop
DEV_SHARE = 0.2  # of the labelled rows, where there is no dev split


@dataclasses.dataclass(frozen=True)
class Task:
    """One labelled set.

    Attributes:
        name: of its folder.
        kind: classes, pairs or graded.
        classes: labels of the training rows, sorted; empty for graded.
        train: rows to learn from.
        dev: rows to stop by; empty if some of the training rows must do.
        test: rows that are scored, once.
        splits: the files that train and test came from.
        in_test: training rows left out because they are test rows.
        not_held: training rows left out because a teacher store lacks a sentence of them.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    train: tuple[Row, ...]
    dev: tuple[Row, ...]
    test: tuple[Row, ...]
    splits: tuple[str, str]
    in_test: int = 0
    not_held: int = 0

    @property
    def outputs(self) -> int:
        """Numbers that a head gives."""
        return len(self.classes) or 1


def read_task(folder: Path) -> Task:
    """Read one labelled set: ``<sets>/<name>``.

    Raises:
        FileNotFoundError: if there is no such set, naming those that there are.
        ValueError: if it cannot be learned: one class, no rows to learn from, retrieval.
    """
    if not folder.is_dir():
        beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
        names = sorted(path.name for path in beside if path.is_dir())
        raise FileNotFoundError(f"there is no labelled set at {folder}; beside it are {names}")
    paths = {name: split_file(folder, name) for name in ("train", "dev", "test")}
    held = [name for name, path in paths.items() if path]
    if len(held) < 2:
        raise ValueError(f"{folder} needs two of train, dev, test to learn and score, has {held}")
    kind, rows = _read_splits(folder, {name: path for name, path in paths.items() if path})
    learned, scored = held[0], held[-1]
    tested = {frozenset(row.sentences) for row in rows[scored]}
    clean = {n: [r for r in rows[n] if frozenset(r.sentences) not in tested] for n in held[:-1]}
    graded = kind is Kind.GRADED
    return Task(
        name=folder.name,
        kind=kind,
        classes=() if graded else tuple(sorted({row.label for row in clean[learned]})),
        train=tuple(clean[learned]),
        dev=tuple(clean["dev"]) if held == ["train", "dev", "test"] else (),
        test=tuple(rows[scored]),
        splits=(learned, scored),
        in_test=len(rows[learned]) - len(clean[learned]),
    )


def _read_splits(folder: Path, paths: Mapping[str, Path]) -> tuple[Kind, dict[str, list[Row]]]:
    """The kind of a set, and the usable rows of each of its files."""
    rows: dict[str, list[Row]] = {}
    kinds: dict[str, Kind] = {}
    for name, path in paths.items():
        kinds[name], rows[name], _ = read_file(path)
        if kinds[name] is Kind.RETRIEVAL:
            raise ValueError(f"{path} is for retrieval: it has no labels to learn")
        check_labels(path, kinds[name], rows[name])
    if len(set(kinds.values())) > 1:
        raise ValueError(f"the splits of {folder} are of different kinds: {kinds}")
    return next(iter(kinds.values())), rows


def held_rows(rows: Sequence[Row], store: Store) -> tuple[Row, ...]:
    """The rows all of whose sentences a store has."""
    ids = {text: sentence_id(text) for row in rows for text in row.sentences}
    held = held_ids(store, sorted(set(ids.values())))
    return tuple(row for row in rows if all(ids[text] in held for text in row.sentences))


def among(task: Task, store: Store) -> Task:
    """The task with only those training rows that a store has, the others counted."""
    kept = held_rows(task.train, store)
    return dataclasses.replace(task, train=kept, not_held=len(task.train) - len(kept))


def draw(task: Task, labels: int | None, seed: int) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Draw a label budget; a smaller budget of the same seed is part of a larger one.

    Args:
        task: whose rows.
        labels: training rows; None for all.
        seed: of the draw.

    Returns:
        The rows to learn from, and those to stop by: no more than the former, so that a small
        budget is not helped by many labels in secret. Where there is no dev split, a fifth of the
        budget. A row that is among both is only stopped by.

    Raises:
        ValueError: if there are not so many rows, all that were drawn have one label, or those to
            stop by have none that can be learned.
    """
    rows = task.train
    wanted = len(rows) if labels is None else labels
    if not 1 < wanted <= len(rows):
        raise ValueError(f"{task.name} has {len(rows)} training rows, labels must be 2 to that")
    rng = np.random.default_rng([seed, zlib.crc32(task.name.encode())])
    drawn = [rows[number] for number in rng.permutation(len(rows))[:wanted]]
    if task.dev:
        most = min(wanted, MAX_DEV)
        dev = [task.dev[number] for number in rng.permutation(len(task.dev))[:most]]
    else:
        aside = max(1, min(round(wanted * DEV_SHARE), MAX_DEV))
        dev, drawn = drawn[:aside], drawn[aside:]
    stopping = {frozenset(row.sentences) for row in dev}
    drawn = [row for row in drawn if frozenset(row.sentences) not in stopping]
    _check_drawn(task, drawn, dev)
    return tuple(drawn), tuple(dev)


def _check_drawn(task: Task, drawn: Sequence[Row], dev: Sequence[Row]) -> None:
    """Refuse rows from which nothing can be learned, or by which nothing can be judged."""
    labels = sorted({row.label for row in drawn})
    if len(labels) < 2:
        raise ValueError(
            f"all {len(drawn)} rows drawn of {task.name} have the label {', '.join(labels)!r}: "
            "there is nothing to tell apart; take more labels or another seed"
        )
    if task.classes and not {row.label for row in dev} & {*task.classes}:
        raise ValueError(
            f"none of the {len(dev)} rows of {task.name} to stop by has a class of its training "
            f"rows, the first is {dev[0].label!r}"
        )
