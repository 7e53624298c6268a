"""What all plots share: a colour for each model, the house's look, and the way to SVG text."""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill_jobs.evaluation.result import Result

TEACHERS = ("#1d3d5c", "#5b86ad", "#a9c4dc")  # the reference is the first
STUDENTS = (
    *("#c8553d", "#e09f3e", "#588157", "#7d5a94"),
    *("#2a9d8f", "#b5838d", "#8a6d3b", "#d17ba6"),
)
BASELINE, OTHERS = "#b3afa7", "#c6c0b4"
INK, SOFT, GRID = "#2b2b2b", "#77736c", "#e6e3dd"
_STYLE: Any = {  # Any: matplotlib types the keys as a list of literals
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "svg.fonttype": "path",
    "svg.hashsalt": "ltd",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": "#8d8a84",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def colours(result: Result) -> dict[str, str]:
    """A colour per model: blues for teachers, warm for students, grey for baselines and the rest.

    Students that pictures leave out (`Result.shown`) share one grey.
    """
    shown = result.shown()
    students = [name for name in result.students if name in shown]
    found = dict.fromkeys(result.models, OTHERS)
    found |= {name: STUDENTS[place % len(STUDENTS)] for place, name in enumerate(students)}
    teachers = [name for name in result.models if name.startswith("teacher/")]
    found |= dict(zip(teachers, (*TEACHERS, *[TEACHERS[-1]] * len(teachers)), strict=False))
    return found | {name: BASELINE for name in result.models if name.startswith("baseline/")}


def ascii_name(name: str) -> str:
    """A name that the plot font has letters for; others become their code points."""
    return name.encode("ascii", "backslashreplace").decode()


def svg(draw: Callable[[Axes], None], width: float, height: float) -> str:
    """Run a drawing on fresh axes; the same drawing gives the same text."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)
