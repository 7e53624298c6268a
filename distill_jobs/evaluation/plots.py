"""Result -> plots as SVG text: quality with intervals, quality against cost, labels, agreement."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from distill_jobs.evaluation.metrics import Doubles
from distill_jobs.evaluation.plot_style import INK, OTHERS, SOFT, STUDENTS, ascii_name, colours, svg
from distill_jobs.evaluation.result import MOST_SHOWN, Column, Facts, Result, Score


def ranking(result: Result) -> str:
    """A line per model: its mean value and 95 % interval, the best on top."""
    colour = colours(result)
    models = sorted(_sound(result), key=lambda name: result.mean(name).value)

    def draw(axes: Axes) -> None:
        level = result.mean(result.reference).value
        axes.axvline(level, color=colour[result.reference], linewidth=1, linestyle=(0, (4, 3)))
        for place, model in enumerate(models):
            mean = result.mean(model)
            axes.plot([mean.low, mean.high], [place] * 2, color=colour[model], linewidth=2)
            axes.plot(mean.value, place, "o", color=colour[model], markersize=7)
        names = [ascii_name(model if len(model) < 40 else f"{model[:38]}..") for model in models]
        axes.set_yticks(range(len(models)), names, fontsize=9)
        axes.set_ylim(-0.6, len(models) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("mean value over all sets")

    return svg(draw, 11.4, 0.8 + 0.26 * len(models))


def task_bars(result: Result, columns: Sequence[Column], *, wide: bool) -> str:
    """Grouped bars per task with 95 % intervals, across the page or half of it."""
    colour = colours(result)
    models = result.shown()
    width = 0.8 / len(models)

    def draw(axes: Axes) -> None:
        for place, model in enumerate(models):
            scores = [result.score(model, column) for column in columns]
            at = [number + (place + 0.5) * width - 0.4 for number, s in enumerate(scores) if s]
            found = [score for score in scores if score]
            values = [score.value for score in found]
            axes.bar(at, values, width * 0.92, color=colour[model], label=model)
            axes.errorbar(
                at, values, yerr=_errors(found), fmt="none", ecolor=INK, elinewidth=0.8, alpha=0.7
            )
        labels = [ascii_name(task) for task, _ in columns]
        axes.set_xticks(range(len(columns)), labels, fontsize=9)
        axes.set_xlim(-0.55, len(columns) - 0.45)
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, min(1.02, axes.get_ylim()[1]))

    return svg(draw, 11.4 if wide else 5.5, 3.2)


def quality_against(
    result: Result, cost: Callable[[Facts], float | None], label: str
) -> str | None:
    """Mean value, with interval, against a cost on a log axis; None if no cost is known."""
    sound = _sound(result)
    costs = {name: cost(facts) for name, facts in result.facts.items()}
    known = {name: value for name, value in costs.items() if value and name in sound}
    if not known:
        return None
    many = len(known) > MOST_SHOWN
    low, high = min(known.values()) / 1.5, max(known.values()) * 1.5

    def draw(axes: Axes) -> None:
        axes.set(xscale="log", xlim=(low, high), xlabel=label, ylabel="mean value over all sets")
        axes.margins(y=0.15)
        _levels(axes, result, [model for model in sound if model not in known])
        _points(axes, result, known)
        _plain_ticks(axes, low, high)

    return svg(draw, *((11.4, 4.6) if many else (5.5, 3.7)))


def label_budgets(result: Result, task: str) -> str:
    """Probe accuracy by number of labels, with a band for the 95 % interval."""
    colour = colours(result)
    train = next(len(s.train) for s in result.sets if s.name == task)

    def draw(axes: Axes) -> None:
        for model in result.shown():
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
        axes.set_title(ascii_name(task), fontsize=10, loc="left", fontweight="bold")

    return svg(draw, 3.6, 2.7)


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
        axes.set_xlabel(f"cosine by {ascii_name(result.reference)}")
        axes.set_ylabel(f"cosine by {ascii_name(student)}")
        axes.set_aspect("equal")
        varied = reference.std() > 0 and own.std() > 0
        together = f", correlation {np.corrcoef(reference, own)[0, 1]:.3f}" if varied else ""
        axes.set_title(f"{len(own):,} pairs{together}", fontsize=10, loc="left")

    return svg(draw, 5.0, 4.4)


def _sound(result: Result) -> list[str]:
    """The models that belong in one picture: broken students would squeeze the others together."""
    return [m for m in result.models if m not in result.students or not result.broken(m)]


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
    colour = colours(result)
    for model, mean in means.items():
        errors = np.abs(np.array([[mean.low], [mean.high]]) - mean.value)
        axes.errorbar(
            costs[model],
            mean.value,
            yerr=errors,
            fmt="o",
            markersize=9,
            elinewidth=1.4,
            color=colour[model],
            zorder=2 if colour[model] == OTHERS else 3,
        )
    points = {model: (costs[model], mean.value) for model, mean in means.items()}
    named = {*_front(points), result.reference} if len(points) > MOST_SHOWN else set(points)
    _name_points(axes, {name: point for name, point in points.items() if name in named})


def _levels(axes: Axes, result: Result, models: Sequence[str]) -> None:
    """A dashed line for each model whose cost is not known."""
    for model in models:
        level = result.mean(model).value
        axes.axhline(level, color=colours(result)[model], linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            ascii_name(model),
            (0.02, level),
            (0, 4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=9,
            color=SOFT,
        )


def _name_points(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Names in a column right of the plot, each with a line to its point; none covers another."""
    low, high = axes.get_ylim()
    ordered = sorted(points.items(), key=lambda point: point[1][1])
    levels = spread([(y - low) / (high - low) for _, (_, y) in ordered])
    for (name, point), level in zip(ordered, levels, strict=True):
        axes.annotate(
            ascii_name(name),
            point,
            (1.03, level),
            fontsize=9,
            textcoords="axes fraction",
            va="center",
            arrowprops={"arrowstyle": "-", "color": OTHERS, "linewidth": 0.7, "relpos": (0, 0.5)},
        )


def spread(levels: Sequence[float], apart: float = 0.062) -> list[float]:
    """Move ascending levels apart, up where there is room below the top, else down.

    >>> spread([0.5, 0.5, 1.0], apart=0.25)
    [0.5, 0.75, 1.0]
    """
    found: list[float] = []
    for level in levels:
        found.append(max([level, *(other + apart for other in found[-1:])]))
    top = 1.0
    for place in reversed(range(len(found))):
        found[place] = min(found[place], top)
        top = found[place] - apart
    return found


def _front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The points than which no other is both cheaper and better."""
    return [
        name
        for name, (x, y) in points.items()
        if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in points.values())
    ]


def _plain_ticks(axes: Axes, low: float, high: float) -> None:
    """1, 2, 5, 10, ... in figures instead of powers."""
    firsts = (1, 2, 5) if high < 1000 * low else (1,)
    steps = [m * 10.0**e for e in range(-3, 9) for m in firsts]
    shown = [step for step in steps if low <= step <= high]
    axes.set_xticks(shown, [f"{step:,.10g}" for step in shown])
    axes.minorticks_off()
