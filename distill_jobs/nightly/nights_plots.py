"""Lines of nights -> plots over the nights: rows, minutes, scores, drift."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from distill_jobs.evaluation.plot_style import BASELINE, GRID, INK, OTHERS, STUDENTS, TEACHERS, svg

Rows = Sequence[dict[str, Any]]

_STAGES = {
    "idf": TEACHERS[2],
    "embed": TEACHERS[0],
    "train": STUDENTS[0],
    "export": STUDENTS[1],
    "contest": STUDENTS[2],
    "drift": BASELINE,
}
COLOURS = {
    "promoted": STUDENTS[2],
    "kept": STUDENTS[1],
    "superseded": TEACHERS[2],
    "late": TEACHERS[2],
    "rejected": STUDENTS[0],
    "failed": "#b3261e",
    "open": OTHERS,
}
"""By decision."""
_DRIFT = ("unknown_tokens", "unknown_words", "length_change", "idf_change", "centroid_shift")


def figures(rows: Rows) -> dict[str, str]:
    """SVG by name; a night without a number has a gap."""
    if not rows:
        return {}
    found = {"rows": _rows(rows), "minutes": _minutes(rows)}
    if any(row["challenger"] for row in rows):
        found |= {"scores": _scores(rows), "cosines": _cosines(rows)}
    drift = {name: _one(rows, name) for name in _DRIFT if any(_number(r[name]) for r in rows)}
    return found | drift


def _rows(rows: Rows) -> str:
    def draw(axes: Axes) -> None:
        new, reused = ([row[name] or 0 for row in rows] for name in ("new", "reused"))
        at = range(len(rows))
        axes.bar(at, new, color=TEACHERS[0], label="new: embedded")
        axes.bar(at, reused, bottom=new, color=TEACHERS[2], label="in the store already")
        axes.set_ylabel("sentences")
        _days(axes, rows)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return svg(draw, 5.5, 3.2)


def _minutes(rows: Rows) -> str:
    def draw(axes: Axes) -> None:
        base = np.zeros(len(rows))
        for stage, colour in _STAGES.items():
            high = np.array([row["seconds"].get(stage, 0.0) / 60 for row in rows])
            axes.bar(range(len(rows)), high, bottom=base, color=colour, label=stage)
            base += high
        axes.set_ylabel("minutes")
        _days(axes, rows)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)

    return svg(draw, 5.5, 3.2)


def _scores(rows: Rows) -> str:
    def draw(axes: Axes) -> None:
        for name, colour, move in (("champion", INK, -0.12), ("challenger", STUDENTS[0], 0.12)):
            shown = [(at + move, row[name], row["decision"]) for at, row in enumerate(rows)]
            known = [one for one in shown if one[1] and None not in one[1]]
            for place, (_, low, high), _ in known:
                axes.plot([place, place], [low, high], color=colour, linewidth=1.2, alpha=0.6)
            xs, ys = [one[0] for one in known], [one[1][0] for one in known]
            axes.plot(xs, ys, "o", color=colour, markersize=4, label=name)
            if name == "challenger":
                taken = [(one[0], one[1][0]) for one in known if one[2] == "promoted"]
                style: dict[str, Any] = {"markersize": 10, "markerfacecolor": "none"}
                axes.plot(
                    *(zip(*taken, strict=True) if taken else ((), ())),
                    "o",
                    color=STUDENTS[2],
                    label="promoted",
                    **style,
                )
        axes.set_ylabel("share of the teacher kept")
        _days(axes, rows)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)

    return svg(draw, 5.5, 3.2)


def _cosines(rows: Rows) -> str:
    def draw(axes: Axes) -> None:
        for name, colour, label in (
            ("before", INK, "champion, which has not seen them"),
            ("cosine", STUDENTS[0], "challenger"),
        ):
            axes.plot(_values(rows, name), "o-", color=colour, markersize=4, label=label)
        axes.set_ylabel("cosine to the teacher, new rows")
        _days(axes, rows)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return svg(draw, 5.5, 3.2)


def _one(rows: Rows, name: str) -> str:
    def draw(axes: Axes) -> None:
        axes.plot(_values(rows, name), "o-", color=TEACHERS[0], markersize=4)
        axes.set_ylim(bottom=0)
        axes.set_title(name.replace("_", " "), fontsize=10, loc="left", fontweight="bold")
        _days(axes, rows, 5)

    return svg(draw, 3.6, 2.4)


def _values(rows: Rows, name: str) -> list[float]:
    return [float("nan") if row[name] is None else row[name] for row in rows]


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _days(axes: Axes, rows: Rows, most: int = 10) -> None:
    """Name at most so many nights below; a line where a night was not judged."""
    every = max(1, -(-len(rows) // most))
    shown = range(0, len(rows), every)
    axes.set_xticks(shown, [rows[at]["date"][5:] for at in shown], fontsize=8)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.grid(axis="x", visible=False)
    for at, row in enumerate(rows):
        if row["decision"] in ("rejected", "failed"):
            axes.axvline(at, color=COLOURS[row["decision"]], linewidth=1, alpha=0.5)
    axes.tick_params(color=GRID)
