"""Which students and trainings stay, and the removal of the others.

The newest promoted ones stay, always with the champion and the one below it that a rollback leads
to; so does the newest challenger, for whoever wants to see why it was not promoted.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from distill_jobs.nightly import history, pointer
from distill_jobs.nightly.history import Event
from distill_jobs.nightly.home import Home
from schemas import pins, store

_REMOVED = ".removed-"


def kept(known: Sequence[Event], number: int, newest: str | None) -> set[str]:
    """Ids that stay.

    Args:
        known: the history.
        number: of promoted students to keep, at least 2.
        newest: the newest challenger.
    """
    stack = history.champions(known)
    promoted = [one.student for one in known if one.kind == history.PROMOTED]
    last = list(dict.fromkeys(reversed([*promoted, *stack])))[:number]
    return {*last, *stack[-2:], *([newest] if newest else [])}


def remove_old(home: Home, location: str, number: int, newest: str | None) -> list[str]:
    """Remove what does not stay, and the pins that it had on the store; returns the ids."""
    places = [home.folder / "students", home.folder / "trainings"]
    with home.pointing():
        known = pointer.settle(home)
        stays = kept(known, number, newest)
        folders = [folder for place in places for folder in place.glob("[0-9]*-*")]
        old = [folder for folder in folders if folder.name not in stays and folder.is_dir()]
        _unpin(location, old)
        for folder in old:
            # Away in one step: nobody meets a half-removed student under its name.
            folder.rename(folder.with_name(f"{_REMOVED}{folder.name}"))
    for place in places:
        for left in place.glob(".*"):  # also of a removal or an export that was killed
            shutil.rmtree(left, ignore_errors=True)
    return sorted({folder.name for folder in old})


def remove_leftovers(home: Home, date: str) -> None:
    """Remove what killed processes have left beside a night's files; the caller holds the lock."""
    night = home.night(date)
    for left in (*night.parent.glob("*.staging"), *night.glob("*.staging")):
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(home.folder.with_name(f"{home.folder.name}.staging"), ignore_errors=True)


def _unpin(location: str, folders: Sequence[Path]) -> None:
    gone = {str(folder.absolute()) for folder in folders}
    for pin in pins.pins(location) if store.exists(location) else []:
        if pin.by in gone:
            pins.unpin(location, pin)
