"""What every sound store, and every sound part of one, has; checked, never taken on trust."""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from schemas import delta, parts
from schemas.commits import Commit
from schemas.parts import Part
from schemas.text import sentence_id

_AT_ONCE = 1024  # files that are asked for at a time


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
    differing = sorted(
        path for path, part in known.items() if live.get(path) != delta.listing_of(part)
    )
    outside = sorted(_leading_out(location, known))
    if outside:
        raise ValueError(f"parts of {location} are links that lead out of it: {outside[:3]}")
    if differing:
        raise ValueError(
            f"the log of {location} is damaged: it does not list as committed {differing[:3]}"
        )
    return known


def _leading_out(location: str | Path, paths: Collection[str]) -> list[str]:
    """Those of some parts that lie elsewhere, behind a link.

    Folders are listed to find the links among them: to follow the path of each of a million parts
    takes over a minute, to list them 2 s.
    """
    if "://" in str(location):
        return []
    folders = {path.rpartition("/")[0] for path in paths}
    outside = {folder for folder in folders if parts.leads_out(location, folder)}
    links: set[str] = set()
    for folder in folders - outside:
        # What is missing is noticed by who reads it.
        with contextlib.suppress(FileNotFoundError), os.scandir(Path(location, folder)) as listed:
            links |= {f"{folder}/{one.name}".lstrip("/") for one in listed if one.is_symlink()}
    return [
        path
        for path in paths
        if path.rpartition("/")[0] in outside or (path in links and parts.leads_out(location, path))
    ]


def check_kept(location: str | Path, version: int, held: Sequence[Part]) -> None:
    """Refuse an old version whose parts have been vacuumed.

    Raises:
        ValueError: saying how many parts are gone.
    """
    sizes = _sizes(location, held)
    gone = [part for part, size in zip(held, sizes, strict=True) if size is None]
    if gone:
        raise ValueError(
            f"version {version} of {location} can no longer be read: {len(gone)} of "
            f"its {len(held)} parts are gone, among them {gone[0].path}; "
            "`python -m pipelines store history` shows what is left"
        )


def check_written(location: str | Path, added: Sequence[Part]) -> None:
    """Refuse to commit parts that somebody has deleted meanwhile.

    Raises:
        FileNotFoundError: naming the first one.
        ValueError: if a part does not lie under the table.
    """
    sizes = [delta.listing_of(part)[0] for part in added]
    for part, size, found in zip(added, sizes, _sizes(location, added), strict=True):
        if found != size:
            raise FileNotFoundError(
                f"part {part.path} of {location} is no longer as this run wrote it: was the store "
                "vacuumed meanwhile? Run it again"
            )


def _sizes(location: str | Path, held: Sequence[Part]) -> Iterator[int | None]:
    """Bytes of each part's file, None where there is none; an object store is asked for many."""
    files, root = parts.filesystem(location)
    for start in range(0, len(held), _AT_ONCE):
        paths = [f"{root}/{part.path}" for part in held[start : start + _AT_ONCE]]
        for info in files.get_file_info(paths):
            yield info.size if info.type == fs.FileType.File else None
