"""Every change of the champion, in order: one file each, which is never written again."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.fingerprint import read_sealed

PROMOTED, ROLLED_BACK, BY_HAND = "promoted", "rolled back", "moved by hand"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """A change of the champion.

    Attributes:
        number: counted from 1.
        time: UTC, ISO 8601.
        kind: one of the above.
        student: id of who serves from then on; for a link set by hand, what it says.
        before: who served until then, None for nobody.
        night: date of the night that promoted it, else None.
        reason: in words.
        about: what else is known of a promoted student.
    """

    number: int
    time: str
    kind: str
    student: str
    before: str | None
    night: str | None
    reason: str
    about: dict[str, Any] = dataclasses.field(default_factory=dict)


def read_event(path: Path) -> Event:
    """Read one.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it has changed since it was written.
    """
    content = read_sealed(path)
    return Event(**{name: value for name, value in content.items() if name != "digest"})


def events(home: Path) -> list[Event]:
    """All of them, oldest first."""
    return [read_event(path) for path in sorted((home / "history").glob("[0-9]*.json"))]


def promotion(known: Sequence[Event], student: str | None) -> Event | None:
    """The last promotion of a student."""
    found = [one for one in known if one.kind == PROMOTED and one.student == student]
    return found[-1] if found else None


def promotion_of(known: Sequence[Event], night: str) -> Event | None:
    """The promotion that a night came to."""
    return next((one for one in known if one.kind == PROMOTED and one.night == night), None)


def champions(known: Sequence[Event]) -> list[str]:
    """Who serves, last, on top of those that it took the place of and that were not given up.

    A promotion puts a student on top; a rollback to one of those below takes off all above it.

    >>> def one(kind, student):
    ...     return Event(number=1, time="", kind=kind, student=student, before=None, night=None,
    ...                  reason="")
    >>> champions([one(PROMOTED, "a"), one(PROMOTED, "b"), one(ROLLED_BACK, "a"),
    ...            one(PROMOTED, "c")])
    ['a', 'c']
    """
    stack: list[str] = []
    for event in known:
        if event.student in stack:
            del stack[stack.index(event.student) + 1 :]
        else:
            stack.append(event.student)
    return stack


def rolled_back(known: Sequence[Event]) -> tuple[str, ...]:
    """Students that a rollback took away and nobody has put back since."""
    given_up: list[str] = []
    for event in known:
        if event.kind == ROLLED_BACK and event.before:
            given_up.append(event.before)
        given_up = [one for one in given_up if one != event.student]
    return tuple(dict.fromkeys(given_up))
