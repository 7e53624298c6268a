"""Strict hold-out: labelled sets and training stores -> sets without sentences trained on."""

import dataclasses
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from distill_jobs.evaluation.tasks import LabelledSet
from schemas.store import Store
from schemas.text import sentence_id


def without_overlaps(sets: Sequence[LabelledSet], stores: Sequence[Store]) -> list[LabelledSet]:
    """Leave out the scored rows that have a sentence in one of the stores, and count them.

    Raises:
        ValueError: if nothing is left of a set.
    """
    texts = {row_text for s in sets for row in s.test for row_text in row.sentences}
    ids = {sentence_id(text): text for text in texts}
    seen = {ids[known] for store in stores for known in held_ids(store, sorted(ids))}
    return [_without(labelled, seen) for labelled in sets]


def held_ids(store: Store, ids: Sequence[str]) -> set[str]:
    """Which of the ids (sorted) a store has; only ids are read, a part at a time."""
    found: set[str] = set()
    wanted = pa.array(ids, pa.string())
    for part in store.parts if ids else ():
        columns = list(dataclasses.replace(store, parts=(part,)).keys(ids[0], ids[-1]))
        chunks = [chunk for column in columns for chunk in column.chunks]
        keys = pa.chunked_array(chunks, pa.string())
        found.update(wanted.filter(pc.is_in(wanted, value_set=keys)).to_pylist())
    return found


def _without(labelled: LabelledSet, seen: set[str]) -> LabelledSet:
    rows = tuple(row for row in labelled.test if not seen.intersection(row.sentences))
    if not rows:
        raise ValueError(
            f"every row of the set {labelled.name} has a sentence in the training store: a student "
            "that was trained on the labelled sentences cannot be judged by them"
        )
    return dataclasses.replace(labelled, test=rows, overlaps=len(labelled.test) - len(rows))
