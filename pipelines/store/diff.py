"""Verb: what two versions of a store differ in: rows, IDF, vectors."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tyro

from pipelines.blocks import id_range
from schemas import parts
from schemas.command import run_job
from schemas.idf_drift import weight_drift
from schemas.parts import Part
from schemas.prepare import load_preparer, preparer_folder
from schemas.store import Store, open_store
from schemas.vectors import Decoder, open_decoder, row_cosines
from schemas.weights import Floats

_ROWS_AT_ONCE = 1_000_000
_EXAMPLES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffConfig:
    """Compare two versions of a store."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""
    before: int
    """The older version."""
    after: int | None = None
    """The newer version; by default the newest."""
    sample: int = 10_000
    """Rows from which the drift of vectors is taken."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.sample < 1:
            raise ValueError(f"sample must be at least 1, got {self.sample}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and compare."""
    run_job(DiffConfig, argv, diff)


def diff(config: DiffConfig) -> dict[str, object]:
    """Compare; parts that both versions have are not read for the rows' sake.

    Returns:
        Rows added and removed with examples, parts of the fingerprint that differ, how far the IDF
        moved, how far the centre of the vectors moved, and the vectors of rows in both.
    """
    old = open_store(config.location, config.before)
    new = open_store(config.location, config.after)
    added, removed = changed_rows(old, new)
    found: dict[str, object] = {
        "store": config.location,
        "versions": [old.version, new.version],
        "rows": [old.rows, new.rows],
        "rows_added": len(added),
        "rows_removed": len(removed),
        "added_examples": added[:_EXAMPLES].to_pylist(),
        "removed_examples": removed[:_EXAMPLES].to_pylist(),
        "fingerprint": {
            name: [old.fingerprint.get(name), value]
            for name, value in new.fingerprint.items()
            if old.fingerprint.get(name) != value
        },
    }
    if old.fingerprint["idf"] != new.fingerprint["idf"]:
        tables = [
            load_preparer(Path(preparer_folder(config.location, one.fingerprint))).table
            for one in (old, new)
        ]
        found["idf"] = weight_drift(*tables)
    for pooling in new.fingerprint["poolings"].split(","):
        found[f"vector_{pooling}"] = vector_drift(old, new, pooling, config.sample)
    return found


def changed_rows(old: Store, new: Store) -> tuple[pa.Array, pa.Array]:
    """Keys that only the newer version has, and keys that only the older one has."""
    shared = set(old.parts) & set(new.parts)
    sides = [_only(one, shared) for one in (old, new)]
    ranges = 1 + sum(one.rows for one in sides) // _ROWS_AT_ONCE
    added, removed = [], []
    for number in range(ranges):
        before, after = (_keys(one, *id_range(number, ranges)) for one in sides)
        added.append(after.filter(pc.invert(pc.is_in(after, value_set=before))))
        removed.append(before.filter(pc.invert(pc.is_in(before, value_set=after))))
    return pa.concat_arrays(added), pa.concat_arrays(removed)


def vector_drift(old: Store, new: Store, pooling: str, sample: int) -> dict[str, object]:
    """How far vectors moved, by samples: the centre of all, and rows that were written anew."""
    if not old.rows or not new.rows:
        return {}
    samples = [_vectors(one, one.parts, pooling, sample)[1] for one in (old, new)]
    centres = [one.mean(axis=0, dtype=np.float64, keepdims=True) for one in samples]
    lengths = [float(np.linalg.norm(centre)) for centre in centres]
    shared = set(old.parts) & set(new.parts)
    keys_old, before = _vectors(old, _only(old, shared).parts, pooling, sample)
    keys_new, after = _vectors(new, _only(new, shared).parts, pooling, sample)
    both, at_old, at_new = np.intersect1d(keys_old, keys_new, return_indices=True)
    drift: dict[str, object] = {
        "centre_cosine": round(float(row_cosines(*centres)[0]), 6),
        "centre_length": [round(length, 4) for length in lengths],
        "rewritten_rows_compared": len(both),
    }
    if len(both):
        cosines = row_cosines(before[at_old], after[at_new])
        drift["cosine_mean"] = round(float(cosines.mean()), 6)
        drift["cosine_lowest"] = round(float(cosines.min()), 6)
    return drift


def _only(opened: Store, shared: set[Part]) -> Store:
    own = tuple(part for part in opened.parts if part not in shared)
    return dataclasses.replace(opened, parts=own)


def _keys(opened: Store, low: str, high: str) -> pa.Array:
    chunks = [chunk for keys in opened.keys(low, high) for chunk in keys.chunks]
    keys = pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())
    return keys.filter(pc.and_(pc.greater_equal(keys, low), pc.less_equal(keys, high)))


def _vectors(
    opened: Store, of: Sequence[Part], pooling: str, sample: int
) -> tuple[npt.NDArray[np.str_], Floats]:
    """Keys and vectors of about `sample` rows: those with the smallest keys.

    Keys are hashes, so these are a random sample, and two versions give largely the same rows.
    """
    rows = sum(part.rows for part in of)
    keys: list[str] = []
    if not rows:
        return np.array(keys), np.empty((0, 1), np.float32)
    decoder = open_decoder(opened, pooling)
    vectors: list[Floats] = []
    for table in _smallest(opened, of, decoder, id_range(0, -(-rows // sample))[1]):
        keys += table["sentence_id"].to_pylist()
        vectors.append(decoder.decode(table))
    return np.array(keys), np.concatenate(vectors)


def _smallest(opened: Store, of: Sequence[Part], decoder: Decoder, last: str) -> Iterator[pa.Table]:
    """The rows up to a key; of each part at least its first row, so that there are some."""
    columns = ["sentence_id", *decoder.columns]
    for part in of:
        with parts.open_part(opened.path_of(part)) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns, use_threads=False)
                within = pc.sum(pc.less_equal(table["sentence_id"], last)).as_py()
                if group == 0 or within:
                    yield table.slice(0, max(1, within))
                if within < table.num_rows:
                    break
