"""Embed rows that a store holds already: their tokens and weights are in it."""

import pyarrow as pa

from pipelines.embedding import Teacher, find_teacher, token_budget
from pipelines.shards import Target, embed_rows
from schemas.parts import Part
from schemas.store import Store

PREPARED = ("sentence_id", "text", "source", "token_ids", "weights")


def check_text(opened: Store) -> None:
    """Refuse a store whose sentences cannot be weighed anew.

    Raises:
        ValueError: if it keeps no text.
    """
    if opened.fingerprint["keep_text"] != "True":
        raise ValueError(f"{opened.location} keeps no text: its words cannot be weighed anew")


def load_teacher_of(opened: Store, name: str) -> Teacher:
    """The teacher of a store, loaded as it was when the rows were made.

    Raises:
        FileNotFoundError: if there is no such teacher.
        ValueError: if it is another one.
    """
    files = find_teacher(name)
    if files.digest != opened.fingerprint["teacher"]:
        raise ValueError(
            f"{opened.location} was made with the teacher {opened.fingerprint['teacher']}, "
            f"{name} is {files.digest}"
        )
    return Teacher(files, opened.fingerprint["dtype"])


def target_of(opened: Store, part: Part, run_id: str) -> Target:
    """What a part was written as: its date, its columns, and what it was made from."""
    fingerprint = opened.commit_of(part).fingerprint
    return Target(
        location=opened.location,
        run_id=run_id,
        date=str(part.date),
        base_version=opened.version,
        fingerprint=dict(fingerprint),
        poolings=tuple(fingerprint["poolings"].split(",")),
        vector_dtype=fingerprint["vector_dtype"],
        keep_text=fingerprint["keep_text"] == "True",
    )


def embed_again(rows: pa.Table, teacher: Teacher, target: Target) -> pa.Table:
    """The rows with fresh vectors, in the store's schema.

    Args:
        rows: with at least the columns of `PREPARED`; text may be missing.
        teacher: of the store.
        target: what the rows are written as.
    """
    columns = [name for name in PREPARED if name in rows.column_names]
    table, _ = embed_rows(rows.select(columns), teacher, target, token_budget(teacher, 0))
    return table
