"""Result -> report.html, one file that needs nothing else, and report.txt, its scoreboard."""

import re
from pathlib import Path

import jinja2

from distill_jobs.evaluation import plots, report_students, report_tables, scoreboard, story
from distill_jobs.evaluation.plot_style import OTHERS, colours
from distill_jobs.evaluation.result import HEADLINE, Facts, Result
from distill_jobs.evaluation.scoreboard import megabytes, percent
from schemas import parts

HTML, TEXT = "report.html", "report.txt"
_RUN = re.compile(r'<meta name="run" content="([0-9a-f]+)" data-least="([0-9.e+-]+)">')


def write(out: Path, result: Result, command: str, run_id: str) -> None:
    """Write both files under a folder, each whole or not at all."""
    parts.write_bytes(scoreboard.text(result).encode(), out, TEXT)
    parts.write_bytes(render(result, command, run_id).encode(), out, HTML)
    parts.tidy(out)


def written_by(out: Path) -> tuple[str, float] | None:
    """The run whose report is in a folder and its `least_kept`, or None if there is none."""
    if not ((out / HTML).is_file() and (out / TEXT).is_file()):
        return None
    found = _RUN.search((out / HTML).read_text(encoding="utf-8"))
    return (found[1], float(found[2])) if found else None


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
        style=style(),
        result=result,
        command=command,
        run_id=run_id,
        models=result.ranked(),
        shown=result.shown(),
        colours=colours(result),
        faults=[(name, found) for name in result.students if (found := result.faults(name))],
        faulty=[name for name in result.students if result.faults(name)],
        others_colour=OTHERS,
        story=story.story(result),
        headline=_headline(result, best) if best else [],
        best=best,
        glance_columns=report_students.COLUMNS,
        glance=report_students.glance(result),
        kinds=list(result.by_kind(result.reference)),
        by_kind=report_students.by_kind(result),
        sections=report_tables.sections(result),
        means=report_tables.means(result),
        by_length=report_students.by_length(result),
        by_set=report_students.by_set(result),
        students=[(name, report_students.card(result, name)) for name in result.students],
        figures=_figures(result, best),
        losses=story.losses(result, best) if best else [],
        asymmetric=report_tables.asymmetric(result),
        baseline=story.equal_baseline(result, best) if best else None,
    )


def style() -> str:
    """The look of all pages."""
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


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


def _figures(result: Result, best: str | None) -> dict[str, object]:
    probed = [task for task, _ in result.columns(("accuracy",))]
    sized = plots.quality_against(
        result, lambda facts: facts.bytes / 1e6 if facts.bytes else None, "size of the weights, MB"
    )
    timed = plots.quality_against(
        result, lambda facts: facts.batch_us, "microseconds per sentence, in batches of 64"
    )
    return {
        "ranking": plots.ranking(result),
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
        found.append(
            (*report_tables.MEANINGS[metric], wide, plots.task_bars(result, columns, wide=wide))
        )
    return found
