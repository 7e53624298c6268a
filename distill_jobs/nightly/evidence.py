"""A night, its challenger, the champion -> what the gate judges by."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_jobs.encoder import read_card
from distill_jobs.nightly import drift, history, new_rows, records
from distill_jobs.nightly.contest import CHALLENGER
from distill_jobs.nightly.gate import Facts
from distill_jobs.nightly.history import Event
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.new_rows import Rows
from distill_jobs.nightly.settings import NightlySettings
from schemas.idf import IdfTable
from schemas.prepare import preparer_folder, read_tokenizer
from schemas.store import open_store


def measure(
    settings: NightlySettings, version: int, dates: Collection[str], students: Mapping[str, Path]
) -> dict[str, Any]:
    """How far the night's rows are from the others, and how near the students are on them.

    The challenger was trained on them, the champion was not: its numbers say what drift costs.

    Args:
        settings: of the nights.
        version: of the store.
        dates: whose rows are new.
        students: folder of the export by name.

    Returns:
        By the names of `gate`'s bounds; ``students``: `drift.likeness` of each; the IDF table's
        moves under ``idf``. None where there is nothing to compare with.
    """
    store = open_store(settings.store, version)
    new, old = new_rows.new_and_old(store, settings.pooling, dates, settings.evaluation.seed)
    preparer = Path(preparer_folder(store.location, store.fingerprint))
    mean_H = (old if len(old) else new).teacher_NH.mean(axis=0)
    theirs = new.teacher_NH
    likeness = {}
    for name, folder in students.items():
        card = read_card(folder)
        shares_space = card.get("target", "teacher") == "teacher"
        mine = new_rows.vectors_of(folder, card, new)
        likeness[name] = drift.likeness(mine, theirs, mean_H if shares_space else None)
    found: dict[str, Any] = {
        "new_rows": len(new),
        "unknown_tokens": round(drift.unknown_tokens(new.tokens, _unknown(preparer)), 5),
        **_against(new, old),
        **_of_words(settings, dates),
        "cosine": likeness[CHALLENGER]["cosine"],
    }
    return {**found, "students": likeness}


def facts(
    student: str, compared: str | None, known: Sequence[Event], evidence: Mapping[str, Any]
) -> Facts:
    """Put together what the gate judges by.

    Args:
        student: id of the challenger.
        compared: id of the champion of the contest.
        known: the history as it is now.
        evidence: results of the stages ``contest`` and ``drift``.
    """
    contest, moved = evidence["contest"], evidence["drift"]
    mine = contest["models"][CHALLENGER]
    flawed = moved["students"][CHALLENGER]["flawed"]
    faults = [*mine["broken"]]
    faults += [f"{flawed} vectors of the night's rows are not finite"] if flawed else []
    minus = contest["minus_champion"]
    return Facts(
        challenger=student,
        compared=compared,
        champion=known[-1].student if known else None,
        rolled_back=history.rolled_back(known),
        retention=mine["retention"][0],
        minus_champion=None if minus is None or None in minus else tuple(minus),
        best_retention=_best(known, contest["sets"]),
        slower=contest["slower"],
        larger=contest["larger"],
        faults=tuple(faults),
        drift={name: value for name, value in moved.items() if not isinstance(value, dict)},
    )


def _best(known: Sequence[Event], sets: str) -> float | None:
    """The highest retention of a promoted student on the same labelled sets."""
    given_up = history.rolled_back(known)
    found = [
        one.about["retention"]
        for one in known
        if one.about.get("sets") == sets and one.student not in given_up
    ]
    return max((one for one in found if one is not None), default=None)


def _unknown(preparer: Path) -> int | None:
    """The id of the tokenizer's unknown token."""
    read = json.loads(read_tokenizer(preparer))
    name = read["model"].get("unk_token")
    found: int | None = read["model"]["vocab"].get(name) if name else None
    return found


def _against(new: Rows, old: Rows) -> dict[str, float | None]:
    if not len(old) or not len(new):
        return {"mean_tokens": None, "length_change": None, "centroid_shift": None}
    mean, before = new.lengths_N.mean(), old.lengths_N.mean()
    return {
        "mean_tokens": round(float(mean), 3),
        "length_change": round(float(abs(mean / before - 1)), 5),
        "centroid_shift": round(drift.centroid_shift(new.teacher_NH, old.teacher_NH), 5),
    }


def _of_words(settings: NightlySettings, dates: Collection[str]) -> dict[str, Any]:
    """How the night's words, and those of all nights since the table was pinned, are to it."""
    pinned = IdfTable.load(settings.idf)
    key = pinned.digest()
    home = Home(settings.home)
    tables = {}
    for date in home.nights():
        record = records.read(home.night(date), "idf")
        if record is not None and record["found"]["pinned"] == key:
            tables[date] = IdfTable.load(home.night(date) / record["found"]["table"])
    moved = drift.idf_change(pinned, [table for table in tables.values() if len(table.df)])
    tonight = [tables[date] for date in dates if date in tables]
    shares = [drift.unknown_words(one, pinned) for one in tonight if len(one.df)]
    return {
        "unknown_words": round(max(shares), 5) if shares else None,
        "idf_change": moved["idf_change"] if moved else None,
        "idf": moved or {},
    }
