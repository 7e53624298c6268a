"""Job: who serves, since when, what the last nights decided, and what has failed since."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_jobs.nightly import history, pointer, records
from distill_jobs.nightly.history import Event
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.night import decided
from distill_jobs.nightly.records import FAILURE
from distill_jobs.nightly.settings import read_settings
from schemas.command import run_job


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatusConfig:
    """Say who serves and what the last nights decided; changes nothing."""

    settings: Path
    """The settings file of the nights."""
    nights: int = 10
    """How many of the last nights to show."""
    json: bool = False
    """Print JSON."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.nights < 1:
            raise ValueError(f"nights must be at least 1, got {self.nights}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and tell."""
    run_job(StatusConfig, argv, told)


def told(config: StatusConfig) -> Mapping[str, object] | str:
    """The status, as JSON values or as text."""
    found = status(Home(read_settings(config.settings).home), config.nights)
    return found if config.json else _text(found)


def status(home: Home, nights: int) -> dict[str, Any]:
    """Who serves, to whom a rollback leads, the changes, the nights.

    Args:
        home: of the nights.
        nights: how many of the last ones.
    """
    known = history.events(home.folder)
    serves = pointer.champion(home)
    stack = history.champions(known)
    below = stack[-2] if len(stack) > 1 else None
    decisions = decided(home)
    names = ("date", "decision", "sentence", "student", "by")
    last = []
    for date in home.nights()[-nights:]:
        failure = records.read(home.night(date), FAILURE)
        one = decisions.get(date)
        if one is not None:
            last.append({name: one[name] for name in names if name in one})
        else:
            said = failure["sentence"] if failure else "It was begun, and not ended: fire it again."
            last.append(
                {"date": date, "decision": "failed" if failure else "open", "sentence": said}
            )
    return {
        "champion": serves,
        "since": known[-1].time if known else None,
        "rollback_to": below,
        "rolled_back": list(history.rolled_back(known)),
        "changes": [_change(one) for one in known[-nights:]],
        "nights": last,
    }


def _change(event: Event) -> dict[str, Any]:
    found = dataclasses.asdict(event)
    return {name: value for name, value in found.items() if name != "about"}


def _text(found: Mapping[str, Any]) -> str:
    since = f", since {found['since']}" if found["since"] else ""
    lines = [f"serves    {found['champion'] or 'nobody'}{since}"]
    lines += [f"rollback  to {found['rollback_to'] or 'nobody'}"]
    lines += ["", "nights"]
    lines += [f"  {n['date']}  {n['decision']:<11} {n['sentence']}" for n in found["nights"]]
    lines += ["", "changes of the champion"]
    for one in found["changes"]:
        lines.append(f"  {one['time']}  {one['kind']:<11} {one['student']}  {one['reason']}")
    return "\n".join(lines)
