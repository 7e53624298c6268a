"""A date's partition -> the night's word counts, and its new sentences in the store.

Each step is a stage of the date's night. A bad partition decides the night; anything else that goes
wrong fails it.
"""

import dataclasses
import datetime
from typing import Any

from distill_jobs.nightly import dates, partition, records
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.partition import Partition
from distill_jobs.nightly.pipeline_jobs import run_pipeline
from distill_jobs.nightly.records import StageFailed, run_stage
from distill_jobs.nightly.settings import NightlySettings
from schemas import store
from schemas.command import RetryLater
from schemas.fingerprint import digest
from schemas.idf import IdfTable
from schemas.store import open_store

_EMBEDDED = ("new", "reused", "sentences", "distinct", "forgotten", "quarantined", "bytes")
_TOLD = (*_EMBEDDED, "tokens", "teacher_seconds", "version", "already_done")
_COUNTED = ("sentences", "distinct", "n_docs", "words", "reused", "quarantined")


class BadPartition(ValueError):
    """The data of a date is at fault: nothing of it is used."""


@dataclasses.dataclass(frozen=True)
class Feeder:
    """What feeding needs to know.

    Attributes:
        settings: of the nights.
        lock: descriptor that processes inherit, see `Home.locked`.
        now: aware; decides whether a missing partition is late.
    """

    settings: NightlySettings
    lock: int
    now: datetime.datetime

    def arrived(self, date: str) -> Partition:
        """A date's files.

        Raises:
            RetryLater: if they are not there, and may still come.
            BadPartition: if they are too late, or one is empty.
        """
        found = partition.find(self.settings.corpus, date)
        if found.missing:
            end = dates.end_of(date, dates.zone_of(self.settings.timezone))
            last = end + datetime.timedelta(hours=self.settings.late_hours)
            if self.now < last:
                until = last.isoformat(timespec="minutes")
                raise RetryLater(
                    f"{date}: no file is {found.missing} yet; it may come until {until}"
                )
            hours = f"{self.settings.late_hours:g} hours after the end of the day"
            raise BadPartition(f"no file was {found.missing}, {hours}")
        if found.empty:
            raise BadPartition(f"{found.empty} is empty")
        return found

    def has(self, date: str) -> bool:
        """Whether a date has files."""
        return partition.find(self.settings.corpus, date).missing is None

    def identity(self, date: str) -> list[str]:
        """Which files a date has now, to see later whether they are the same."""
        return list(partition.find(self.settings.corpus, date).identity)

    def feed(self, date: str) -> dict[str, Any]:
        """Count and embed a date.

        Returns:
            What the teacher job said.

        Raises:
            RetryLater: as `arrived`.
            BadPartition: as `arrived`, or if there is no sentence or too many bad records.
            StageFailed: for everything else.
        """
        night = Home(self.settings.home).night(date)
        found = self.arrived(date)
        about = {"files": len(found.paths), "bytes": found.bytes, "identity": found.identity}
        run_stage(night, "partition", found.identity, lambda: about)
        run_stage(night, "store", found.identity, self._check_store)
        self._count(date, found)
        inputs = [*self._inputs(found), self.settings.pooling, self.settings.teacher_flags]
        return run_stage(night, "embed", inputs, lambda: self._embed(date, found))

    def _check_store(self) -> dict[str, Any]:
        """Before the night's data is judged: a damaged store is not its fault."""
        if not store.exists(self.settings.store):
            return {"rows": 0}
        opened = open_store(self.settings.store)
        opened.verify()
        return {"rows": opened.rows, "version": opened.version, "parts": len(opened.parts)}

    def _count(self, date: str, found: Partition) -> None:
        night = Home(self.settings.home).night(date)
        inputs = self._inputs(found)
        table = f"idf-{digest(inputs)[:8]}"

        def count() -> dict[str, Any]:
            words = ["idf", *self._common(found), "--out", str(night / table)]
            if store.exists(self.settings.store):
                words += ["--known", self.settings.store]
            said = self._run(words, date)
            pinned = IdfTable.load(self.settings.idf).digest()
            return {"table": table, "pinned": pinned, **_picked(said, _COUNTED)}

        try:
            run_stage(night, "idf", inputs, count)
        except StageFailed as failed:
            if not isinstance(failed.__cause__, ValueError):
                raise
            if partition.find(self.settings.corpus, date).identity != found.identity:
                raise RetryLater(f"the files of {date} are still being written") from failed
            raise BadPartition(str(failed.__cause__)) from failed

    def _embed(self, date: str, found: Partition) -> dict[str, Any]:
        settings = self.settings
        words = ["teacher", *self._common(found), "--idf", settings.idf]
        words += ["--teacher", settings.teacher, "--out", settings.store, "--date", date]
        said = self._run([*words, *settings.teacher_flags], date)
        return _picked(said, _TOLD)

    def _inputs(self, found: Partition) -> list[object]:
        """What decides both jobs; no folders, so that a home that was moved goes on."""
        return [found.identity, self.settings.fields, self.settings.max_bad_fraction]

    def _common(self, found: Partition) -> list[str]:
        """Flags of both jobs."""
        settings = self.settings
        words = ["--corpus", *found.paths, "--fields", *settings.fields]
        words += ["--max-bad-fraction", str(settings.max_bad_fraction)]
        own = settings.user_dictionary
        return [*words, "--user-dictionary", str(own)] if own else words

    def _run(self, words: list[str], date: str) -> dict[str, Any]:
        log = Home(self.settings.home).night(date) / f"{words[0]}.log"
        runner = ["--", *self.settings.runner_options] if self.settings.runner_options else []
        return run_pipeline([*words, *runner], log, self.lock)


def embedded(home: Home) -> dict[str, dict[str, Any]]:
    """What the teacher job said, by date, of all that were embedded."""
    known = {date: records.read(home.night(date), "embed") for date in home.nights()}
    return {date: dict(one["found"]) for date, one in known.items() if one is not None}


def _picked(said: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    rejected = {name: value for name, value in said.items() if name.startswith("rejected_")}
    return {name: said[name] for name in names if name in said} | rejected
