"""Job: one night of retraining, for a scheduler to fire; fired again, it finds the night done."""

import dataclasses
import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from distill_jobs.nightly import catch_up, dates, keep, pointer, records, report
from distill_jobs.nightly.feeding import BadPartition, Feeder
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.night import Night, decided
from distill_jobs.nightly.records import FAILURE, StageFailed
from distill_jobs.nightly.settings import NightlySettings, read_settings
from schemas.command import OutOfMemory, RetryLater, redact, run_job

_KINDS = (ValueError, PermissionError, FileExistsError, NotADirectoryError, OSError)
_TOLD = (*_KINDS, RetryLater, OutOfMemory, MemoryError)  # what has an exit code


@dataclasses.dataclass(frozen=True, kw_only=True)
class NightlyConfig:
    """Retrain on a day's partition, and promote the new student only if it is no worse."""

    settings: Path
    """The settings file; deploy/nightly.toml explains it."""
    date: str | None = None
    """Logical date, YYYY-MM-DD; by default yesterday in the settings' time zone."""

    def __post_init__(self) -> None:
        """Reject a date that is none."""
        if self.date is not None:
            dates.checked(self.date)


def main(argv: Sequence[str]) -> None:
    """Read the flags and run the night."""
    run_job(NightlyConfig, argv, nightly)


def nightly(config: NightlyConfig) -> dict[str, object]:
    """Run a night, or find that it has been decided.

    Returns:
        The decision, in one sentence and by rule; who serves; where the report is.

    Raises:
        ValueError: if the partition is bad, or a stage refused its data; the champion stays.
        RetryLater: if the partition may still come, or another night runs.
    """
    settings = read_settings(config.settings)
    now = datetime.datetime.now(datetime.UTC)
    date = config.date or dates.yesterday(now, dates.zone_of(settings.timezone))
    return fire(settings, date, now)


def fire(settings: NightlySettings, date: str, now: datetime.datetime) -> dict[str, object]:
    """As `nightly`, for a date, at a time."""
    home = Home(settings.home)
    if date >= now.astimezone(dates.zone_of(settings.timezone)).date().isoformat():
        raise ValueError(f"{date} is not over yet in {settings.timezone}")
    with home.locked(settings.wait_minutes) as lock:
        feeder = Feeder(settings, lock, now)
        known = decided(home).get(date)
        if known is not None and _reopened(home, date, known, feeder):
            known = None
        decision = known or _run(Night(settings, home, date, feeder))
        records.forget(home.night(date), FAILURE)
        challengers = [one["student"] for one in decided(home).values() if "student" in one]
        keep.remove_old(home, settings.store, settings.keep, max(challengers, default=None))
        keep.remove_leftovers(home, date)
        report.write(settings, date)
        if decision["decision"] == catch_up.REJECTED:
            raise BadPartition(decision["sentence"])
        return _told(home, decision, already_done=known is not None)


def _run(night: Night) -> dict[str, Any]:
    """Decide a night; what goes wrong is recorded, reported, and raised."""
    try:
        return night.decide()
    except BadPartition:
        return decided(night.home)[night.date]
    except StageFailed as failed:
        _fail(night, failed.stage, failed.__cause__ or failed)


def _fail(night: Night, stage: str, error: BaseException) -> NoReturn:
    serves = os.path.basename(os.path.realpath(night.home.champion))
    stays = f"{serves} still serves" if night.home.champion.exists() else "nobody serves yet"
    said = redact(f"the night of {night.date} failed at stage {stage}, {stays}: {error}")
    if isinstance(error, RetryLater):
        raise RetryLater(said) from error
    content = {"stage": stage, "time": records.now(), "sentence": f"{said[0].upper()}{said[1:]}"}
    records.write(night.home.night(night.date), FAILURE, content)
    report.write(night.settings, night.date)
    for kind in _TOLD:
        if isinstance(error, kind):
            raise kind(said) from error
    raise error


def _reopened(home: Home, date: str, known: dict[str, Any], feeder: Feeder) -> bool:
    """Whether a rejected partition has been replaced; what was recorded of it is put aside."""
    if known["decision"] != catch_up.REJECTED or known["partition"] == feeder.identity(date):
        return False
    folder = home.night(date)
    number = 1 + len(list(folder.parent.glob(f"{date}.*")))
    folder.rename(folder.with_name(f"{date}.{number}"))
    return True


def _told(home: Home, decision: dict[str, Any], *, already_done: bool) -> dict[str, object]:
    with home.pointing():
        pointer.settle(home)
        serves = pointer.champion(home)
    names = ("date", "decision", "sentence", "student", "dates", "by", "rulings")
    told: dict[str, object] = {name: decision[name] for name in names if name in decision}
    place = str(home.night(decision["date"]) / report.NIGHT)
    return {**told, "champion": serves, "report": place, "already_done": already_done}
