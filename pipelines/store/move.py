"""Verb: move a store to another IDF table, embedding again only the rows that it changes.

A vector is the sum of its token states under the weights, so it moves by no more than its weights
do. Rows whose weights change by at most the bound keep both, weights and vector, as they are; the
bound holds against the weights that are stored, so moving again and again does not add up.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tyro
from apache_beam.transforms.combiners import ToList
from apache_beam.utils.shared import Shared

from pipelines import signs
from pipelines.embedding import Teacher
from pipelines.running import beam_options, run_once
from pipelines.signs import staging_of
from pipelines.store.reembed import check_text, embed_again, load_teacher_of, target_of
from pipelines.store.rewriting import put_in_place, rewritten_path
from pipelines.workers import check_workers
from schemas import parts, tables
from schemas.command import run_job
from schemas.commits import Change
from schemas.fingerprint import digest
from schemas.idf import IdfTable
from schemas.idf_drift import weight_changes
from schemas.parts import Part
from schemas.prepare import Preparer, load_preparer, preparer_folder
from schemas.store import Store, committed, open_store

BOUND = 0.02
"""Change of weights, as a sum over tokens, up to which a vector is kept; docs/decisions.md."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MoveConfig:
    """Move a store to another IDF table by a new version; rows that hardly change stay."""

    location: tyro.conf.Positional[str]
    """Folder of the store; it must keep the text."""
    idf: str
    """Folder of the new table, made with the same segmenter; see `idf merge`."""
    teacher: str
    """The store's teacher."""
    bound: float = BOUND
    """Rows whose token weights change by more than this, summed, are embedded again."""
    stall_minutes: float = 30
    """On a cluster: end with 75 after so long without a sign of the workers, the job cancelled; 0
    waits for ever."""
    runner_options: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if not 0 <= self.bound <= 2:
            raise ValueError(f"bound must be 0 (all that change) to 2 (none), got {self.bound}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and move."""
    run_job(MoveConfig, argv, move)


def move(config: MoveConfig) -> dict[str, object]:
    """Write the parts anew that hold rows to be embedded again, and commit them in their place.

    Returns:
        Rows embedded again and kept, the largest change that was kept, the new version, and the
        folder that lists the rows embedded again.

    Raises:
        ValueError: if the store keeps no text, or the table does not fit it.
        RetryLater: if another run committed meanwhile.
    """
    options = beam_options(config.runner_options)
    opened = open_store(config.location)
    check_text(opened)
    table = IdfTable.load(config.idf)
    fingerprint = {**opened.fingerprint, "idf": table.digest()}
    # Moved away and back, the store may move to the same table once more: that is another run.
    before = [
        commit.run_id
        for commit in opened.commits
        if commit.summary.get("job") == "move" and commit.fingerprint["idf"] != table.digest()
    ]
    run_id = digest(["move", fingerprint, config.bound, before])
    listed = f"{config.location}.moved/{run_id}"
    done = committed(config.location, run_id)
    if done is None:
        preparer = load_preparer(Path(preparer_folder(config.location, opened.fingerprint)))
        preparer.with_table(table).save(preparer_folder(config.location, fingerprint))
        load_teacher_of(opened, config.teacher)  # refuse another teacher before any work
        mover = MovePart(config, opened.version, fingerprint, run_id)
        pipeline = beam.Pipeline(options=options)
        _ = (
            pipeline
            | "Parts" >> beam.Create(opened.parts)
            | "Spread" >> beam.Reshuffle()
            | "MovePart" >> beam.ParDo(mover)
            | "Records" >> ToList()
            | "Commit" >> beam.Map(commit_move, opened, fingerprint, run_id)
        )
        check_workers(options, [config.idf], config.location, config.stall_minutes)
        run_once(pipeline, config.location, run_id, config.stall_minutes)
        done = committed(config.location, run_id)
        assert done is not None
    parts.remove_folder(staging_of(config.location, run_id))
    for folder in (config.location, preparer_folder(config.location, fingerprint), listed):
        parts.tidy(folder)
    return {**done.summary, "store": config.location, "version": done.version, "list": listed}


@beam.typehints.with_output_types(dict)
class MovePart(beam.DoFn):
    """From a part to what becomes of it; a part that an earlier try finished is left alone."""

    def __init__(
        self, config: MoveConfig, version: int, fingerprint: dict[str, str], run_id: str
    ) -> None:
        self._config = config
        self._version = version
        self._fingerprint = fingerprint
        self._run_id = run_id
        self._shared = Shared()

    def process(self, part: Part) -> Iterator[dict[str, Any]]:
        """Yield the record of the part."""
        staging = staging_of(self._config.location, self._run_id)
        signs.work_for(staging)
        name = f"{digest(part.sha256)}.json"
        if not parts.exists(f"{staging}/{name}"):
            record = self._move(open_store(self._config.location, self._version), part)
            parts.write_bytes(json.dumps(record).encode(), staging, name)
        yield json.loads(parts.read_bytes(f"{staging}/{name}"))

    def _move(self, opened: Store, part: Part) -> dict[str, Any]:
        opened.check(part)
        rows = parts.read(opened.path_of(part))
        tools = self._shared.acquire(self._load, tag=self._run_id)
        rows, changes = reweighed(rows, tools.preparer)
        moving = changes > self._config.bound
        record = {
            "old": dataclasses.asdict(part),
            "part": None,
            "kept": int((~moving).sum()),
            "moved": int(moving.sum()),
            "largest_kept": float(changes[~moving].max(initial=0.0)),
        }
        if moving.any():
            target = target_of(opened, part, self._run_id)
            target = dataclasses.replace(target, fingerprint=self._fingerprint)
            mask = pa.array(moving)
            fresh = embed_again(rows.filter(mask), tools.teacher, target)
            stored = parts.read(opened.path_of(part)).filter(pc.invert(mask))
            both = pa.concat_tables([fresh, stored]).sort_by("sentence_id").combine_chunks()
            path = rewritten_path(part, self._run_id)
            record["part"] = dataclasses.asdict(parts.write(both, opened.location, path))
            moved = pa.table([fresh["sentence_id"], changes[moving]], schema=tables.MOVED)
            listed = f"{opened.location}.moved/{self._run_id}"
            parts.write(moved, listed, f"{digest(part.sha256)}.parquet")
        return record

    def _load(self) -> "_Tools":
        config = self._config
        folder = preparer_folder(config.location, self._fingerprint)
        opened = open_store(config.location, self._version)
        return _Tools(load_preparer(Path(folder)), load_teacher_of(opened, config.teacher))


@dataclasses.dataclass(frozen=True)
class _Tools:
    """What a worker loads once: the preparer with the new table, and the teacher."""

    preparer: Preparer
    teacher: Teacher


def reweighed(rows: pa.Table, preparer: Preparer) -> tuple[pa.Table, npt.NDArray[np.float64]]:
    """Rows with the weights that a preparer gives them, and how far those are from the old [N]."""
    fresh = [one.weights for one in preparer.prepare(rows["text"].to_pylist())]
    at = rows.column_names.index("weights")
    weights = pa.array([one.tolist() for one in fresh], rows.schema.field(at).type)
    changes = weight_changes(rows["weights"], fresh)
    return rows.set_column(at, rows.schema.field(at), weights), changes


def commit_move(
    records: list[dict[str, Any]], opened: Store, fingerprint: dict[str, str], run_id: str
) -> int:
    """Put the new parts in the place of the old ones, all at once; returns the version.

    Raises:
        RetryLater: if another run committed meanwhile.
    """
    rewritten = sorted(
        (one for one in records if one["part"]), key=lambda one: str(one["part"]["path"])
    )
    summary = {
        "job": "move",
        "rows_embedded_again": sum(one["moved"] for one in records),
        "rows_kept": sum(one["kept"] for one in records),
        "largest_change_kept": max((one["largest_kept"] for one in records), default=0.0),
        "parts_rewritten": len(rewritten),
    }
    change = Change(
        schema=None,
        added=tuple(Part(**one["part"]) for one in rewritten),
        removed=tuple(Part(**one["old"]) for one in rewritten),
        run_id=run_id,
        fingerprint=fingerprint,
        summary=summary,
        moves=True,
    )
    return put_in_place(opened, change)
