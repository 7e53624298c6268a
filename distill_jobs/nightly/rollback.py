"""Job: let an earlier student serve again, at once, even while a night runs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from distill_jobs.encoder import read_card
from distill_jobs.nightly import history, pointer
from distill_jobs.nightly.home import Home, checked_id
from distill_jobs.nightly.settings import read_settings
from schemas.command import run_job


@dataclasses.dataclass(frozen=True, kw_only=True)
class RollbackConfig:
    """Let the student before the champion serve again, or another one that is kept."""

    settings: Path
    """The settings file of the nights."""
    to: str | None = None
    """Id of the student; by default the one whose place the champion took."""
    reason: str = "asked for"
    """Kept with the change."""

    def __post_init__(self) -> None:
        """Reject an id that is none."""
        if self.to is not None:
            checked_id(self.to)


def main(argv: Sequence[str]) -> None:
    """Read the flags and roll back."""
    run_job(RollbackConfig, argv, rollback)


def rollback(config: RollbackConfig) -> dict[str, object]:
    """Roll back.

    Returns:
        Who serves, who served, and the number of the change.

    Raises:
        ValueError: if there is nobody to go back to, or the student has changed since its export.
        FileNotFoundError: if there is no such student any more.
    """
    home = Home(read_settings(config.settings).home)
    with home.pointing():
        known = pointer.settle(home)
        before = pointer.champion(home)
        stack = history.champions(known)
        if config.to is None and len(stack) < 2:
            raise ValueError(f"there is nobody to go back to: only {before or 'nobody'} has served")
        to = config.to or stack[-2]
        if to == before:
            raise ValueError(f"{to} serves already")
        read_card(home.student(to))  # its weights are as they were exported
        moved = pointer.move(home, history.ROLLED_BACK, to, night=None, reason=config.reason)
    return {"champion": moved.student, "before": moved.before, "change": moved.number}
