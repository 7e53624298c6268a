"""Result -> report.html, one file that needs nothing else, and report.txt, its scoreboard."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from distill_jobs import plots, scoreboard
from distill_jobs.result import HEADLINE, Column, Estimate, Facts, Result, Score
from distill_jobs.scoreboard import megabytes, percent
from schemas import parts

HTML, TEXT = "report.html", "report.txt"
_RUN = re.compile(r'<meta name="run" content="([0-9a-f]+)">')

MEANINGS = {
    "spearman": ("Similarity", "Spearman correlation of cosine and human score"),
    "auc": ("Same meaning or not", "AUC of the cosine of pairs"),
    "accuracy": ("Classification", "Accuracy of logistic regression on the vectors"),
    "v_measure": ("Clustering", "V-measure of k-means"),
    "ndcg@10": ("Retrieval", "nDCG@10 among the second sentences of the pairs"),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number of the main table, ready to be shown."""

    value: str
    interval: str
    kept: str
    share: float
    best: bool


def write(out: Path, result: Result, command: str, run_id: str) -> None:
    """Write both files under a folder, each whole or not at all."""
    parts.write_bytes(scoreboard.text(result).encode(), out, TEXT)
    parts.write_bytes(render(result, command, run_id).encode(), out, HTML)
    parts.tidy(out)


def written_by(out: Path) -> str | None:
    """The run whose report is in a folder, or None if there is none."""
    if not ((out / HTML).is_file() and (out / TEXT).is_file()):
        return None
    found = _RUN.search((out / HTML).read_text(encoding="utf-8"))
    return found[1] if found else None


def render(result: Result, command: str, run_id: str) -> str:
    """Lay the report out as HTML.

    Args:
        result: what was found.
        command: the command line that found it.
        run_id: of the evaluation; `written_by` finds it again.
    """
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    best = result.best_student()
    return environment.get_template("report.html.j2").render(
        result=result,
        command=command,
        run_id=run_id,
        colours=plots.colours(result),
        headline=_headline(result, best) if best else [],
        best=best,
        sections=_sections(result),
        means=_cells([result.mean(m) for m in result.models], _mean_shares(result)),
        students=[(name, _facts(result, name)) for name in result.students],
        figures=_figures(result, best),
        losses=_losses(result, best) if best else [],
        cross=_cross(result),
        baseline=_baseline_note(result, best) if best else None,
    )


def _headline(result: Result, student: str) -> list[tuple[str, str, str]]:
    """Big number, what it is, and its small print."""
    facts, teacher = result.facts[student], result.facts.get(result.reference, Facts())
    kept = result.mean_retention(student)
    found = [
        (
            percent(kept.value),
            f"of the quality of {result.reference}",
            f"95 % interval {percent(kept.low)} to {percent(kept.high)}",
        )
    ]
    if facts.bytes and teacher.bytes:
        sizes = f"{megabytes(facts.bytes)} instead of {megabytes(teacher.bytes)}"
        found.append((f"1/{teacher.bytes / facts.bytes:.1f}", "of its size", sizes))
    factor = scoreboard.speed_up(facts, teacher)
    if factor and facts.batch_us:
        rate = f"{1e6 / facts.batch_us:,.0f} sentences a second on one CPU thread"
        found.append((f"{factor:,.1f} times", "its sentences per second", rate))
    if facts.p50_us and facts.p99_us:
        tail = f"99 of 100 within {facts.p99_us / 1000:.2f} ms, one CPU thread"
        found.append((f"{facts.p50_us / 1000:.2f} ms", "for one sentence", tail))
    if facts.alignment is not None:
        found.append((f"{facts.alignment:.3f}", "cosine to its vectors", "mean over all sentences"))
    return found


def _sections(result: Result) -> list[tuple[str, str, list[tuple[str, int, list[Cell | None]]]]]:
    """Per metric: title, meaning, and a line per task: its name, its rows, a cell per model."""
    sections = []
    for metric in HEADLINE:
        lines = [_line(result, column) for column in result.columns((metric,))]
        if lines:
            sections.append((*MEANINGS[metric], lines))
    return sections


def _line(result: Result, column: Column) -> tuple[str, int, list[Cell | None]]:
    scores = [result.score(model, column) for model in result.models]
    values = [Estimate(s.value, *s.interval) if s else None for s in scores]
    shares = [result.retention(s).value if s else math.nan for s in scores]
    return column[0], max(s.rows for s in scores if s), _cells(values, shares)


def _mean_shares(result: Result) -> list[float]:
    return [result.mean_retention(model).value for model in result.models]


def _cells(values: Sequence[Estimate | None], shares: Sequence[float]) -> list[Cell | None]:
    best = max(value.value for value in values if value)
    return [
        Cell(
            f"{value.value:.3f}",
            f"{value.low:.3f} to {value.high:.3f}",
            percent(share),
            0.0 if math.isnan(share) else min(max(share, 0.0), 1.0),
            value.value == best,
        )
        if value
        else None
        for value, share in zip(values, shares, strict=True)
    ]


def _facts(result: Result, student: str) -> list[tuple[str, str]]:
    """Label and value of what is known of a student."""
    card, facts = result.cards[student], result.facts[student]
    known: list[tuple[str, str]] = [("keeps", scoreboard.share(result.mean_retention(student)))]
    for label, key in (
        ("kind", "student"),
        ("pooling", "pooling"),
        ("objective", "objective"),
        ("parameters", "parameters"),
        ("trained from", "store"),
        ("store version", "store_version"),
        ("sentences", "store_rows"),
        ("IDF words", "idf_words"),
        ("teacher", "teacher_name"),
        ("teacher seconds", "teacher_seconds"),
        ("training seconds", "train_seconds"),
    ):
        if card.get(key) is not None:
            known.append((label, _shown(card[key])))
    validation = card.get("validation")
    for name, value in validation.items() if isinstance(validation, Mapping) else ():
        known.append((f"validation {name}", _shown(value)))
    for label, us in (("p50", facts.p50_us), ("p99", facts.p99_us), ("in 64s", facts.batch_us)):
        known += [(f"microseconds, {label}", f"{us:,.0f}")] if us else []
    return known


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)


def _figures(result: Result, best: str | None) -> dict[str, object]:
    probed = [task for task, _ in result.columns(("accuracy",))]
    sized = plots.quality_against(
        result, lambda facts: facts.bytes / 1e6 if facts.bytes else None, "size of the weights, MB"
    )
    timed = plots.quality_against(
        result, lambda facts: facts.batch_us, "microseconds per sentence, in batches of 64"
    )
    return {
        "bars": _bars(result),
        "size": sized,
        "time": timed,
        "budgets": [plots.label_budgets(result, task) for task in probed],
        "agreement": plots.agreement(result, best)
        if best and result.pair_cosines[best].shape[1] > 1
        else None,
    }


def _bars(result: Result) -> list[tuple[str, str, bool, str]]:
    """Title, meaning, whether it takes the page's width, and the plot, for each metric."""
    families = [(m, columns) for m in HEADLINE if (columns := result.columns((m,)))]
    narrow = [metric for metric, columns in families if len(columns) <= 4]
    widened = narrow[-1:] if len(narrow) % 2 else []  # two narrow ones stand side by side
    found = []
    for metric, columns in families:
        wide = metric in widened or metric not in narrow
        found.append((*MEANINGS[metric], wide, plots.task_bars(result, columns, wide=wide)))
    return found


def _losses(result: Result, student: str) -> list[tuple[str, str, str, bool]]:
    """The three columns where a student keeps least: task, metric, share, whether beyond chance."""
    found = []
    for column in result.columns():
        score = result.score(student, column)
        kept = result.retention(score) if score else None
        if kept and not math.isnan(kept.value):
            found.append((kept.value, *column, scoreboard.share(kept), kept.high < 1))
    return [row[1:] for row in sorted(found)[:3]]


def _cross(result: Result) -> list[tuple[str, list[str]]]:
    """Task, and what each student's queries reach among the reference's documents."""
    lines = []
    for column in result.columns(("index_ndcg@10",)):
        scores = [result.score(name, column) for name in result.students]
        lines.append((column[0], [_with_share(result, score) for score in scores]))
    return lines


def _with_share(result: Result, score: Score | None) -> str:
    return f"{score.value:.3f} · {percent(result.retention(score).value)}" if score else "–"


def _baseline_note(result: Result, student: str) -> tuple[str, Estimate] | None:
    """The baseline and its share, if it is no worse than the student: then the sets are easy."""
    found = [name for name in result.models if name.startswith("baseline/")]
    if not found or result.mean(found[0]).value < result.mean(student).value:
        return None
    return found[0], result.mean_retention(found[0])
