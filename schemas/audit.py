"""What every sound store, and every sound part of one, has; checked, never taken on trust."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import delta, parts
from schemas.commits import Commit
from schemas.parts import Part
from schemas.text import sentence_id


def row_fault(table: pa.Table, part: Part) -> str | None:
    """Say what is wrong with the rows of a part, or None.

    Checked: the number of rows; keys sorted, distinct, and the hash of their text; every number
    finite; token weights that sum to 1; no vector without length.
    """
    if table.num_rows != part.rows:
        return f"it has {table.num_rows} rows, committed were {part.rows}"
    keys = table["sentence_id"].combine_chunks()
    if len(keys) > 1 and not pc.all(pc.less(keys[:-1], keys[1:])).as_py():
        return "its rows are not sorted by sentence_id, or one is there twice"
    for check in (_wrong_id, _not_finite, _wrong_weights):
        fault = check(table)
        if fault is not None:
            return fault
    return None


def _wrong_id(table: pa.Table) -> str | None:
    if "text" not in table.column_names:
        return None
    for key, text in zip(table["sentence_id"].to_pylist(), table["text"].to_pylist(), strict=True):
        if key != sentence_id(text):
            return f"sentence {key} has a text that is not its own"
    return None


def _not_finite(table: pa.Table) -> str | None:
    for name in table.column_names:
        values = table[name].combine_chunks()
        if pa.types.is_list(values.type):
            values = values.flatten()
        if not pa.types.is_floating(values.type):
            continue
        if not np.isfinite(values.to_numpy(zero_copy_only=False)).all():
            return f"column {name} has a NaN or an infinity"
    return None


def _wrong_weights(table: pa.Table) -> str | None:
    if not (table["norm"].to_numpy() > 0).all():
        return "a vector has no length"
    lists = table["weights"].combine_chunks()
    sums = np.add.reduceat(lists.flatten().to_numpy(), lists.offsets.to_numpy()[:-1])
    if table.num_rows and np.abs(sums - 1).max() > 1e-4:
        return f"token weights sum to {sums[np.abs(sums - 1).argmax()]:.4f}, not to 1"
    return None


def check_live(
    location: str | Path, live: Mapping[str, delta.Listed], commits: Sequence[Commit]
) -> dict[str, Part]:
    """What Delta lists must be what our runs committed: it passes over what it does not know.

    Returns:
        The live parts by path.

    Raises:
        ValueError: naming parts that one of the two does not have, or has otherwise.
    """
    known: dict[str, Part] = {}
    for commit in commits:
        for path in commit.removed:
            known.pop(path, None)
        known |= {part.path: part for part in commit.added}
    unknown = sorted(live.keys() - known.keys())
    if unknown:
        raise ValueError(f"{location} holds parts that no run of ours committed: {unknown[:3]}")
    listings = {path: delta.listing_of(part) for path, part in known.items()}
    outside = sorted(path for path in known if parts.leads_out(location, path))
    if outside:
        raise ValueError(f"parts of {location} are links that lead out of it: {outside[:3]}")
    differing = sorted(path for path, listed in listings.items() if live.get(path) != listed)
    if differing:
        raise ValueError(
            f"the log of {location} is damaged: it does not list as committed {differing[:3]}"
        )
    return known
