"""A month of nights: each day's titles into one store, against embedding all of them at once.

    python -m tests.bench.nights --titles titles.tsv.gz --idf work/idf --teacher T --out work/nights

The file has the columns date, platform, title. Every day is a run of the teacher job of its own,
with the same pinned IDF table; only sentences that no earlier day had are embedded. The same titles
in one run are timed before and after the month, since a shared machine drifts. Prints a Markdown
table, and draws it to nights.svg in the folder.
"""

import collections
import csv
import dataclasses
import gzip
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib
import tyro

from pipelines.idf import IdfConfig, count_idf
from pipelines.teacher import TeacherConfig, embed_corpus
from schemas.store import open_store

COUNTS = ("sentences", "distinct", "new", "reused", "quarantined", "parts", "version")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NightsConfig:
    """Run a month of nights."""

    titles: Path
    """Tab-separated, gzipped: date, platform, title."""
    teacher: str
    """The teacher."""
    out: Path
    """Folder to work in."""
    idf: str | None = None
    """IDF table; by default counted over all titles."""
    rounds: int = 1
    """Times that all titles are embedded at once, before the nights and again after them."""


def main(config: NightsConfig) -> None:
    """Run, print and draw."""
    days = split(config.titles, config.out / "days")
    idf = config.idf or str(config.out / "idf")
    if config.idf is None:
        count_idf(IdfConfig(corpus=(str(config.out / "days" / "*.txt"),), out=idf))
    everything = [
        embed(config, idf, days, f"all-before-{i}", "2026-01-01") for i in range(config.rounds)
    ]
    nights = [embed(config, idf, [path], "nights", path.stem) for path in days]
    everything += [
        embed(config, idf, days, f"all-after-{i}", "2026-01-01") for i in range(config.rounds)
    ]
    sys.stdout.write(table(nights, everything) + "\n")
    check(config.out, nights)
    once = statistics.median(float(one["teacher_seconds"]) for one in everything)
    draw(nights, once, config.out / "nights.svg")


def split(titles: Path, folder: Path) -> list[Path]:
    """One text file per date; returns their paths in order."""
    by_date = collections.defaultdict(list)
    with gzip.open(titles, "rt", encoding="utf-8", newline="") as file:
        for date, _, title in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            by_date[date].append(title)
    by_date.pop("date", None)
    folder.mkdir(parents=True, exist_ok=True)
    for date, lines in by_date.items():
        (folder / f"{date}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [folder / f"{date}.txt" for date in sorted(by_date)]


def embed(
    config: NightsConfig, idf: str, files: list[Path], store: str, date: str
) -> dict[str, Any]:
    """One run of the teacher job."""
    settings = TeacherConfig(
        corpus=tuple(map(str, files)),
        idf=idf,
        teacher=config.teacher,
        out=str(config.out / store),
        date=date,
    )
    return {**embed_corpus(settings), "date": date}


def table(nights: list[dict[str, Any]], once: list[dict[str, Any]]) -> str:
    """The month in Markdown."""
    names = ("date", *COUNTS, "teacher_seconds", "padding_share")
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(str(night[name]) for name in names)} |" for night in nights]
    total = sum(float(night["teacher_seconds"]) for night in nights)
    seconds = [float(one["teacher_seconds"]) for one in once]
    median = statistics.median(seconds)
    read = [sum(map(tokens, runs)) for runs in (nights, once[:1])]
    return "\n".join(
        [
            *lines,
            "",
            f"teacher seconds: nights {total:.1f}, all at once {seconds} (median {median:.1f}), "
            f"ratio {total / median:.3f}",
            f"tokens read, padding included: nights {read[0]:,.0f}, all at once {read[1]:,.0f}, "
            f"ratio {read[0] / read[1]:.4f}",
        ]
    )


def tokens(run: dict[str, Any]) -> float:
    """Tokens that the teacher read in a run, padding included: what its time depends on."""
    return float(run["tokens"]) / (1 - float(run["padding_share"]))


def check(folder: Path, nights: list[dict[str, Any]]) -> None:
    """The month's store holds the same sentences as the one that was made at once."""
    month, once = (open_store(folder / name) for name in ("nights", "all-before-0"))
    keys = [
        sorted(key for chunk in one.keys("0", "g") for key in chunk.to_pylist())
        for one in (month, once)
    ]
    assert keys[0] == keys[1], "the nights lost or doubled a sentence"
    assert len(set(keys[0])) == len(keys[0]) == sum(night["new"] for night in nights)
    assert len(month.commits) == len(nights)


def draw(nights: list[dict[str, Any]], once: float, path: Path) -> None:
    """Bars of new, reused and rejected titles a day; a line of the teacher time spent so far."""
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nights"
    from matplotlib import pyplot

    figure, (top, bottom) = pyplot.subplots(2, 1, figsize=(9, 5.5), sharex=True)
    days = [night["date"][-2:] for night in nights]
    base = [0] * len(nights)
    duplicates = [night["sentences"] - night["distinct"] for night in nights]
    series = {
        "new: embedded": ([night["new"] for night in nights], "#1f77b4"),
        "in the store already": ([night["reused"] for night in nights], "#aec7e8"),
        "twice on the same day": (duplicates, "#dddddd"),
    }
    for label, (heights, colour) in series.items():
        top.bar(days, heights, bottom=base, label=label, color=colour)
        base = [low + high for low, high in zip(base, heights, strict=True)]
    top.set_ylabel("titles")
    top.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8, frameon=False)
    spent, total = [], 0.0
    for night in nights:
        total += float(night["teacher_seconds"])
        spent.append(total)
    bottom.plot(days, spent, marker="o", markersize=3, label="teacher, night by night")
    bottom.axhline(once, color="black", linestyle="--", linewidth=1, label="all at once")
    bottom.set_ylabel("seconds so far")
    bottom.set_xlabel(f"day of {nights[0]['date'][:7]}")
    bottom.set_ylim(bottom=0)
    bottom.legend(loc="lower right", fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main(tyro.cli(NightsConfig))
