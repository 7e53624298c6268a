"""Result -> plots as SVG text: quality with intervals, quality against cost, labels, agreement."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from distill_jobs.metrics import Doubles
from distill_jobs.result import Column, Facts, Result, Score

TEACHERS = ("#1d3d5c", "#5b86ad", "#a9c4dc")  # the reference is the first
STUDENTS = ("#c8553d", "#e09f3e", "#588157", "#7d5a94")
BASELINE = "#b3afa7"
_INK, _GRID = "#2b2b2b", "#e6e3dd"
_STYLE: Any = {  # Any: matplotlib types the keys as a list of literals
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "svg.fonttype": "path",
    "svg.hashsalt": "ltd",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.edgecolor": "#8d8a84",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def colours(result: Result) -> dict[str, str]:
    """A colour per model: blues for teachers, warm for students, grey for the baseline."""
    pools = {"teacher": list(TEACHERS), "baseline": [BASELINE]}
    found = {}
    students = 0
    for model in result.models:
        pool = pools.get(model.partition("/")[0], []) if model not in result.students else []
        if pool:
            found[model] = pool.pop(0)
        elif model in result.students:
            found[model] = STUDENTS[students % len(STUDENTS)]
            students += 1
        else:
            found[model] = TEACHERS[-1]
    return found


def task_bars(result: Result, columns: Sequence[Column], *, wide: bool) -> str:
    """Grouped bars per task with 95 % intervals, across the page or half of it."""
    colour = colours(result)
    width = 0.8 / len(result.models)

    def draw(axes: Axes) -> None:
        for place, model in enumerate(result.models):
            scores = [result.score(model, column) for column in columns]
            at = [number + (place + 0.5) * width - 0.4 for number, s in enumerate(scores) if s]
            found = [score for score in scores if score]
            values = [score.value for score in found]
            axes.bar(at, values, width * 0.92, color=colour[model], label=model)
            axes.errorbar(
                at, values, yerr=_errors(found), fmt="none", ecolor=_INK, elinewidth=0.8, alpha=0.7
            )
        labels = [_ascii(task) for task, _ in columns]
        axes.set_xticks(range(len(columns)), labels, fontsize=9)
        axes.set_xlim(-0.55, len(columns) - 0.45)
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, min(1.02, axes.get_ylim()[1]))

    return _svg(draw, 11.4 if wide else 5.5, 3.2)


def quality_against(
    result: Result, cost: Callable[[Facts], float | None], label: str
) -> str | None:
    """Mean value, with interval, against a cost on a log axis; None if no cost is known."""
    costs = {name: cost(facts) for name, facts in result.facts.items()}
    known = {name: value for name, value in costs.items() if value}
    if not known:
        return None
    low, high = min(known.values()) / 2, max(known.values()) * 2

    def draw(axes: Axes) -> None:
        _points(axes, result, known)
        _levels(axes, result, [model for model in result.models if model not in known])
        axes.set(xscale="log", xlim=(low, high), xlabel=label, ylabel="mean value over all sets")
        axes.margins(y=0.15)
        _plain_ticks(axes, low, high)

    return _svg(draw, 5.5, 3.7)


def label_budgets(result: Result, task: str) -> str:
    """Probe accuracy by number of labels, with a band for the 95 % interval."""
    colour = colours(result)
    train = next(len(s.train) for s in result.sets if s.name == task)

    def draw(axes: Axes) -> None:
        for model in result.models:
            found = [s for s in result.scores if (s.model, s.task) == (model, task)]
            curve = sorted((_budget(s.metric, train), s) for s in found if "accuracy" in s.metric)
            budgets = [budget for budget, _ in curve]
            low, high = zip(*(s.interval for _, s in curve), strict=True)
            axes.fill_between(budgets, low, high, color=colour[model], alpha=0.10, linewidth=0)
            axes.plot(
                budgets,
                [s.value for _, s in curve],
                "o-",
                color=colour[model],
                markersize=4,
                linewidth=1.6,
                label=model,
            )
        axes.set_xscale("log")
        axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
        axes.minorticks_off()
        axes.set_title(_ascii(task), fontsize=10, loc="left", fontweight="bold")

    return _svg(draw, 3.6, 2.7)


def agreement(result: Result, student: str) -> str:
    """Cosines of pairs by the reference and by a student, counted in hexagons."""
    reference, own = result.pair_cosines[student]
    ramp = LinearSegmentedColormap.from_list("ink", ["#f3e3dc", STUDENTS[0], "#4a1c13"])

    def draw(axes: Axes) -> None:
        low = min(reference.min(), own.min())
        axes.plot([low, 1], [low, 1], color="#8d8a84", linewidth=1, linestyle=(0, (4, 3)))
        axes.hexbin(
            reference,
            own,
            gridsize=48,
            bins="log",
            mincnt=1,
            cmap=ramp,
            linewidths=0.1,
            extent=(low, 1, low, 1),
        )
        axes.set_xlabel(f"cosine by {_ascii(result.reference)}")
        axes.set_ylabel(f"cosine by {_ascii(student)}")
        axes.set_aspect("equal")
        together = np.corrcoef(reference, own)[0, 1]
        axes.set_title(f"{len(own):,} pairs, correlation {together:.3f}", fontsize=10, loc="left")

    return _svg(draw, 5.0, 4.4)


def _budget(metric: str, everything: int) -> int:
    return int(metric.partition("@")[2] or everything)


def _errors(scores: Sequence[Score]) -> Doubles:
    bounds = np.array([score.interval for score in scores]).T
    values = np.array([score.value for score in scores])
    errors: Doubles = np.abs(bounds - values)
    return errors


def _points(axes: Axes, result: Result, costs: Mapping[str, float]) -> None:
    """A point with its interval for each model whose cost is known."""
    means = {model: result.mean(model) for model in costs}
    for model, mean in means.items():
        errors = np.abs(np.array([[mean.low], [mean.high]]) - mean.value)
        axes.errorbar(
            costs[model],
            mean.value,
            yerr=errors,
            fmt="o",
            markersize=9,
            elinewidth=1.4,
            color=colours(result)[model],
        )
    _name_points(axes, {m: (costs[m], mean.value) for m, mean in means.items()})


def _levels(axes: Axes, result: Result, models: Sequence[str]) -> None:
    """A dashed line for each model whose cost is not known."""
    for model in models:
        level = result.mean(model).value
        axes.axhline(level, color=colours(result)[model], linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            _ascii(model),
            (0.5, level),
            (0, 4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color="#77736c",
        )


def _name_points(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Names beside points, on the side with room; near ones are moved apart, lowest first."""
    across = [x for x, _ in points.values()]
    middle, room = np.sqrt(min(across) * max(across)), 0.05 * float(np.diff(axes.get_ylim())[0])
    last: dict[float, float] = {}
    for name, (x, y) in sorted(points.items(), key=lambda point: point[1][1]):
        left = x > middle
        level = last[x] = max(y, last.get(x, -np.inf) + room)
        axes.annotate(
            _ascii(name),
            (x, level),
            (-10 if left else 10, -3),
            fontsize=9,
            textcoords="offset points",
            ha="right" if left else "left",
        )


def _plain_ticks(axes: Axes, low: float, high: float) -> None:
    """1, 2, 5, 10, ... in figures instead of powers."""
    steps = [m * 10.0**e for e in range(-3, 9) for m in (1, 2, 5)]
    shown = [step for step in steps if low <= step <= high]
    axes.set_xticks(shown, [f"{step:,.10g}" for step in shown])
    axes.minorticks_off()


def _ascii(name: str) -> str:
    """A name that the plot font has letters for; others become their code points."""
    return name.encode("ascii", "backslashreplace").decode()


def _svg(draw: Callable[[Axes], None], width: float, height: float) -> str:
    """Run a drawing on fresh axes; the same drawing gives the same text."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    svg = sink.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", svg, count=1)
