"""The champion: one symbolic link, replaced by rename(2), so that a reader sees the old or the new.

The intention is written first, then the link is replaced, then the intention becomes the next file
of the history. Whoever holds the lock finishes what was left half done, so that link and history
agree again.
"""

import contextlib
import dataclasses
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from distill_jobs.nightly import history, records
from distill_jobs.nightly.history import Event
from distill_jobs.nightly.home import Home
from schemas import parts

_INTENTION = "intention"


def champion(home: Home) -> str | None:
    """The id of the student that serves, None if none does yet.

    Raises:
        ValueError: if the link leads nowhere.
    """
    try:
        target = os.readlink(home.champion)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"{home.champion} is no symbolic link: remove it") from error
    if not home.champion.is_dir():
        raise ValueError(f"{home.champion} leads to {target}, which is not there")
    students = os.path.realpath(home.folder / "students")
    real = os.path.realpath(home.champion)
    return os.path.basename(real) if os.path.dirname(real) == students else real


def settle(home: Home) -> list[Event]:
    """Finish what was left half done; returns the history. The caller holds the pointer's lock.

    A link that somebody moved by hand is taken as it is, and recorded.
    """
    for left in home.folder.glob(".champion.*"):
        left.unlink()
    shutil.rmtree(home.folder / "history.staging", ignore_errors=True)
    pending = home.folder / "history" / f"{_INTENTION}.json"
    with contextlib.suppress(FileNotFoundError):
        _carry_out(home, history.read_event(pending))
    known = history.events(home.folder)
    serves = champion(home)
    if serves is not None and (not known or known[-1].student != serves):
        before = known[-1].student if known else None
        _begin(home, history.BY_HAND, serves, before, reason="the link was found so")
        known = history.events(home.folder)
    return known


def move(  # noqa: PLR0913 - the keywords are what the history says
    home: Home,
    kind: str,
    student: str,
    *,
    night: str | None,
    reason: str,
    about: dict[str, Any] | None = None,
) -> Event:
    """Let a student serve. The caller holds the pointer's lock and has settled.

    Raises:
        FileNotFoundError: if there is no such student.
    """
    if not (home.student(student) / "config.json").is_file():
        raise FileNotFoundError(f"there is no student {student} in {home.folder / 'students'}")
    return _begin(
        home, kind, student, champion(home), night=night, reason=reason, about=about or {}
    )


def _begin(home: Home, kind: str, student: str, before: str | None, **more: Any) -> Event:
    known = history.events(home.folder)
    event = Event(
        number=known[-1].number + 1 if known else 1,
        time=records.now(),
        kind=kind,
        student=student,
        before=before,
        **{"night": None, **more},
    )
    records.write(home.folder / "history", _INTENTION, dataclasses.asdict(event))
    _carry_out(home, event)
    return event


def _carry_out(home: Home, event: Event) -> None:
    """Replace the link, then let the intention become history; doing it again changes nothing."""
    folder = home.folder / "history"
    recorded = folder / f"{event.number:06d}.json"
    if not recorded.exists():
        if event.kind != history.BY_HAND:
            _point(home, event.student)
        os.link(folder / f"{_INTENTION}.json", recorded)
        parts.sync(folder)
    (folder / f"{_INTENTION}.json").unlink()


def _point(home: Home, student: str) -> None:
    aside = home.folder / f".champion.{uuid.uuid4().hex}"
    aside.symlink_to(Path("students") / student)
    try:
        os.replace(aside, home.champion)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    parts.sync(home.folder)
