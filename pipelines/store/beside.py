"""Verb: two stores of the same sentences -> a store with both teachers' vectors side by side.

Each vector is divided by its length, and the second teacher's stands after the first's, so that the
cosine of two sentences is the mean of what the teachers say (Jasper and Stella, arXiv 2412.19048).
Array letters: B rows of a part, H vector width.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import tyro

from pipelines.lineage import recorded
from pipelines.store.rewriting import rewritten_path
from pipelines.store.unit_vectors import UnitVectors, ids_of, unit, write_vectors
from schemas import parts, tables, vectors
from schemas.code_version import code_version
from schemas.command import RetryLater, redact, run_job
from schemas.commits import Commit
from schemas.delta import NOT_THERE
from schemas.fingerprint import Fingerprint, check_same, digest
from schemas.parts import Part
from schemas.prepare import load_preparer, preparer_folder
from schemas.store import Overtaken, Store, commit, committed, exists, open_store
from schemas.vectors import Decoder, open_decoder

# What two stores of the same sentences may differ in: the teacher, and how its vectors are kept.
_OWN = ("teacher", "dtype", "poolings", "vector_dtype", "projection", "keep_text")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BesideConfig:
    """Put a second teacher's vectors beside those of a store, in a new store."""

    location: tyro.conf.Positional[str]
    """Folder of the store; its rows are kept where the other has them too."""
    other: str
    """Folder of the second teacher's store, made with the same tokenizer and IDF table."""
    out: str
    """Folder of the store to create."""
    pooling: str = "idf"
    """Which vectors of both."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and write the store."""
    run_job(BesideConfig, argv, beside)


@dataclasses.dataclass(frozen=True)
class _Pair:
    """Two stores that fit each other, and what becomes of them."""

    first: Store
    other: Store
    pooling: str
    fingerprint: Fingerprint
    run_id: str

    @functools.cached_property
    def decoders(self) -> list[Decoder]:
        """What reads the first store's vectors."""
        kept = self.first.fingerprint["poolings"].split(",")
        return [open_decoder(self.first, pooling) for pooling in kept]


def beside(config: BesideConfig) -> dict[str, object]:
    """Write the store, or find that it has been written.

    Memory holds the other store's ids and one part; its vectors wait in a file beside `out`.

    Returns:
        Rows, rows that the other store lacks, the width, and the version.

    Raises:
        FileNotFoundError: if a store is not there.
        FileExistsError: if `out` was made of other versions of the stores.
        ValueError: if the stores do not fit each other, or have no sentence in common.
        RetryLater: if another run made `out` meanwhile.
    """
    first, other = open_store(config.location), open_store(config.other)
    fingerprint = fingerprint_of(first, other, config.pooling)
    runs = [[one.run_id for one in opened.commits] for opened in (first, other)]
    pair = _Pair(first, other, config.pooling, fingerprint, digest(["beside", fingerprint, runs]))
    done = committed(config.out, pair.run_id)
    already_done = done is not None
    if done is None:
        if exists(config.out):
            open_store(config.out, expected=fingerprint)
            raise FileExistsError(
                f"{config.out} was made of other versions of these stores; give another --out"
            )
        parts.check_writable(config.out)
        done = _write(pair, config.out)
    for location in (config.out, preparer_folder(config.out, fingerprint)):
        parts.tidy(location)
    place = {"store": redact(config.out), "version": done.version}
    return {**done.summary, **place, "already_done": already_done}


def fingerprint_of(first: Store, other: Store, pooling: str) -> dict[str, str]:
    """What the rows of both together are made from.

    The teacher is named by both, so that what would embed rows again with one of them refuses.

    Raises:
        ValueError: if they differ in more than the teacher, have the same one, or lack the pooling.
    """
    pair = [one.fingerprint for one in (first, other)]
    for one in (first, other):
        has = one.fingerprint.get("poolings", "").split(",")
        if pooling not in has or tables.BESIDE in has:
            raise ValueError(
                f"{one.location} must have {pooling} vectors, of one teacher: it has {has}"
            )
    shared = [{name: one[name] for name in one if name not in _OWN} for one in pair]
    check_same(shared[1], shared[0], of=f"the store {other.location!r}")
    if pair[0]["teacher"] == pair[1]["teacher"]:
        raise ValueError(
            f"{first.location} and {other.location} are of the same teacher, {pair[0]['teacher']}"
        )
    kept = [[one["vector_dtype"], one.get("projection", "")] for one in pair]
    return {
        **{name: value for name, value in first.fingerprint.items() if name != "projection"},
        "teacher": "+".join(one["teacher"] for one in pair),
        "dtype": "+".join(one["dtype"] for one in pair),
        "poolings": f"{pair[0]['poolings']},{tables.BESIDE}",
        "vector_dtype": "float32",
        "beside": digest([pooling, kept]),
    }


def _write(pair: _Pair, out: str) -> Commit:
    """Write all parts, then make them visible in one commit."""
    read = {one.location: one.version for one in (pair.first, pair.other)}
    with recorded("beside", out, pair.run_id, [], read) as recording:
        schema, written = _write_parts(pair, out)
        preparer = load_preparer(Path(preparer_folder(pair.first.location, pair.first.fingerprint)))
        preparer.save(preparer_folder(out, pair.fingerprint))
        try:
            commit(
                out,
                schema.append(tables.INGEST_DATE),
                written,
                run_id=pair.run_id,
                fingerprint=pair.fingerprint,
                summary=_summary(pair, written, schema),
                after=NOT_THERE,
            )
        except Overtaken as error:
            raise RetryLater(f"{error}; run it again") from error
        done = recording.committed = committed(out, pair.run_id)
    assert done is not None
    return done


def _write_parts(pair: _Pair, out: str) -> tuple[pa.Schema, list[Part]]:
    """Write a part for each part of the first store that has rows of the other.

    Raises:
        ValueError: if there is none.
    """
    schema, written = pa.schema([]), []
    # Without a name it is gone with the process, however that ends.
    scratch = None if "://" in out else f"{out}.staging"
    with tempfile.TemporaryFile(dir=scratch) as file:
        others = write_vectors(pair.other, pair.pooling, file)
        for part in pair.first.parts:
            rows = _joined(pair, part, others)
            if rows.num_rows:
                schema = rows.schema
                written.append(parts.write(rows, out, rewritten_path(part, pair.run_id)))
    if not written:
        raise ValueError(f"no sentence of {pair.first.location} is in {pair.other.location}")
    return schema, written


def _joined(pair: _Pair, part: Part, others: UnitVectors) -> pa.Table:
    """The rows of a part that the other store has, with the vectors of both."""
    pair.first.check(part)
    rows = parts.read(pair.first.path_of(part))
    held_B, theirs_BH = others.find(ids_of(rows["sentence_id"]))
    rows = rows.filter(pa.array(held_B))
    if not rows.num_rows:
        return rows
    mine = {one.pooling: one.decode(rows) for one in pair.decoders}
    both_BH = np.hstack([unit(mine[pair.pooling], pair.first), theirs_BH])
    columns = {name: rows[name] for name in rows.column_names}
    for name, vectors_BH in {**mine, tables.BESIDE: both_BH}.items():
        columns |= vectors.encode(vectors_BH, name, "float32")
    width = mine[pair.pooling].shape[1]
    schema = tables.teacher_schema(tuple(mine), width, text="text" in rows.column_names)
    schema = tables.with_beside(schema, both_BH.shape[1])
    made_with = {f"ltd.{name}": value for name, value in pair.fingerprint.items()}
    schema = schema.with_metadata(made_with)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _summary(pair: _Pair, written: Sequence[Part], schema: pa.Schema) -> dict[str, object]:
    """What the run says of itself, and of both teachers as if they were one."""
    rows = sum(part.rows for part in written)
    width = (schema.field(f"vector_{tables.BESIDE}").metadata or {})[b"width"]
    stores = (pair.first, pair.other)
    runs = [[c.summary for c in one.commits if "teacher_seconds" in c.summary] for one in stores]
    teachers: dict[str, object] = {}
    if all(runs):
        teachers = {
            "teacher": " + ".join(str(of[-1]["teacher"]) for of in runs),
            "teacher_seconds": sum(float(str(one["teacher_seconds"])) for of in runs for one in of),
            **{
                name: sum(int(str(of[-1][name])) for of in runs)
                for name in ("teacher_bytes", "teacher_parameters")
            },
        }
    return {
        "job": "beside",
        "stores": [redact(one.location) for one in stores],
        "versions": [one.version for one in stores],
        "rows": rows,
        "rows_missing_in_the_other": pair.first.rows - rows,
        "width": int(width),
        **teachers,
        "code": code_version(),
    }
