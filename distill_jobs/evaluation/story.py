"""Result -> what a reader needs in a minute, in plain sentences: how close, where not, the cost."""

import math

from distill_jobs.evaluation.estimates import difference
from distill_jobs.evaluation.result import ALL, NEIGHBOURS, Column, Facts, Result
from distill_jobs.evaluation.scoreboard import apart, megabytes, percent, share

NAMED = 5  # students in one sentence


def story(result: Result) -> list[tuple[str, str]]:
    """Question and answer, of the student that keeps most; nothing without a student."""
    best = result.best_student()
    if best is None:
        return []
    return [
        ("How close", _how_close(result, best)),
        ("Where not", _where_not(result, best)),
        ("What it costs", _what_it_costs(result, best)),
        ("What to choose", _what_to_choose(result, best)),
    ]


def losses(result: Result, student: str, number: int = 3) -> list[tuple[str, str, str, bool]]:
    """Where a student keeps least: task, metric, share, whether it is beyond chance."""
    found = []
    for column in result.columns():
        score = result.score(student, column)
        kept = result.retention(score) if score else None
        if kept and not math.isnan(kept.value):
            found.append((kept.value, *column, share(kept), kept.high < 1))
    return [row[1:] for row in sorted(found)[:number]]


def equal_baseline(result: Result, student: str) -> str | None:
    """A baseline that is not shown to be worse than the student: then the sets are easy."""
    for name in result.models:
        if name.startswith("baseline/") and result.difference(name, student).verdict != "worse":
            return name
    return None


def _how_close(result: Result, best: str) -> str:
    reference, facts = result.reference, result.facts[best]
    means = f"{result.mean(best).value:.3f} against {result.mean(reference).value:.3f}"
    said = (
        f"{best} keeps {share(result.mean_retention(best))} of {reference}'s mean over "
        f"{_count(len(result.columns()), 'task metric')}: {means}, a difference of "
        f"{apart(result.difference(best, reference))}."
    )
    kinds = [f"{kind} {percent(kept.value)}" for kind, (_, kept) in result.by_kind(best).items()]
    if len(kinds) > 1:
        said += f" By kind of task it keeps: {', '.join(kinds)}."
    if facts.alignment is not None:
        said += f" The mean cosine of its vectors to the teacher's is {facts.alignment:.3f}."
    score = result.score(best, (ALL, NEIGHBOURS))
    if score:
        said += f" Of a text's 10 nearest texts, {percent(score.value)} are the teacher's too."
    return said


def _where_not(result: Result, best: str) -> str:
    verdicts = [_verdict(result, best, column) for column in result.columns()]
    worse, better = verdicts.count("worse"), verdicts.count("better")
    said = f"It is shown to be worse on {worse} and better on {better} of these {len(verdicts)}."
    least = losses(result, best, 1)
    if least:
        task, metric, kept, _ = least[0]
        said += f" It keeps least on {task} ({metric}): {kept}."
    likeness = result.likeness.get(best)
    groups = [
        (g.cosine, g) for g in (likeness.by_length if likeness else ()) if g.cosine is not None
    ]
    if len(groups) > 1:
        (low, far), (high, near) = min(groups, key=lambda g: g[0]), max(groups, key=lambda g: g[0])
        said += (
            f" By length, texts of {far.name} characters are farthest from the teacher's (cosine "
            f"without the mean vector {low:.3f}), those of {near.name} nearest ({high:.3f})."
        )
    return said


def _what_it_costs(result: Result, best: str) -> str:
    facts, teacher = result.facts[best], result.facts.get(result.reference, Facts())
    said = []
    if facts.bytes:
        beside = ""
        if teacher.bytes:
            times = teacher.bytes / facts.bytes
            beside = f" where the teacher has {megabytes(teacher.bytes)} (1/{times:.1f})"
        said.append(f"{megabytes(facts.bytes)} of weights{beside}")
    if facts.batch_us and facts.p50_us:
        said.append(
            f"{facts.batch_us:,.0f} microseconds a text in batches, {facts.p50_us:,.0f} alone, on "
            "one CPU thread"
        )
    seconds = result.cards[best].get("train_seconds")
    if isinstance(seconds, (int, float)):
        said.append(f"{seconds:,.0f} s of training")
    return f"{best} takes {'; '.join(said)}." if said else "Its card does not say."


def _what_to_choose(result: Result, best: str) -> str:
    as_good = result.as_good_as_best()
    faulty = [name for name in result.students if result.faults(name)]
    said = []
    if not as_good:
        said.append("None: no student stands in for its teacher.")
    elif len(result.students) == 1:
        said.append(f"{best} is the only student.")
    else:
        said.append(_among(result, best, as_good))
    if faulty and as_good:
        said.append(f"Do not use {_named(faulty)}.")
    if baseline := equal_baseline(result, best):
        said.append(
            f"{baseline}, which knows no teacher, is not shown to be worse "
            f"({share(result.mean_retention(baseline))}): these sets do not show a teacher's worth."
        )
    return " ".join(said)


def _among(result: Result, best: str, as_good: list[str]) -> str:
    """Which of the students that cannot be told from the best are smallest and fastest."""
    others = [name for name in as_good if name != best]
    if not others:
        return f"{best}: each of the others is shown to be worse, or cannot stand in."
    rest = len(result.students) - 1 - len(others)
    said = f"{_named(others)} cannot be told from {best}"
    said += f"; {_count(rest, 'student')} more can, or cannot stand in." if rest else "."
    for what, cost in (("smallest", "bytes"), ("fastest", "batch_us")):
        known = {name: getattr(result.facts[name], cost) for name in as_good}
        known = {name: value for name, value in known.items() if value}
        if len(known) > 1:
            least = min(known, key=lambda name: known[name])
            shown = megabytes(known[least]) if cost == "bytes" else f"{known[least]:,.0f} us a text"
            said += f" The {what} of all these is {least} ({shown})."
    near = {name: result.score(name, (ALL, NEIGHBOURS)) for name in as_good}
    shares = {name: score.value for name, score in near.items() if score}
    if shares:
        nearest = max(shares, key=lambda name: shares[name])
        said += f" Nearest to the teacher is {nearest} ({percent(shares[nearest])} of neighbours)."
    return said


def _verdict(result: Result, model: str, column: Column) -> str:
    mine, base = result.score(model, column), result.score(result.reference, column)
    return difference(mine.samples_R, base.samples_R).verdict if mine and base else ""


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
