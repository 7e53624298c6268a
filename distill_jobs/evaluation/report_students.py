"""Result -> what the report says of each model: at a glance, by length, by set, its card."""

from collections.abc import Callable, Mapping

from distill_jobs.evaluation import scoreboard
from distill_jobs.evaluation.estimates import Estimate
from distill_jobs.evaluation.likeness import Group, Likeness
from distill_jobs.evaluation.result import ALL, NEIGHBOURS, Result
from distill_jobs.evaluation.scoreboard import megabytes, percent

Glance = tuple[str, list[tuple[str, ...]]]  # a model; per column a number and its small print

COLUMNS = (
    "mean",
    "keeps",
    "minus reference",
    "minus best student",
    "MB",
    "us a text, in 64s",
    "cosine to reference",
    "10 nearest in common",
    "cosine of two texts",
    "first component",
)


def glance(result: Result) -> list[Glance]:
    """A line for each model, best student first: what a choice needs, in the order of `COLUMNS`."""
    return [(name, _glance(result, name)) for name in result.ranked()]


def by_kind(result: Result) -> list[Glance]:
    """The mean value of each kind of task and the share of the reference's, best student first."""
    return [
        (
            name,
            [(f"{mean.value:.3f}", *_share(kept)) for mean, kept in result.by_kind(name).values()],
        )
        for name in result.ranked()
    ]


def by_length(result: Result) -> list[tuple[str, list[Group]]]:
    """Each student's likeness to the reference by length of text."""
    return _groups(result, lambda likeness: likeness.by_length)


def by_set(result: Result) -> list[tuple[str, list[Group]]]:
    """Each student's likeness to the reference by set."""
    return _groups(result, lambda likeness: likeness.by_set)


def card(result: Result, student: str) -> list[tuple[str, str]]:
    """Label and value of what is known of a student."""
    found, facts = result.cards[student], result.facts[student]
    known: list[tuple[str, str]] = [("keeps", scoreboard.share(result.mean_retention(student)))]
    for label, key in (
        ("kind", "student"),
        ("pooling", "pooling"),
        ("objective", "objective"),
        ("parameters", "parameters"),
        ("trained from", "store"),
        ("store version", "store_version"),
        ("sentences", "train_rows"),
        ("of a store of", "store_rows"),
        ("IDF words", "idf_words"),
        ("teacher", "teacher_name"),
        ("teacher seconds", "teacher_seconds"),
        ("training seconds", "train_seconds"),
    ):
        if found.get(key) is not None:
            known.append((label, _shown(found[key])))
    validation = found.get("validation")
    for name, value in validation.items() if isinstance(validation, Mapping) else ():
        known.append((f"validation {name}", _shown(value)))
    for label, us in (("p50", facts.p50_us), ("p99", facts.p99_us), ("in 64s", facts.batch_us)):
        known += [(f"microseconds, {label}", f"{us:,.0f}")] if us else []
    return known


def _glance(result: Result, name: str) -> list[tuple[str, ...]]:
    facts, likeness, best = result.facts.get(name), result.likeness.get(name), result.best_student()
    mean, kept = result.mean(name), result.mean_retention(name)
    near = result.score(name, (ALL, NEIGHBOURS)) if name != result.reference else None
    return [
        (f"{mean.value:.3f}", f"{mean.low:.3f} to {mean.high:.3f}"),
        (percent(kept.value), f"{percent(kept.low)} to {percent(kept.high)}"),
        _apart(result, name, result.reference),
        _apart(result, name, best if name in result.students else None),
        (megabytes(facts.bytes).removesuffix(" MB"), "") if facts and facts.bytes else ("–", ""),
        (f"{facts.batch_us:,.0f}", "") if facts and facts.batch_us else ("–", ""),
        (_number(facts.alignment if facts else None), _permuted(likeness)),
        _share(Estimate(near.value, *near.interval) if near else None),
        (_number(likeness.pair_cosine if likeness else None), ""),
        (percent(likeness.first_component) if likeness else "–", ""),
    ]


def _apart(result: Result, name: str, other: str | None) -> tuple[str, ...]:
    if other is None or name == other:
        return ("–",)
    found = result.difference(name, other)
    return f"{found.value:+.3f}", found.verdict, f"{found.low:+.3f} to {found.high:+.3f}"


def _share(found: Estimate | None) -> tuple[str, str]:
    if found is None:
        return "–", ""
    return percent(found.value), f"{percent(found.low)} to {percent(found.high)}"


def _permuted(likeness: Likeness | None) -> str:
    known = likeness is not None and likeness.permuted is not None
    return f"permuted {likeness.permuted:.3f}" if likeness and known else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _groups(
    result: Result, pick: Callable[[Likeness], tuple[Group, ...]]
) -> list[tuple[str, list[Group]]]:
    return [
        (name, list(pick(result.likeness[name])))
        for name in result.ranked()
        if name in result.students and name in result.likeness
    ]


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
