"""Rows of the speed bench -> a picture: quality against speed and size, or size against speed."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from distill_jobs.evaluation.result import HEADLINE
from schemas import parts
from schemas.store import open_store

_COLOURS = {"torch": "#c8553d", "onnx": "#e09f3e", "onnx-int8": "#1d3d5c"}
_MARKS = {"idf": "o", "learned": "^", "mean": "v", "": "s"}


def qualities(evaluation: str | None) -> dict[str, float]:
    """Mean headline score of each model of an evaluation table, by name."""
    if evaluation is None:
        return {}
    opened = open_store(evaluation)
    rows = [row for part in opened.parts for row in parts.read(opened.path_of(part)).to_pylist()]
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["metric"] in HEADLINE:
            found.setdefault(row["model"], []).append(row["value"])
    return {name: float(np.mean(values)) for name, values in found.items()}


def quality_of(row, known: dict[str, float]) -> float | None:
    """Of the student that a row is about; the shapes of teachers have none."""
    if not row["pooling"]:
        return None
    names = [f"{row['kind']}-{row['pooling']}"] + [row["kind"]] * (row["pooling"] == "idf")
    return next((known[name] for name in names if name in known), None)


def draw(rows, known: dict[str, float], path: Path) -> None:
    """Draw the rows of one thread, alone and in batches.

    Args:
        rows: of `tests.bench.timing`.
        known: from `qualities`; where it names no student, sizes stand in for it.
        path: of the PNG file.
    """
    fewest = min(row["threads"] for row in rows)
    rows = [row for row in rows if row["threads"] == fewest]
    scored = [(row, quality_of(row, known)) for row in rows]
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    alone = [one for one in scored if one[0]["texts"] == 1]
    many = [one for one in scored if one[0]["texts"] != 1]
    if any(quality is not None for row, quality in scored if row["pooling"]):
        panels = [("us a sentence, alone", "us", alone), ("MB", "MB", alone)]
        label, height = "mean score on labelled sets", lambda row, quality: quality
    else:
        panels = [("us a sentence, alone", "us", alone), ("us a sentence, 64 a call", "us", many)]
        label, height = "MB", lambda row, quality: row["MB"]
    for axes, (title, across, shown) in zip(figure.subplots(1, 2), panels, strict=True):
        points = [(row, height(row, quality)) for row, quality in shown]
        _panel(axes, [(row, row[across], y) for row, y in points if y is not None])
        axes.set(xlabel=title, ylabel=label)
        _logarithmic(axes, "x")
        if label == "MB":
            _logarithmic(axes, "y")
        elif "teacher/idf" in known:
            axes.axhline(known["teacher/idf"], color="#5b86ad", ls="--", lw=1)
            axes.annotate(
                "its teacher",
                (1, known["teacher/idf"]),
                ha="right",
                va="bottom",
                xycoords=("axes fraction", "data"),
                fontsize=8,
            )
    _legend(figure)
    figure.savefig(path, dpi=110)


def _logarithmic(axes, which: str) -> None:
    """10, 20, 50, 100 at the ticks, not powers."""
    axes.set(**{f"{which}scale": "log"})
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.set_minor_locator(NullLocator())
    axis.set_tick_params(labelsize=8)


def _panel(axes, points) -> None:
    """One mark a row; the name at the leftmost mark of its kind."""
    for row, x, y in points:
        colour = _COLOURS[row["backend"].split()[0]]
        hollow = row["backend"] == "torch bfloat16"
        face = "none" if hollow else colour
        axes.scatter(x, y, s=48, marker=_MARKS[row["pooling"]], color=face, edgecolors=colour)
    lowest = {}
    for row, x, y in sorted(points, key=lambda one: one[2]):
        height, xs = lowest.setdefault(row["kind"], (y, []))
        xs += [x] * (y == height)
    for place, (kind, (height, xs)) in enumerate(lowest.items()):
        # Names of neighbours in height stand on different sides.
        x, away, align = (max(xs), 9, "left") if place % 2 else (min(xs), -9, "right")
        about = {"textcoords": "offset points", "fontsize": 8, "ha": align}
        axes.annotate(kind, (x, height), xytext=(away, -3), **about)
    axes.margins(0.12)
    axes.grid(color="#e6e3dd")
    axes.set_axisbelow(True)


def _legend(figure) -> None:
    from matplotlib.lines import Line2D

    dots = [
        Line2D([], [], marker="o", ls="", color=colour, label=f"by {name}")
        for name, colour in _COLOURS.items()
    ]
    dots.append(Line2D([], [], marker="s", ls="", mfc="none", color="#c8553d", label="bfloat16"))
    kinds = {"": "teacher", "idf": "idf", "learned": "learned", "mean": "mean"}
    dots += [
        Line2D([], [], marker=_MARKS[one], ls="", color="#8d8a84", label=name)
        for one, name in kinds.items()
    ]
    figure.legend(handles=dots, loc="outside lower center", ncols=len(dots), frameon=False)
