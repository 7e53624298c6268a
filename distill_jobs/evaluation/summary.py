"""Result -> what `evaluate` prints as JSON: numbers, differences and a verdict on each student."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from distill_jobs.evaluation import guards
from distill_jobs.evaluation.estimates import Difference, Estimate
from distill_jobs.evaluation.result import ALL, NEIGHBOURS, Facts, Result


def summarise(result: Result, report: str, table: str) -> dict[str, object]:
    """All that does not depend on how much a student must keep; `judged` adds that.

    Args:
        result: what was found.
        report: where the page is.
        table: where the rows are.
    """
    return {
        "report": report,
        "evaluation": table,
        "reference": result.reference,
        "best": result.best_student(),
        "rows": len(result.rows()),
        "overlaps": {s.name: s.overlaps for s in result.sets if s.overlaps},
        "models": {name: _model(result, name) for name in result.models},
    }


def judged(summary: Mapping[str, Any], least: float) -> dict[str, Any]:
    """Add a verdict to each student, `faults` by student, and who is not shown to be worse.

    >>> kept = {"retention": [0.93, 0.92, 0.94], "broken": []}
    >>> found = judged({"models": {"mine": kept, "teacher/idf": {}}}, 0.95)
    >>> found["models"]["mine"]["verdict"], found["faults"]
    ('does not stand in', {'mine': ['it keeps 93.0%, less than 95.0%']})
    """
    models: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    for name, found in summary["models"].items():
        if "broken" not in found:  # no student
            models[name] = found
            continue
        known = [*found["broken"], *guards.kept_too_little(found["retention"][0], least)]
        faults |= {name: known} if known else {}
        models[name] = {**found, "verdict": "does not stand in" if known else "stands in"}
    as_good = [
        name
        for name, found in models.items()
        if found.get("verdict") == "stands in"
        and found.get("minus_best", {}).get("verdict") != "worse"
    ]
    return {**summary, "models": models, "as_good_as_best": as_good, "faults": faults}


def _model(result: Result, name: str) -> dict[str, object]:
    found: dict[str, object] = {
        "mean": round(result.mean(name).value, 4),
        "retention": _plain(result.mean_retention(name)),
    }
    for kind, (_, kept) in result.by_kind(name).items():
        found[f"kept_{kind}"] = _plain(kept)
    if name != result.reference:
        found["minus_reference"] = _apart(result.difference(name, result.reference))
    best = result.best_student()
    if best and name != best and name in result.students:
        found["minus_best"] = _apart(result.difference(name, best))
    score, likeness = result.score(name, (ALL, NEIGHBOURS)), result.likeness.get(name)
    if score and likeness:
        found[NEIGHBOURS] = _plain(Estimate(score.value, *score.interval))
        found["pair_cosine"] = _number(likeness.pair_cosine)
        found["first_component"] = _number(likeness.first_component)
    facts = dataclasses.asdict(result.facts.get(name, Facts()))
    found |= {key: value for key, value in facts.items() if value is not None}
    if name in result.students:
        found["broken"] = result.broken(name)
    return found


def _apart(difference: Difference) -> dict[str, object]:
    return {"value": _plain(difference), "verdict": difference.verdict}


def _plain(estimate: Estimate) -> list[float | None]:
    """Value, low, high."""
    return [_number(number) for number in dataclasses.astuple(estimate)]


def _number(number: float) -> float | None:
    """JSON has no NaN."""
    return round(number, 4) if math.isfinite(number) else None
