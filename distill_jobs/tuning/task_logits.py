"""Job: a labelled set and two teacher stores -> the task's teacher's logits of one store's rows.

labelled rows, their stored vectors -> logistic head -> stored vectors, part by part -> logits
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from distill_jobs.evaluation.models import Vectors, teachers
from distill_jobs.evaluation.tasks import Kind, Row
from distill_jobs.tuning.examples import targets_of
from distill_jobs.tuning.task import Task, among, draw, read_task
from distill_jobs.tuning.teacher_head import LogisticHead, fit_head
from schemas import parts, store, tables
from schemas.command import run_job
from schemas.fingerprint import Fingerprint, check_same, digest
from schemas.parts import Part
from schemas.pins import pin
from schemas.store import Store, open_store
from schemas.vectors import open_decoder

# What must be the same for vectors of two stores to be of one teacher; their texts may differ.
_SAME = ("teacher", "tokenizer", "max_tokens", "idf", "smoothing", "segmenter", "cleaning")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskLogitsConfig:
    """Teach a task to the teacher's stored vectors; write what it says of unlabelled sentences."""

    task: Path
    """Folder of one labelled set of texts and labels."""
    teacher_store: str
    """Teacher store with sentences of the set; training rows that it lacks are left out."""
    store: str
    """Teacher store of the unlabelled sentences."""
    out: str
    """Table of logits to create."""
    labels: int | None = None
    """Labelled rows to learn from, drawn by the seed; by default all that the store has."""
    pooling: str = "idf"
    """Which of the stores' vectors."""
    seed: int = 0
    """Of the draw."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and write the table."""
    run_job(TaskLogitsConfig, argv, write_logits)


def write_logits(config: TaskLogitsConfig) -> dict[str, object]:
    """Fit the head and write the table, or find that it is there.

    Returns:
        The summary: rows, labels, the head's accuracy on test rows that the teacher store has.

    Raises:
        FileNotFoundError: if a set or store is not there.
        ValueError: if the set is of pairs, the stores are of different teachers, or `out` holds
            other logits.
    """
    labelled, unlabelled = open_store(config.teacher_store), open_store(config.store)
    teacher, found = (_teacher(one) for one in (unlabelled, labelled))
    check_same(found, teacher, of=f"the teacher store {labelled.location!r}")
    task = read_task(config.task)
    if task.kind is not Kind.CLASSES:
        raise ValueError(
            f"{task.name} is of {task.kind}: a store has single sentences, no pairs; "
            "a teacher's scores of pairs go to `tune --scores`"
        )
    head, facts = teach(among(task, labelled), labelled, config)
    runs = [one.run_id for one in unlabelled.commits]
    made_from = {
        "head": head.digest(),
        "classes": json.dumps(head.classes, ensure_ascii=False),
        "teacher": digest(teacher),
        "pooling": config.pooling,
        "store": digest([dict(unlabelled.fingerprint), runs]),
    }
    if store.exists(config.out):
        done = open_store(config.out, expected=made_from).commits[-1]
        return {**done.summary, **facts, "already_done": True}
    parts.check_writable(config.out)
    # First: killed after the commit, the run would leave a table whose store may be vacuumed.
    pin(unlabelled.location, unlabelled.version, Path(config.out))
    run_id = digest(made_from)
    written = list(_write(head, unlabelled, config, run_id))
    summary = {**facts, "rows": sum(part.rows for part in written), **_about(unlabelled)}
    _commit(config.out, written, run_id, (made_from, summary))
    parts.tidy(config.out)
    return {**summary, "already_done": False}


def _teacher(opened: Store) -> dict[str, str]:
    """What makes vectors of two stores the same teacher's."""
    return {name: opened.fingerprint.get(name, "") for name in _SAME}


def teach(
    task: Task, labelled: Store, config: TaskLogitsConfig
) -> tuple[LogisticHead, dict[str, object]]:
    """Fit the head on the drawn rows, and say how good it is.

    Args:
        task: rows that the store has.
        labelled: the store.
        config: draw and pooling.
    """
    train, _ = draw(task, config.labels, config.seed)
    test = among(dataclasses.replace(task, train=task.test), labelled).train
    vectors = vectors_of([*train, *test], labelled, config.pooling)
    head = fit_head(_first(vectors, train), targets_of(task, train).numpy(), task.classes)
    accuracy = None
    if test:
        said_N = head.logits(_first(vectors, test)).argmax(axis=1)
        accuracy = round(float((said_N == targets_of(task, test).numpy()).mean()), 4)
    return head, {
        "task": task.name,
        "classes": list(task.classes),
        "labels": len(train),
        "rows_left_out": {"not in the teacher store": task.not_held, "in test": task.in_test},
        "teacher_accuracy": accuracy,
        "teacher_accuracy_rows": len(test),
    }


def vectors_of(rows: Sequence[Row], labelled: Store, pooling: str) -> Vectors:
    """The stored vectors of the rows' sentences, all of which the store must have."""
    texts = sorted({text for row in rows for text in row.sentences})
    # A file is written only if a text is missing.
    missing = Path(f"{labelled.location}.missing.txt")
    known = {model.name: model for model in teachers(labelled, texts, missing)}
    name = f"teacher/{pooling}"
    if name not in known:
        raise ValueError(f"{labelled.location} has {', '.join(known)} vectors, not {name}")
    return Vectors(texts, known[name].encode(texts))


def _first(vectors: Vectors, rows: Sequence[Row]) -> np.ndarray:
    return vectors.of([row.sentences[0] for row in rows])


def _write(
    head: LogisticHead, unlabelled: Store, config: TaskLogitsConfig, run_id: str
) -> Sequence[Part]:
    """Write a part of logits for each part of the store: the same rows in the same order."""
    decoder = open_decoder(unlabelled, config.pooling)
    schema = tables.logits_schema(len(head.classes))
    found = []
    for number, part in enumerate(unlabelled.parts):
        unlabelled.check(part)
        pieces = []
        with parts.open_part(unlabelled.path_of(part)) as file:
            for group in range(file.num_row_groups):
                columns = ["sentence_id", *decoder.columns]
                table = file.read_row_group(group, columns, use_threads=False)
                pieces.append(_logits(head, table, decoder.decode(table), schema))
        whole = pa.concat_tables(pieces) if pieces else schema.empty_table()
        found.append(parts.write(whole, config.out, f"{run_id}-{number:05d}.parquet"))
    return found


def _logits(
    head: LogisticHead, table: pa.Table, vectors: np.ndarray, schema: pa.Schema
) -> pa.Table:
    logits_NC = head.logits(vectors)
    ends = np.arange(len(logits_NC) + 1, dtype=np.int32) * logits_NC.shape[1]
    values = pa.array(logits_NC.ravel())
    column = pa.ListArray.from_arrays(pa.array(ends), values, type=schema.field("logits").type)
    keys = table["sentence_id"].combine_chunks()
    return pa.Table.from_arrays([keys, column], schema=schema)


def _about(unlabelled: Store) -> dict[str, object]:
    return {"store": unlabelled.location, "store_version": unlabelled.version}


def _commit(
    out: str,
    written: Sequence[Part],
    run_id: str,
    said: tuple[Fingerprint, dict[str, object]],
) -> None:
    """Make the table visible."""
    made_from, summary = said
    schema = tables.logits_schema(len(json.loads(made_from["classes"])))
    store.commit(out, schema, written, run_id=run_id, fingerprint=made_from, summary=summary)
