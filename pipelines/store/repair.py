"""Verb: embed the damaged parts of a store again, and only those.

The sentences, tokens and weights of a part lie in pages of their own, each with a checksum. Where
they are sound the vectors can be made again from them, wherever in the part the damage is. A part
of which even they are lost can be given up: the next teacher run over its corpus finds its
sentences missing, and embeds them.
"""

import dataclasses
import uuid
from collections.abc import Sequence

import pyarrow as pa
import tyro

from pipelines.embedding import Teacher
from pipelines.store.reembed import PREPARED, embed_again, load_teacher_of, target_of
from pipelines.store.rewriting import put_in_place, rewritten_path
from schemas import parts
from schemas.command import run_job
from schemas.commits import Change
from schemas.fingerprint import digest
from schemas.parts import Part
from schemas.store import Store, open_store
from schemas.text import sentence_id


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepairConfig:
    """Embed damaged parts again; sound ones are left alone."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""
    teacher: str
    """The store's teacher."""
    give_up_unreadable: bool = False
    """Drop parts whose sentences cannot be read; run the teacher job again to embed them."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and repair."""
    run_job(RepairConfig, argv, repair)


def repair(config: RepairConfig) -> dict[str, object]:
    """Mend a store's newest version.

    A mended part with the very bytes that were committed goes back to its place; other bytes (made
    on another machine) become a part of a new version.

    Returns:
        Parts damaged, restored to the byte, replaced, given up; and the version.

    Raises:
        ValueError: if a part cannot be read and is not to be given up, naming what to do.
        RetryLater: if another run committed meanwhile.
    """
    opened = open_store(config.location)
    damaged = [part for part, _ in opened.faults()]
    readable = {part: sentences_of(opened, part) for part in damaged}
    lost = [part for part in damaged if readable[part] is None]
    if lost and not config.give_up_unreadable:
        raise ValueError(_how_to_go_on(opened, lost))
    teacher = load_teacher_of(opened, config.teacher) if len(lost) < len(damaged) else None
    replaced: dict[Part, Part] = {}
    for part, rows in readable.items():
        if rows is not None and teacher is not None:
            mended = mend(opened, part, rows, teacher)
            if mended is not None:
                replaced[part] = mended
    version = opened.version
    if lost or replaced:
        version = _commit(opened, lost, replaced)
    parts.tidy(opened.location)
    return {
        "store": opened.location,
        "version": version,
        "damaged": len(damaged),
        "restored": len(damaged) - len(lost) - len(replaced),
        "replaced": len(replaced),
        "given_up": len(lost),
        "given_up_rows": sum(part.rows for part in lost),
    }


def sentences_of(opened: Store, part: Part) -> pa.Table | None:
    """What the vectors of a damaged part can be made from again; None if that is damaged too."""
    path = opened.path_of(part)
    mute = opened.fingerprint["keep_text"] != "True"
    names = [name for name in PREPARED if not (mute and name == "text")]
    try:
        with parts.open_part(path) as file:
            table = file.read(list(names), use_threads=False)
    except (OSError, ValueError):
        return None
    if not table.num_rows or set(table.column_names) != set(names):
        return None
    keys = table["sentence_id"].to_pylist()
    whole = table.num_rows == part.rows and (keys[0], keys[-1]) == (part.first, part.last)
    if whole and "text" in table.column_names:
        whole = keys == [sentence_id(text) for text in table["text"].to_pylist()]
    nulls = any(table[name].null_count for name in table.column_names)
    return table if whole and not nulls else None


def mend(opened: Store, part: Part, rows: pa.Table, teacher: Teacher) -> Part | None:
    """Embed a part's rows again; None if its old bytes came out and are back in place."""
    target = target_of(opened, part, "repair")
    table = embed_again(rows, teacher, target)
    staging = f"{opened.location}.staging/repair-{uuid.uuid4().hex}"
    aside = parts.write(table, staging, "mended.parquet")
    content = parts.read_bytes(f"{staging}/{aside.path}")
    parts.remove_folder(staging)
    same = aside.sha256 == part.sha256
    path = part.path
    if not same:
        path = rewritten_path(part, "repair").replace("*", aside.sha256[:8])
    parts.write_bytes(content, opened.location, path)
    return None if same else dataclasses.replace(aside, path=path)


def _commit(opened: Store, lost: list[Part], replaced: dict[Part, Part]) -> int:
    removed = (*lost, *replaced)
    rows = sum(part.rows for part in lost)
    summary = {"job": "repair", "replaced": len(replaced), "given_up_rows": rows}
    change = Change(
        schema=None,
        added=tuple(replaced.values()),
        removed=removed,
        run_id=digest(["repair", opened.version, sorted(part.sha256 for part in removed)]),
        fingerprint=opened.fingerprint,
        summary=summary,
    )
    return put_in_place(opened, change)


def _how_to_go_on(opened: Store, lost: list[Part]) -> str:
    dates = sorted({str(part.date) for part in lost})
    paths = ", ".join(part.path for part in lost[:5])
    return (
        f"{len(lost)} parts of {opened.location} are missing or cannot be read ({paths}): "
        f"{sum(part.rows for part in lost):,} sentences of {', '.join(dates)}. With "
        "--give-up-unreadable they are dropped from a new version; then run the teacher command "
        "of that date again over its corpus, with the store's present --idf: it embeds what is "
        "missing"
    )
