"""A night's records -> plain values for its page, and for its line on the page of all nights."""

from collections.abc import Mapping
from typing import Any

from distill_jobs.nightly import records
from distill_jobs.nightly.contest import CHALLENGER, CHAMPION
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.records import DECISION, FAILURE

STAGES = ("partition", "store", "idf", "embed", "train", "export", "contest", "drift")
_IN = ("files", "bytes", "sentences", "distinct", "new", "reused", "forgotten", "quarantined")
_COLUMNS = ("retention", "mean", "alignment", "microseconds", "bytes")
_MOVED = (
    *("unknown_tokens", "unknown_words", "length_change", "idf_change", "centroid_shift"),
    "cosine",
)


def night(home: Home, date: str) -> dict[str, Any]:
    """All that the page of a night says.

    Returns:
        ``decision``, ``sentence``, ``good``; ``rulings``; ``came_in``: a line per date; ``cost``:
        a line per stage; ``students``: a line per number; ``drift``; ``evaluation``: whether there
        is a report of it.
    """
    known = {name: records.read(home.night(date), name) for name in STAGES}
    decision, failure = (records.read(home.night(date), name) for name in (DECISION, FAILURE))
    told = decision or failure or {}
    dates = (decision or {}).get("dates") or [date]
    contest, moved = _found(known, "contest"), _found(known, "drift")
    return {
        "date": date,
        "decision": told.get("decision", "failed" if failure else "open"),
        "sentence": told.get("sentence", "The night was begun, and has not ended."),
        "good": decision is not None and decision["decision"] != "rejected",
        "rulings": told.get("rulings", []),
        "came_in": [(day, [_shown(one) for one in _came_in(home, day)]) for day in dates],
        "in_columns": _IN,
        "cost": [
            (name, one["began"], one["seconds"]) for name, one in known.items() if one is not None
        ],
        "training": {
            n: _shown(v) for n, v in _found(known, "train").items() if v not in (None, "")
        },
        "students": _students(contest, moved),
        "minus": contest.get("minus_champion"),
        "drift": [(name.replace("_", " "), _shown(moved.get(name))) for name in _MOVED],
        "new_rows": moved.get("new_rows"),
        "most_moved": moved.get("idf", {}).get("most_moved", {}),
        "evaluation": (home.night(date) / "evaluation" / "report.html").is_file(),
    }


def row(home: Home, date: str) -> dict[str, Any]:
    """One night's line: numbers, None where there are none."""
    page = night(home, date)
    known = {name: records.read(home.night(date), name) for name in STAGES}
    models = _found(known, "contest").get("models", {})
    moved = _found(known, "drift")
    return {
        "date": date,
        "decision": page["decision"],
        "sentence": page["sentence"],
        "page": f"nights/{date}/night.html",
        "new": _found(known, "embed").get("new"),
        "reused": _found(known, "embed").get("reused"),
        "seconds": {name: seconds for name, _, seconds in page["cost"]},
        "champion": _retention(models, CHAMPION),
        "challenger": _retention(models, CHALLENGER),
        "minus": page["minus"],
        **{name: moved.get(name) for name in _MOVED},
        "before": moved.get("students", {}).get(CHAMPION, {}).get("cosine"),
    }


def _found(known: Mapping[str, dict[str, Any] | None], stage: str) -> dict[str, Any]:
    one = known.get(stage)
    return dict(one["found"]) if one else {}


def _came_in(home: Home, day: str) -> list[Any]:
    found: dict[str, Any] = {}
    for stage in ("partition", "embed"):
        found |= _found({stage: records.read(home.night(day), stage)}, stage)
    return [found.get(name) for name in _IN]


def _students(contest: Mapping[str, Any], moved: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Lines of champion and challenger: what, then a text for each."""
    models = contest.get("models", {})
    if not models:
        return []
    names = [name for name in (CHAMPION, CHALLENGER) if name in models]
    lines = []
    for column in _COLUMNS:
        own = contest.get(column, {})
        values = [own.get(name, models[name].get(column)) for name in names]
        lines.append((column, [_shown(one) for one in values]))
    for column in ("cosine", "spearman"):
        values = [moved.get("students", {}).get(name, {}).get(column) for name in names]
        lines.append((f"{column}, new rows", [_shown(one) for one in values]))
    return [("", names), *lines]


def _retention(models: Mapping[str, Any], name: str) -> list[float | None] | None:
    return models[name]["retention"] if name in models else None


def _shown(value: object) -> str:
    if isinstance(value, list) and len(value) == 3 and None not in value:
        return f"{value[0]:.4f} ({value[1]:.4f} to {value[2]:.4f})"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4f}"
    return f"{value:,}" if type(value) is int else "–" if value is None else str(value)
