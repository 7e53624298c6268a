"""Job: many students from one store, side by side -> trainings, exports, one evaluation, a table.

What the students are stands in a TOML file, see `distill_jobs.sweep_settings`.
"""

import collections
import contextlib
import dataclasses
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from distill_jobs.evaluate import EvaluateConfig, evaluate
from distill_jobs.evaluation.models import student
from distill_jobs.evaluation.tasks import read_sets
from distill_jobs.export import ExportConfig, export
from distill_jobs.preflight import preflight
from distill_jobs.sweep_settings import read_settings
from distill_jobs.train import TrainConfig, distil
from schemas.command import run_job
from schemas.parts import write_bytes
from schemas.store import open_store

TABLE = "sweep.md"
_HEAD = (
    *("student", "differs by", "M parameters", "served MB", "unknown tokens", "train s"),
    *("spearman", "missed", "mean", "keeps", "of pairs", "of probes"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Train students of many settings from one store, and compare them on labelled sets."""

    store: str
    """Folder of the teacher store that all are trained from."""
    settings: Path
    """TOML file: a table of `train` flags for each student, `[defaults]` for all."""
    tasks: Path
    """Folder of labelled sets."""
    teacher_store: str
    """Teacher store with the sentences of the sets."""
    out: Path
    """Folder for trainings, exports, the report and the table (sweep.md)."""
    minutes: float = float("inf")
    """No training begins later than this; those that have begun end first."""
    parallel: int = 0
    """Trainings at once, each a Ray task on one processor; 0: in this process, in turn."""
    also: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=EXPORT of a student made otherwise, to stand in the table; may be given again."""
    max_rows: int = 3000
    """Rows of a test split."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.parallel < 0:
            raise ValueError(f"parallel must be at least 0, got {self.parallel}")
        if not self.minutes > 0:
            raise ValueError(f"minutes must be positive, got {self.minutes}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and sweep."""
    run_job(SweepConfig, argv, sweep)


def sweep(config: SweepConfig) -> dict[str, object]:
    """Train, export and evaluate; run again, it goes on where it stopped.

    A student that fails is left out of the table and named in the end; the others are not lost.

    Returns:
        Where table and report are, how many students there are, and those that time left out.

    Raises:
        FileNotFoundError: if the settings, the store or the sets are not there.
        ValueError: before anything begins, on a setting that `train` does not have or accept; in
            the end, naming the students that failed.
    """
    wanted = read_settings(config.settings, config.store, config.out.absolute() / "trainings")
    _check(config, wanted)
    failed: dict[str, str] = {}
    done = dict(_train_all(config, wanted, failed))
    trained = {name: done[name] for name in wanted if name in done}
    exports = dict(_export_all(config, {name: wanted[name] for name in trained}, failed))
    if not exports:
        raise ValueError(f"no student was trained within {config.minutes} minutes: {failed}")
    summary = evaluate(
        EvaluateConfig(
            tasks=config.tasks,
            teacher_store=config.teacher_store,
            out=config.out / "report",
            student=(*(f"{n}={config.out / 'exports' / n}" for n in exports), *config.also),
            max_rows=config.max_rows,
        )
    )
    models: Any = summary["models"]
    differs = {name: _differs(wanted.values(), wanted[name]) for name in exports}
    text = table(models, {name: {**exports[name], **trained[name]} for name in exports}, differs)
    write_bytes(text.encode(), config.out, TABLE)
    sys.stderr.write(text)
    if failed:
        why = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise ValueError(f"{why}; the others are in {config.out / TABLE}")
    return {
        "table": str(config.out / TABLE),
        "report": summary["report"],
        "students": len(exports),
        "left_out": sorted(set(wanted) - set(trained)),
    }


def _check(config: SweepConfig, wanted: Mapping[str, TrainConfig]) -> None:
    """Find now what would else be found after hours."""
    read_sets(config.tasks, max_rows=config.max_rows, seed=0)
    open_store(config.teacher_store)
    others = [student(argument).name for argument in config.also]
    if twice := set(others) & set(wanted):
        raise ValueError(f"{sorted(twice)[0]} is both a student of the settings and of --also")
    for name, training in wanted.items():
        try:
            preflight(training)
        except ValueError as error:
            raise ValueError(f"{config.settings}, {name}: {error}") from error


def _train_all(
    config: SweepConfig, wanted: Mapping[str, TrainConfig], failed: dict[str, str]
) -> Iterator[tuple[str, dict[str, object]]]:
    """Names and summaries of the students, as they are done."""
    until = time.monotonic() + 60 * config.minutes
    if config.parallel:
        yield from _train_with_ray(wanted, config.parallel, until, failed)
        return
    for name, training in wanted.items():
        if time.monotonic() < until:
            with _named(name, failed):
                yield name, _said(name, distil(training))


def _train_with_ray(
    wanted: Mapping[str, TrainConfig], parallel: int, until: float, failed: dict[str, str]
) -> Iterator[tuple[str, dict[str, object]]]:
    # Only here: a sweep in this process needs no Ray.
    import ray

    from distill_jobs.ray_workers import start_ray

    if not ray.is_initialized():
        start_ray(parallel)
    task = ray.remote(num_cpus=1, max_retries=3)(distil)
    waiting = list(wanted)
    running: dict[Any, str] = {}
    while waiting or running:
        while waiting and len(running) < parallel and time.monotonic() < until:
            name = waiting.pop(0)
            running[task.remote(wanted[name])] = name
        if not running:
            return
        for done in ray.wait(list(running))[0]:
            name = running.pop(done)
            with _named(name, failed):
                yield name, _said(name, ray.get(done))


def _export_all(
    config: SweepConfig, trained: Mapping[str, TrainConfig], failed: dict[str, str]
) -> Iterator[tuple[str, dict[str, object]]]:
    for name, training in trained.items():
        with _named(name, failed):
            folder = config.out / "exports" / name
            yield name, export(ExportConfig(training=training.out, out=folder))


@contextlib.contextmanager
def _named(name: str, failed: dict[str, str]) -> Iterator[None]:
    """Keep why a student failed, for the end of the sweep."""
    try:
        yield
    except Exception as error:
        failed[name] = str(error)
        sys.stderr.write(f"{name} failed: {error}\n")


def _said(name: str, summary: dict[str, object]) -> dict[str, object]:
    sys.stderr.write(f"{name}: {summary['seconds']} s, spearman {summary['spearman']:.3f}\n")
    return summary


def _differs(trainings: Collection[TrainConfig], one: TrainConfig) -> str:
    """The settings in which a training is not what most are."""
    told = []
    for field in dataclasses.fields(one):
        values = collections.Counter(str(getattr(other, field.name)) for other in trainings)
        value = str(getattr(one, field.name))
        if field.name != "out" and value != values.most_common(1)[0][0]:
            told.append(f"{field.name} {'by default' if value == 'None' else value}")
    return ", ".join(told)


def _kept(found: Mapping[str, Any], name: str) -> str:
    """A share with its interval, if there is one."""
    if name not in found:
        return ""
    kept, low, high = found[name]
    return f"{kept:.1%} ({low:.1%} to {high:.1%})"


def table(
    models: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]], differs: Mapping[str, str]
) -> str:
    """The comparison as Markdown.

    Args:
        models: of the evaluation's summary.
        facts: what training and export say of each student.
        differs: the settings of each student.
    """
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for name, found in models.items():
        of = facts.get(name, {})
        cells = [
            name,
            differs.get(name, ""),
            f"{of['parameters'] / 1e6:.2f}" if of else "",
            f"{found['bytes'] / 1e6:.2f}" if of else "",
            f"{of['unknown_rate']:.2%}" if of.get("unknown_rate") else "",
            f"{of['seconds']:,.0f}" if of else "",
            f"{of['spearman']:.3f}" if of else "",
            f"{of['unexplained']:.3f}" if of else "",
            f"{100 * found['mean']:.1f}",
            *(_kept(found, name) for name in ("retention", "kept_pairs", "kept_probes")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
