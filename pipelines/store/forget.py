"""Verb: remove sentences from a store, and never take them in again."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import tyro

from pipelines.store.rewriting import put_in_place, rewritten_path
from schemas import parts
from schemas.command import run_job
from schemas.commits import Change
from schemas.fingerprint import digest
from schemas.parts import Part
from schemas.pins import pins
from schemas.store import Store, committed, open_store
from schemas.text import clean, sentence_id

_ID = re.compile(r"[0-9a-f]{32}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForgetConfig:
    """Remove sentences by a new version; older versions keep them until they are vacuumed."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""
    text: tuple[str, ...] = ()
    """Sentences to forget."""
    sentence_id: tuple[str, ...] = ()
    """Or their ids."""
    ids_file: Path | None = None
    """Or a file with an id a line."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and forget."""
    run_job(ForgetConfig, argv, forget)


def forget(config: ForgetConfig) -> dict[str, object]:
    """Rewrite the parts that hold the sentences, without them.

    The ids are kept in the log, so that a later run over the same corpus leaves them out.

    Returns:
        Rows removed, ids that were not there, the new version, and what still holds the rows.

    Raises:
        ValueError: if there is no id, or one is not an id.
        RetryLater: if another run committed meanwhile.
    """
    ids = wanted_ids(config)
    opened = open_store(config.location)
    run_id = digest(["forget", ids])
    done = committed(config.location, run_id)
    if done is None:
        put_in_place(opened, _without(opened, ids, run_id))
        done = committed(config.location, run_id)
        assert done is not None
    parts.tidy(config.location)
    holding = [pin for pin in pins(config.location) if pin.version < done.version]
    return {
        **done.summary,
        "store": config.location,
        "version": done.version,
        "still_held_by": [f"version {pin.version}, pinned by {pin.by}" for pin in holding],
        "to_delete_the_bytes": f"python -m pipelines store vacuum {config.location} "
        "--retention-hours 0",
    }


def wanted_ids(config: ForgetConfig) -> list[str]:
    """The ids to forget, sorted.

    Raises:
        ValueError: if there is none, or one is no id.
    """
    ids = {*config.sentence_id, *(sentence_id(clean(text)) for text in config.text)}
    if config.ids_file is not None:
        ids |= set(config.ids_file.read_text(encoding="utf-8").split())
    if not ids:
        raise ValueError("nothing to forget: give --text, --sentence-id or --ids-file")
    strange = sorted(one for one in ids if not _ID.fullmatch(one))
    if strange:
        raise ValueError(f"an id is 32 hexadecimal digits, got {strange[0]!r}")
    return sorted(ids)


def _without(opened: Store, ids: list[str], run_id: str) -> Change:
    """Write the parts anew that hold one of the ids."""
    gone = pa.array(ids, pa.string())
    removed: list[Part] = []
    added: list[Part] = []
    for part in opened.parts:
        if part.first is None or part.last is None or part.last < ids[0] or ids[-1] < part.first:
            continue
        opened.check(part)
        table = parts.read(opened.path_of(part))
        kept = table.filter(pc.invert(pc.is_in(table["sentence_id"], value_set=gone)))
        if kept.num_rows == table.num_rows:
            continue
        removed.append(part)
        if kept.num_rows:
            path = rewritten_path(part, run_id)
            added.append(parts.write(kept, opened.location, path))
    rows = sum(part.rows for part in removed) - sum(part.rows for part in added)
    summary = {"job": "forget", "rows_removed": rows, "not_there": len(ids) - rows}
    return Change(
        schema=None,
        added=tuple(added),
        removed=tuple(removed),
        forgotten=tuple(ids),
        run_id=run_id,
        fingerprint=opened.fingerprint,
        summary=summary,
    )
