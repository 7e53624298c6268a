"""A table of logits and the store it was made from -> soft-labelled examples for a student.

Part i of the table has the rows of part i of the store, in the same order, so that they are read
side by side: memory holds one part and the rows drawn.
Array letters: N rows, C classes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from distill_jobs.tokens import Tokens
from distill_jobs.tuning.examples import Examples
from schemas import parts
from schemas.fingerprint import check_same, read_sealed
from schemas.store import Store, open_store


def read_soft(logits: str, location: str, classes: Sequence[str], rows: int, seed: int) -> Examples:
    """Draw rows with their tokens and the teacher's logits.

    Args:
        logits: table that ``python -m distill_jobs task-logits`` wrote.
        location: of the store that it was made from; read at the version that it names.
        classes: of the task, in order.
        rows: to draw; all if there are fewer.
        seed: of the draw.

    Raises:
        FileNotFoundError: if the table or the store is not there.
        ValueError: if the table is of other classes or another store, or has changed.
    """
    table = open_store(logits)
    known = json.loads(table.fingerprint.get("classes", "null"))
    if known != list(classes):
        raise ValueError(f"{logits} has logits of the classes {known}, the task has {classes}")
    table.verify()
    version = table.commits[-1].summary["store_version"]
    assert isinstance(version, int)
    store = open_store(location, version)
    drawn = np.sort(np.random.default_rng([seed, 11]).permutation(table.rows)[:rows])
    tokens: list[Tokens] = []
    values = []
    for content, said in _side_by_side(table, store, drawn):
        tokens += _tokens(content)
        column = said["logits"].combine_chunks()
        values.append(column.flatten().to_numpy().reshape(len(column), len(classes)))
    return Examples((tokens,), torch.from_numpy(np.concatenate(values)))


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


def check_tokens(folder: Path, card: Mapping[str, Any], store: Store) -> None:
    """Refuse a store whose tokens are not those that an exported student reads.

    Raises:
        ValueError: naming what differs.
    """
    described = read_sealed(folder / "preparer.json")["fingerprint"]
    held = {name: store.fingerprint.get(name, "") for name in described}
    check_same(held, described, of=f"the tokens in the store {store.location!r}")
