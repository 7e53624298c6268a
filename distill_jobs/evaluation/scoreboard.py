"""Result -> lines of text: the facts of the run, then values and retention, tasks by models."""

import math
import unicodedata
from collections.abc import Mapping

from distill_jobs.evaluation.estimates import Difference, Estimate
from distill_jobs.evaluation.result import ALL, NEIGHBOURS, Facts, Result

BOLD, DIM, RED, PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"


def text(result: Result, *, colour: bool = False) -> str:
    """Lay out the scoreboard; with colour, the best of each row is bold and shares are dim.

    The table has the columns that fit (`Result.shown`); the lines above it tell of every student.
    """
    lines = [line for name in result.students for line in facts_lines(result, name)]
    for name in result.students:
        if faults := result.faults(name):
            line = f"{name} does not stand in for its teacher: {'; '.join(faults)}"
            lines.append(f"{RED}{line}{PLAIN}" if colour else line)
    return "\n".join([*lines, "", *_table(result, colour)])


def facts_lines(result: Result, student: str) -> list[str]:
    """What the run cost and what came of it; what a card does not say is left out."""
    card, facts = result.cards[student], result.facts[student]
    teacher = result.facts.get(result.reference, Facts())
    store = [
        _fact(card, "idf_words", "IDF of {:,} words"),
        _fact(card, "train_rows" if "train_rows" in card else "store_rows", "{:,} sentences"),
        _fact(card, "teacher_seconds", "teacher {:,.0f} s"),
        _fact(card, "train_seconds", "student {:,.0f} s"),
    ]
    sizes = [
        f"{megabytes(facts.bytes)}" if facts.bytes else "",
        f"{megabytes(teacher.bytes)} teacher" if teacher.bytes else "",
        f"1/{teacher.bytes / facts.bytes:.1f}" if facts.bytes and teacher.bytes else "",
    ]
    speeds = [
        f"{1e6 / facts.batch_us:,.0f} sentences/s on one thread" if facts.batch_us else "",
        f"p50 {facts.p50_us:,.0f} us, p99 {facts.p99_us:,.0f} us" if facts.p50_us else "",
        _speed_up(facts, teacher),
    ]
    quality = [
        f"keeps {share(result.mean_retention(student))}",
        f"alignment {facts.alignment:.3f}" if facts.alignment is not None else "",
        _neighbours(result, student),
    ]
    rows = {"trained": store, "quality": quality, "against": _against(result, student)}
    rows |= {"size": sizes, "speed": speeds}
    head = f"{student} ({card['student']})" if "student" in card else student
    body = [
        f"  {label:<9}{' · '.join(filter(None, facts))}"
        for label, facts in rows.items()
        if any(facts)
    ]
    return [head, *body]


def apart(difference: Difference) -> str:
    """A difference with its interval and its verdict.

    >>> apart(Difference(-0.0131, -0.016, -0.0102))
    '-0.013 (-0.016 to -0.010), worse'
    """
    value, low, high = difference.value, difference.low, difference.high
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f}), {difference.verdict}"


def _against(result: Result, student: str) -> list[str]:
    others = [result.reference, result.best_student()]
    return [
        f"{other} {apart(result.difference(student, other))}"
        for other in others
        if other not in (student, None)
    ]


def _neighbours(result: Result, student: str) -> str:
    score = result.score(student, (ALL, NEIGHBOURS))
    return f"{percent(score.value)} of the 10 nearest in common" if score else ""


def percent(share: float) -> str:
    """A share as a person reads it.

    >>> percent(0.9634), percent(float("nan"))
    ('96.3%', '-')
    """
    return "-" if math.isnan(share) else f"{share:.1%}"


def megabytes(size: float) -> str:
    """Bytes in millions.

    >>> megabytes(8_412_345)
    '8.4 MB'
    """
    return f"{size / 1e6:,.1f} MB"


def speed_up(facts: Facts, teacher: Facts) -> float | None:
    """How many times as many sentences a second as the teacher, if both are known."""
    return teacher.batch_us / facts.batch_us if teacher.batch_us and facts.batch_us else None


def _speed_up(facts: Facts, teacher: Facts) -> str:
    factor = speed_up(facts, teacher)
    return f"{factor:,.1f} x the teacher" if factor else ""


def _fact(card: Mapping[str, object], key: str, form: str) -> str:
    value = card.get(key)
    return form.format(value) if isinstance(value, (int, float)) else ""


def _table(result: Result, colour: bool) -> list[str]:
    models = result.shown()
    rows: list[tuple[str, str, list[float], list[float]]] = []
    for column in result.columns():
        scores = [result.score(model, column) for model in models]
        values = [score.value if score else math.nan for score in scores]
        kept = [result.retention(score).value if score else math.nan for score in scores]
        rows.append((*column, values, kept))
    means = [result.mean(model).value for model in models]
    kept = [result.mean_retention(model).value for model in models]
    rows.append(("mean", "", means, kept))
    names = max(_width(row[0]) for row in rows)
    widths = [max(13, len(model)) for model in models]
    header = "".join(f"  {m:>{w}}" for m, w in zip(models, widths, strict=True))
    lines = [f"{'':{names}}  {'':9}{header}"]
    for number, (task, metric, values, shares) in enumerate(rows):
        if number == len(rows) - 1:
            lines.append("-" * len(lines[0]))
        pad = " " * (names - _width(task))
        lines.append(f"{task}{pad}  {metric:9}" + _cells(values, shares, widths, colour))
    return lines


def _cells(values: list[float], shares: list[float], widths: list[int], colour: bool) -> str:
    best = max((value for value in values if not math.isnan(value)), default=math.nan)
    cells = []
    for value, kept, width in zip(values, shares, widths, strict=True):
        number = "-" if math.isnan(value) else f"{value:.3f}"
        shown_kept = percent(kept)
        padding = " " * (2 + width - len(number) - 1 - max(len(shown_kept), 6))
        shown = f"{BOLD}{number}{PLAIN}" if colour and value == best else number
        tail = f"{DIM}{shown_kept:>6}{PLAIN}" if colour else f"{shown_kept:>6}"
        cells.append(f"{padding}{shown} {tail}")
    return "".join(cells)


def _width(name: str) -> int:
    """Columns that a name takes on a terminal; Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in name)


def share(kept: Estimate) -> str:
    """A share with its interval.

    >>> share(Estimate(0.963, 0.951, 0.974))
    '96.3% (95.1% to 97.4%)'
    """
    return f"{percent(kept.value)} ({percent(kept.low)} to {percent(kept.high)})"
