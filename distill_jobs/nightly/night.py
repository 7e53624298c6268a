"""One night, from its partition to its decision; every stage is done once, and then found done."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jobs.export import ExportConfig, export
from distill_jobs.nightly import catch_up, history, pointer, records
from distill_jobs.nightly.contest import CHALLENGER, CHAMPION, contest
from distill_jobs.nightly.evidence import facts, measure
from distill_jobs.nightly.feeding import BadPartition, Feeder, embedded
from distill_jobs.nightly.gate import judge
from distill_jobs.nightly.history import Event
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.records import DECISION, run_stage
from distill_jobs.nightly.settings import NightlySettings
from distill_jobs.nightly.training import Challenge, challenge, shape
from distill_jobs.train import distil
from schemas.store import open_store

_TRAINED = (
    "training_rows",
    "held_out_rows",
    "steps",
    "spearman",
    "cosine",
    "unexplained",
    "seconds",
)


@dataclasses.dataclass(frozen=True)
class Night:
    """Holds what the stages of a night share."""

    settings: NightlySettings
    home: Home
    date: str
    feeder: Feeder

    def decide(self) -> dict[str, Any]:
        """Do what is left of the night; returns its decision, which is on disk then.

        Raises:
            RetryLater: if its partition may still come.
            BadPartition: if it is at fault; the decision says so.
            StageFailed: for everything else.
        """
        decisions = decided(self.home)
        try:
            self.feeder.arrived(self.date)  # before anything is done for nights that were missed
            if catch_up.is_late(self.date, decisions):
                self.feeder.feed(self.date)
                said = "its rows are in the store, and count for the next night"
                return self._close(catch_up.LATE, f"The partition came late: {said}.", dates=[])
            self._catch_up(decisions)
            self.feeder.feed(self.date)
        except BadPartition as error:
            self._reject(self.date, str(error))
            raise
        return self._judge_new(catch_up.untrained(embedded(self.home), decided(self.home)))

    def _catch_up(self, decisions: Mapping[str, Mapping[str, Any]]) -> None:
        """Embed the nights that were missed, each as a version of its own."""
        for day in catch_up.missed(self.date, decisions, self.feeder.has):
            try:
                self.feeder.feed(day)
            except BadPartition as error:
                self._reject(day, str(error))

    def _reject(self, day: str, reason: str) -> None:
        found = self.feeder.identity(day)
        said = f"The partition of {day} was rejected: {reason}"
        content = {"decision": catch_up.REJECTED, "sentence": said, "partition": found}
        records.write(
            self.home.night(day), DECISION, {"date": day, "time": records.now(), **content}
        )

    def _judge_new(self, dates: Sequence[str]) -> dict[str, Any]:
        """Train on the rows of these dates and all others, compare, decide."""
        fed = embedded(self.home)
        if not sum(fed[day]["new"] for day in dates):
            said = "Nothing was new: there is nothing to train on."
            return self._close(catch_up.KEPT, said, dates=dates)
        with self.home.pointing():
            known = pointer.settle(self.home)
        done = history.promotion_of(known, self.date)
        if done is not None:  # by a try that was killed before it wrote the decision
            return self._promoted(done)
        compared = known[-1].student if known else None
        version = max(one["version"] for one in fed.values())
        plan = challenge(self.settings, dates, version, history.promotion(known, compared))
        night = self.home.night(self.date)
        about = {"student": plan.student, "begins_from": plan.begins_from, "why": plan.why_not}
        run_stage(night, "train", plan.student, lambda: about | _train(plan))
        run_stage(night, "export", plan.student, lambda: self._export(plan))
        evidence = self._gather(plan, compared, version, dates)
        return self._gate(plan, compared, evidence, dates)

    def _export(self, plan: Challenge) -> dict[str, Any]:
        out = self.home.student(plan.student)
        card = export(ExportConfig(training=plan.config.out, out=out))
        return {
            name: card[name] for name in ("export_id", "parameters", "file_bytes", "store_rows")
        }

    def _gather(
        self, plan: Challenge, compared: str | None, version: int, dates: Sequence[str]
    ) -> dict[str, Any]:
        """What the gate judges by."""
        night, asked = self.home.night(self.date), self.settings.evaluation
        students = {CHAMPION: self.home.champion.resolve()} if compared else {}
        students[CHALLENGER] = self.home.student(plan.student)
        inputs = [plan.student, compared, dataclasses.astuple(asked)]
        found = run_stage(
            night,
            "contest",
            inputs,
            lambda: contest(self.settings, students, night / "evaluation"),
        )
        moved = run_stage(
            night,
            "drift",
            [*inputs, version, list(dates)],
            lambda: measure(self.settings, version, dates, students),
        )
        return {"contest": found, "drift": moved}

    def _gate(
        self, plan: Challenge, compared: str | None, evidence: dict[str, Any], dates: Sequence[str]
    ) -> dict[str, Any]:
        """Decide, and promote in the same breath: nobody else moves the champion meanwhile."""
        with self.home.pointing():
            known = pointer.settle(self.home)
            asked = facts(plan.student, compared, known, evidence)
            ruled = judge(self.settings.gate, asked)
            rulings = ruled.plain()
            if not ruled.promote:
                said = f"The champion stays: {'; '.join(ruled.failed)}."
                kept: dict[str, Any] = {"student": plan.student, "rulings": rulings}
                return self._close(catch_up.KEPT, said, dates=dates, **kept)
            about: dict[str, Any] = {
                "rulings": rulings,
                "dates": list(dates),
                "retention": asked.retention,
                "sets": evidence["contest"]["sets"],
                "shape": shape(self.settings),
            }
            said = _why(plan.student, evidence)
            done = pointer.move(
                self.home, history.PROMOTED, plan.student, night=self.date, reason=said, about=about
            )
        return self._promoted(done)

    def _promoted(self, done: Event) -> dict[str, Any]:
        more: dict[str, Any] = {"student": done.student, "before": done.before}
        more["rulings"] = done.about["rulings"]
        return self._close(catch_up.PROMOTED, done.reason, dates=done.about["dates"], **more)

    def _close(
        self, decision: str, said: str, *, dates: Sequence[str], **more: Any
    ) -> dict[str, Any]:
        """Write the decision, and that the nights that were caught up with are part of it."""
        for day in dates:
            if day != self.date and records.read(self.home.night(day), DECISION) is None:
                told = f"Its rows were judged with those of {self.date}."
                content = {"decision": catch_up.SUPERSEDED, "sentence": told, "by": self.date}
                content |= {"date": day, "time": records.now()}
                records.write(self.home.night(day), DECISION, content)
        about = {"date": self.date, "decision": decision, "time": records.now(), "sentence": said}
        found: dict[str, Any] = about | {
            "dates": list(dates),
            "partition": self.feeder.identity(self.date),
            **more,
        }
        records.write(self.home.night(self.date), DECISION, found)
        return found


def decided(home: Home) -> dict[str, dict[str, Any]]:
    """The decisions of all nights that have one, by date."""
    known = {date: records.read(home.night(date), DECISION) for date in home.nights()}
    return {date: one for date, one in known.items() if one is not None}


def _why(student: str, evidence: Mapping[str, Any]) -> str:
    found = evidence["contest"]
    kept = found["models"][CHALLENGER]["retention"][0]
    said = f"{student} was promoted: it keeps {kept:.1%} of its teacher"
    minus = found["minus_champion"]
    if minus is None:
        return f"{said}, and there was no champion."
    value, low, high = minus
    return f"{said}, {value:+.4f} ({low:+.4f} to {high:+.4f}) beside the champion."


def _train(plan: Challenge) -> dict[str, Any]:
    """Train, on a store that is first seen to be whole: a damaged part is told by its name."""
    open_store(plan.config.store, plan.config.store_version).verify()
    found = distil(plan.config)
    return {name: found[name] for name in _TRAINED if name in found}
