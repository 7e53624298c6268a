"""Which nights were missed, and whose rows no training has seen yet: plain functions of records."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from distill_jobs.nightly import dates

PROMOTED, KEPT = (
    "promoted",
    "kept",
)  # decisions of nights that judged a challenger, or had nothing new
REJECTED = "rejected"  # the partition is at fault
SUPERSEDED = "superseded"  # embedded by, and decided with, a later night
LATE = "late"  # came after a later night had been decided: its rows count for the next one


def missed(date: str, decided: Collection[str], is_there: Callable[[str], bool]) -> list[str]:
    """Dates between the first night and this one that have a partition and no decision, in order.

    >>> missed("2026-11-25", ["2026-11-21"], lambda date: date != "2026-11-23")
    ['2026-11-22', '2026-11-24']
    """
    if not decided:
        return []
    days = dates.between(min(decided), date)
    return [day for day in days if day not in decided and is_there(day)]


def is_late(date: str, decisions: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a later night has been decided already, so that this one's rows are only stored."""
    judged = [day for day, one in decisions.items() if one["decision"] in (PROMOTED, KEPT)]
    return any(day > date for day in judged)


def untrained(embedded: Collection[str], decisions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Dates whose rows are in the store, but were new to none of the challengers so far.

    >>> untrained(["2026-11-20", "2026-11-21"], {"2026-11-21": {"dates": ["2026-11-21"]}})
    ['2026-11-20']
    """
    seen = {day for one in decisions.values() for day in one.get("dates", ())}
    return sorted(set(embedded) - seen)
