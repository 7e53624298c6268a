"""The home folder of nightly retraining: where things lie, and who may change them.

champion            link to students/<id>: what is served
students/<id>/      exports; an id is the date and 8 digits of the training's settings
trainings/<id>/     their trainings, which the next night begins from
nights/<date>/      a JSON file for each stage that is done, logs, evaluation, night.html
history/<n>.json    every change of the champion, in order; never changed again
nights.html         the last nights in one page
lock, pointer.lock  held by a night that runs; while the champion changes
"""

import contextlib
import dataclasses
import fcntl
import re
import time
from collections.abc import Iterator
from pathlib import Path

from distill_jobs.nightly import dates
from schemas.command import RetryLater

_POLL = 0.2  # seconds
_ID = re.compile(r"\d{4}-\d\d-\d\d-[0-9a-f]{8}")


@dataclasses.dataclass(frozen=True)
class Home:
    """Names what lies in a home folder; makes nothing."""

    folder: Path

    @property
    def champion(self) -> Path:
        """The link that readers follow."""
        return self.folder / "champion"

    def night(self, date: str) -> Path:
        """Where a night's records are."""
        return self.folder / "nights" / dates.checked(date)

    def nights(self) -> list[str]:
        """The dates of all nights that there is something of."""
        found = (self.folder / "nights").glob("????-??-??")
        return sorted(path.name for path in found if path.is_dir())

    def student(self, id: str) -> Path:
        """The folder of an export."""
        return self.folder / "students" / checked_id(id)

    def training(self, id: str) -> Path:
        """The folder of its training."""
        return self.folder / "trainings" / checked_id(id)

    @contextlib.contextmanager
    def locked(self, minutes: float) -> Iterator[int]:
        """Be the only night that runs; yields the descriptor that holds the lock.

        A process that inherits the descriptor holds the lock too, so that what a killed night
        started is not met by the next one.

        Raises:
            RetryLater: if another night still runs after so many minutes.
        """
        with _held(self.folder / "lock", 60 * minutes) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def pointing(self) -> Iterator[None]:
        """Be the only one that changes the champion; nobody holds this for long."""
        with _held(self.folder / "pointer.lock", 60):
            yield


def checked_id(id: str) -> str:
    """The id of a student as it must be written: it becomes a folder.

    Raises:
        ValueError: for anything else.
    """
    if not _ID.fullmatch(id):
        raise ValueError(f"a student's id is like 2026-11-21-0a1b2c3d, got {id!r}")
    return id


@contextlib.contextmanager
def _held(path: Path, seconds: float) -> Iterator[int]:
    """Hold a lock on a file; the system lets go of it when the last process that holds it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + seconds
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise RetryLater(
                        f"another process holds {path}, after {seconds:,.0f} seconds of waiting"
                    ) from None
            time.sleep(_POLL)
        yield file.fileno()
