"""Job: how far two IDF tables are apart, and what moving a store from one to the other would do."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tyro

from pipelines.embedding import Teacher, embed, token_budget
from pipelines.store.reembed import check_text, load_teacher_of
from schemas import parts
from schemas.command import run_job
from schemas.idf import IdfTable
from schemas.idf_drift import SHARES, weight_changes, weight_drift
from schemas.prepare import Prepared, load_preparer, preparer_folder
from schemas.store import Store, open_store
from schemas.vectors import row_cosines

_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdfDiffConfig:
    """Compare two IDF tables: their words, and on a sample of a store, weights and vectors."""

    before: tyro.conf.Positional[str]
    """Folder of the table in use."""
    after: tyro.conf.Positional[str]
    """Folder of the candidate."""
    store: str | None = None
    """A store made with the first table, with text: how would its weights move?"""
    teacher: str | None = None
    """Its teacher: how would its vectors move?"""
    sample: int = 2000
    """Rows of the store to look at."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.sample < 1:
            raise ValueError(f"sample must be at least 1, got {self.sample}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and compare."""
    run_job(IdfDiffConfig, argv, idf_diff)


def idf_diff(config: IdfDiffConfig) -> dict[str, object]:
    """Compare the tables, and what they make of a store's sentences.

    Returns:
        `words`: see `weight_drift`; `weights`: distribution of the change of a sentence's weights,
        and the share of sentences above some bounds; `vectors`: the cosines that go with it.

    Raises:
        ValueError: if the tables were cut by different segmenters, or the store has no text.
    """
    before, after = IdfTable.load(config.before), IdfTable.load(config.after)
    if before.segmenter != after.segmenter:
        raise ValueError(
            f"the tables were cut by different segmenters: {before.segmenter!r} and "
            f"{after.segmenter!r}"
        )
    found: dict[str, object] = {"words": weight_drift(before, after)}
    if config.store is None:
        return found
    opened = open_store(config.store)
    if opened.fingerprint["idf"] != before.digest():
        raise ValueError(f"{config.store} was not made with the table {config.before}")
    rows = sample_rows(opened, config.sample)
    preparer = load_preparer(Path(preparer_folder(opened.location, opened.fingerprint)))
    moved = preparer.with_table(after).prepare(rows["text"].to_pylist())
    changes = weight_changes(rows["weights"], [one.weights for one in moved])
    found["weights"] = {
        "rows": len(changes),
        **{f"change_p{share}": round(float(np.percentile(changes, share)), 5) for share in SHARES},
        **{f"share_above_{bound}": round(float((changes > bound).mean()), 4) for bound in _BOUNDS},
    }
    if config.teacher is not None:
        teacher = load_teacher_of(opened, config.teacher)
        found["vectors"] = _vector_changes(rows, moved, changes, teacher)
    return found


def sample_rows(opened: Store, count: int) -> pa.Table:
    """About `count` rows, from the start of every part: ids are hashes, so they are random ones.

    Raises:
        ValueError: if the store keeps no text, without which words cannot be weighed anew.
    """
    check_text(opened)
    each = -(-count // max(1, len(opened.parts)))
    taken = []
    for part in opened.parts:
        with parts.open_part(opened.path_of(part)) as file:
            taken.append(file.read_row_group(0, ["text", "token_ids", "weights"]).slice(0, each))
    return pa.concat_tables(taken).slice(0, count)


def _vector_changes(
    rows: pa.Table, moved: Sequence[Prepared], changes: npt.NDArray[np.float64], teacher: Teacher
) -> dict[str, object]:
    """What a bound on the change of weights means for the vectors that are kept below it.

    A vector is a sum of states under the weights, so it moves by at most the change of the weights
    times half the largest distance between two states of the sentence.
    """
    ids = [one.token_ids for one in moved]
    stored = [np.array(one, dtype=np.float32) for one in rows["weights"].to_pylist()]
    budget = token_budget(teacher, 0)
    before, after = (
        embed(teacher, ids, weights, ("idf",), budget).vectors["idf"]
        for weights in (stored, [one.weights for one in moved])
    )
    cosines = row_cosines(before, after)
    moves = np.linalg.norm(after - before, axis=1) / np.linalg.norm(before, axis=1)
    kept = {str(bound): changes <= bound for bound in _BOUNDS}
    return {
        "lowest_cosine": round(float(cosines.min()), 6),
        "lowest_cosine_of_rows_kept": {
            bound: round(float(cosines[mask].min()), 6)
            for bound, mask in kept.items()
            if mask.any()
        },
        "largest_relative_move_of_rows_kept": {
            bound: round(float(moves[mask].max()), 6) for bound, mask in kept.items() if mask.any()
        },
    }
