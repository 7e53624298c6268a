"""What a task's teacher says -> soft-labelled examples for a student.

Of sentences: a table of logits and the store that it was made from. Of pairs: a file of scores.
Part i of a table of logits has the rows of part i of the store, in the same order, so that they are
read side by side: memory holds one part and the rows drawn.
Array letters: N rows, C classes.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from distill_jobs.evaluation.tasks import Kind, Row, check_labels, read_file
from distill_jobs.tokens import Tokens
from distill_jobs.tuning.examples import Examples, Prepare, sides_of
from schemas import parts
from schemas.fingerprint import check_same, read_sealed
from schemas.store import Store, open_store
from schemas.text import sentence_id


def open_soft(logits: str, location: str, classes: Sequence[str]) -> tuple[Store, Store]:
    """Open a table of logits, and its store at the version that the table was made from.

    Args:
        logits: table that ``python -m distill_jobs task-logits`` wrote.
        location: of the store.
        classes: of the task, in order.

    Raises:
        FileNotFoundError: if the table or the store is not there.
        ValueError: if the table is of other classes, or has changed.
    """
    table = open_store(logits)
    known = json.loads(table.fingerprint.get("classes", "null"))
    if known != list(classes):
        raise ValueError(f"{logits} has logits of the classes {known}, the task has {classes}")
    table.verify()
    version = table.commits[-1].summary["store_version"]
    assert isinstance(version, int)
    return table, open_store(location, version)


def read_soft(
    table: Store, store: Store, kept_back: Sequence[Row], rows: int, seed: int
) -> Examples:
    """Draw rows with their tokens and the teacher's logits.

    Args:
        table: of logits.
        store: that it was made from.
        kept_back: rows to stop by and to be scored on: their sentences are left out of the draw.
        rows: to draw; all if there are fewer.
        seed: of the draw.

    Raises:
        ValueError: if the table was made from another store, or nothing is left to draw from.
    """
    drawn = np.sort(np.random.default_rng([seed, 11]).permutation(table.rows)[:rows])
    ids = pa.array(
        sorted({sentence_id(text) for row in kept_back for text in row.sentences}), pa.string()
    )
    classes = len(json.loads(table.fingerprint["classes"]))
    tokens: list[Tokens] = []
    values = []
    for content, said in _side_by_side(table, store, drawn):
        fresh = pc.invert(pc.is_in(content["sentence_id"], value_set=ids))
        tokens += _tokens(content.filter(fresh))
        column = said["logits"].filter(fresh).combine_chunks()
        values.append(column.flatten().to_numpy().reshape(len(column), classes))
    if not tokens:
        raise ValueError(f"all {len(drawn)} rows of {table.location} are rows to be scored on")
    return Examples((tokens,), torch.from_numpy(np.concatenate(values)))


def read_scores(
    path: Path, prepare: Prepare, kept_back: Sequence[Row], rows: int, seed: int
) -> Examples:
    """Draw pairs with a teacher's scores, which are scaled to mean 0 and deviation 1.

    So the scale of the teacher, be it cosines or log odds, does not matter.

    Args:
        path: .tsv or .tsv.gz with sentence1, sentence2, score: what any teacher says of pairs.
        prepare: texts to tokens.
        kept_back: pairs to stop by and to be scored on, either way round: they are left out.
        rows: to draw; all if there are fewer.
        seed: of the draw.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has other columns, a score is no number, or fewer than 2 scores are left.
    """
    kind, found, _ = read_file(path)
    if kind is not Kind.GRADED:
        raise ValueError(f"{path} must have the columns sentence1, sentence2, score: it is {kind}")
    check_labels(path, kind, found)
    back = {frozenset(row.sentences) for row in kept_back}
    left = [row for row in found if frozenset(row.sentences) not in back]
    order = np.random.default_rng([seed, 11]).permutation(len(left))[:rows]
    drawn = [left[number] for number in order]
    scores_N = np.array([float(row.label) for row in drawn])
    if len(np.unique(scores_N)) < 2:
        raise ValueError(
            f"{path} has {len(drawn)} pairs to learn from, without those to be scored on, and "
            "fewer than 2 different scores: there is nothing to tell apart"
        )
    scaled_N = (scores_N - scores_N.mean()) / scores_N.std()
    return Examples(
        sides_of(drawn, prepare), torch.from_numpy(scaled_N.astype(np.float32))[:, None]
    )


def _side_by_side(
    table: Store, store: Store, drawn: np.ndarray
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The drawn rows (numbers, ascending) of both, part by part."""
    if len(table.parts) != len(store.parts):
        raise ValueError(f"{table.location} was not made from {store.location}: other parts")
    at = 0
    for said_part, part in zip(table.parts, store.parts, strict=True):
        here = pa.array(drawn[(at <= drawn) & (drawn < at + part.rows)] - at)
        at += part.rows
        if said_part.rows != part.rows:
            raise ValueError(f"{said_part.path} was not made from {part.path}: other rows")
        if not len(here):
            continue
        said = parts.read(table.path_of(said_part)).take(here)
        columns = ["sentence_id", "token_ids", "weights"]
        content = parts.read(store.path_of(part), columns).take(here)
        if said["sentence_id"] != content["sentence_id"]:
            raise ValueError(f"{said_part.path} was not made from {part.path}: other sentences")
        yield content, said


def _tokens(content: pa.Table) -> list[Tokens]:
    """Rows of a teacher store as a student reads them."""
    columns = (content[name].combine_chunks() for name in ("token_ids", "weights"))
    pairs = ([one.values.to_numpy() for one in column] for column in columns)
    return [Tokens(ids.astype(np.int32), weights) for ids, weights in zip(*pairs, strict=True)]


def check_tokens(folder: Path, store: Store) -> None:
    """Refuse a store whose tokens are not those that an exported student reads.

    Raises:
        ValueError: naming what differs.
    """
    described = read_sealed(folder / "preparer.json")["fingerprint"]
    held = {name: store.fingerprint.get(name, "") for name in described}
    check_same(held, described, of=f"the tokens in the store {store.location!r}")
