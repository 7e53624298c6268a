"""Job: many students from one store, side by side -> trainings, exports, one evaluation, a table.

The students stand in a TOML file: a table for each, with flags of `train`; `[defaults]` for all.

    [defaults]
    epochs = 1

    [small-learned]
    student = "bilstm-small"
    student_pooling = "learned"
"""

import dataclasses
import sys
import time
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro

from distill_jobs.evaluate import EvaluateConfig, evaluate
from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil, start_ray
from schemas.command import run_job
from schemas.parts import write_bytes

TABLE = "sweep.md"
_HEAD = (
    *("student", "differs by", "M parameters", "served MB", "unknown tokens", "train s"),
    *("spearman", "missed", "mean", "keeps"),
)
_OWN = ("store", "out", "plan")  # the sweep's to say


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

    Returns:
        Where table and report are, how many students there are, and those that time left out.

    Raises:
        FileNotFoundError: if the settings, the store or the sets are not there.
        ValueError: on a setting that `train` does not have, or does not accept.
    """
    wanted = read_settings(config.settings, config.store, config.out.absolute() / "trainings")
    trained = dict(_train_all(config, wanted))
    if not trained:
        raise ValueError(f"no student was trained within {config.minutes} minutes")
    exports = {}
    for name in trained:
        folder = config.out / "exports" / name
        exports[name] = export(ExportConfig(training=wanted[name].out, out=folder))
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
    differs = {name: _differs(wanted.values(), wanted[name]) for name in trained}
    text = table(models, {name: {**exports[name], **trained[name]} for name in trained}, differs)
    write_bytes(text.encode(), config.out, TABLE)
    sys.stderr.write(text)
    return {
        "table": str(config.out / TABLE),
        "report": summary["report"],
        "students": len(trained),
        "left_out": sorted(set(wanted) - set(trained)),
    }


def read_settings(path: Path, store: str, trainings: Path) -> dict[str, TrainConfig]:
    """The training of each student in a settings file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the student, and the setting that is wrong.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    strays = [name for name, one in read.items() if not isinstance(one, dict)]
    if strays:
        raise ValueError(f"{path}: {strays[0]} must be a table of settings, or in [defaults]")
    defaults = read.pop("defaults", {})
    if not read:
        raise ValueError(f"{path} names no student")
    return {
        name: _training(f"{path}, {name}", {**defaults, **own}, store, trainings / name)
        for name, own in read.items()
    }


def _training(where: str, settings: Mapping[str, Any], store: str, out: Path) -> TrainConfig:
    known = {field.name for field in dataclasses.fields(TrainConfig)} - set(_OWN)
    if unknown := sorted(set(settings) - known):
        raise ValueError(f"{where}: train has no setting {unknown[0]!r}; it has {sorted(known)}")
    try:
        return TrainConfig(store=store, out=out, **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _train_all(
    config: SweepConfig, wanted: Mapping[str, TrainConfig]
) -> Iterator[tuple[str, dict[str, object]]]:
    """Names and summaries of the students, as they are done."""
    until = time.monotonic() + 60 * config.minutes
    if config.parallel:
        yield from _train_with_ray(wanted, config.parallel, until)
        return
    for name, training in wanted.items():
        if time.monotonic() < until:
            yield name, _said(name, distil(training))


def _train_with_ray(
    wanted: Mapping[str, TrainConfig], parallel: int, until: float
) -> Iterator[tuple[str, dict[str, object]]]:
    # Only here: a sweep in this process needs no Ray.
    import ray

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
            yield name, _said(name, ray.get(done))


def _said(name: str, summary: dict[str, object]) -> dict[str, object]:
    sys.stderr.write(f"{name}: {summary['seconds']} s, spearman {summary['spearman']:.3f}\n")
    return summary


def _differs(trainings: Collection[TrainConfig], one: TrainConfig) -> str:
    """The settings in which a training is not what all are."""
    return ", ".join(
        f"{field.name} {getattr(one, field.name)}"
        for field in dataclasses.fields(one)
        if field.name != "out"
        and len({str(getattr(other, field.name)) for other in trainings}) > 1
        and getattr(one, field.name) != field.default
    )


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
        kept, low, high = found["retention"]
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
            f"{kept:.1%} ({low:.1%} to {high:.1%})",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
