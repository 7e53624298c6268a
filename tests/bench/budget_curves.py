"""Rows of the budgets bench -> a markdown table and a picture."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

_COLOURS = ("#1d3d5c", "#4f8fba", "#c8553d", "#8a8577", "#e09f3e")
_MARKS = "sovx^"


def gather(rows, metric: str = "accuracy") -> dict[tuple[str, int, str], list[float]]:
    """The numbers of all seeds by set, labels and arm."""
    found: dict[tuple[str, int, str], list[float]] = {}
    for row in rows:
        if metric in row:
            key = row["set"], row["labels"], row["arm"]
            found.setdefault(key, []).append(row[metric])
    return found


def markdown(rows, arms) -> str:
    """Mean accuracy in percent, with half the range over seeds; of pairs also the AUC."""
    lines = [f"| set | labels | {' | '.join(arms)} |", "|---|---|" + "---|" * len(arms)]
    for metric in ("accuracy", "auc"):
        found = gather(rows, metric)
        for name, labels in dict.fromkeys((name, labels) for name, labels, _ in found):
            cells = [_cell(found.get((name, labels, arm), [])) for arm in arms]
            told = name if metric == "accuracy" else f"{name}, AUC"
            lines.append(f"| {told} | {labels:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    mean, half = 100 * float(np.mean(values)), 50 * (max(values) - min(values))
    return f"{mean:.1f} ± {half:.1f}" if len(values) > 1 else f"{mean:.1f}"


def draw_curves(rows, arms, path: Path) -> None:
    """One panel a set: accuracy, of pairs the AUC, against labels; the range over seeds a band.

    Most of a set's pairs can be negative, and then accuracy rewards saying so always.
    """
    pairs = gather(rows, "auc")
    found = {**gather(rows), **pairs}
    named = {name: f"{name}, AUC" for name, _, _ in pairs}
    sets = list(dict.fromkeys(name for name, _, _ in found))
    figure = Figure(figsize=(3.4 * len(sets), 3.8), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(sets))), sets, strict=True):
        for arm, colour, mark in zip(arms, _COLOURS, _MARKS, strict=True):
            points = sorted(
                (n, 100 * np.array(v)) for (s, n, a), v in found.items() if (s, a) == (name, arm)
            )
            if not points:
                continue
            labels = [n for n, _ in points]
            axes.plot(labels, [v.mean() for _, v in points], color=colour, marker=mark, label=arm)
            low, high = [v.min() for _, v in points], [v.max() for _, v in points]
            axes.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set(xscale="log", title=named.get(name, name), xlabel="labels")
        axes.grid(color="#e6e3dd")
        axes.set_axisbelow(True)
    figure.axes[0].set_ylabel("accuracy or AUC, %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=110)
