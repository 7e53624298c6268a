"""Job: labelled sets, teacher vectors, finished students -> evaluation rows and an HTML report.

sets -> minus sentences trained on -> vectors of each model -> scores -> table and report
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import tyro

from distill_jobs.evaluation import guards, models, report, scoreboard
from distill_jobs.evaluation.compare import compare
from distill_jobs.evaluation.holdout import without_overlaps
from distill_jobs.evaluation.models import Model
from distill_jobs.evaluation.result import Result
from distill_jobs.evaluation.summary import judged, summarise
from distill_jobs.evaluation.tasks import LabelledSet, read_sets
from schemas import parts, store, tables
from schemas.command import on_terminal, run_job
from schemas.fingerprint import Fingerprint, digest, file_digest
from schemas.store import Store

PROTOCOL = "1"  # goes up with any change that moves a number
CONTENT = "3"  # goes up when rows are added: a finished run is then done again, into the same table


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Compare the teacher, students and a baseline on labelled sets; write a table and a report."""

    tasks: Path
    """Folder of labelled sets: <name>/{train,dev,test}.tsv or .tsv.gz."""
    teacher_store: str
    """Teacher store with the sentences of the sets; every vector column in it is compared."""
    out: Path
    """Folder for the table (evaluation), report.html and report.txt."""
    student: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A finished student, NAME=EXPORT_FOLDER; may be given again."""
    sets: tuple[str, ...] = ()
    """Only these sets; all of the folder if none is named."""
    train_store: str | None = None
    """Store whose sentences are left out; by default the one that each student's card names."""
    reference: str = "teacher/idf"
    """What the others are measured by: a column of the teacher store, or a student."""
    max_rows: int = 4000
    """Rows of a test split, drawn by the seed; twice as many of a train split."""
    budgets: tuple[int, ...] = (100, 1000)
    """Numbers of labels that probes are taught with, besides all of them."""
    seed: int = 0
    """Of every draw."""
    require_retention: float | None = None
    """Fail (status 65), the report being written, if a student keeps less of the reference's mean
    value than this, say 0.95, or does not stand in for it at all."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.max_rows < 10:
            raise ValueError(f"max_rows must be at least 10, got {self.max_rows}")
        if any(budget < 2 for budget in self.budgets):
            raise ValueError(f"budgets must be at least 2 labels, got {self.budgets}")
        if self.require_retention is not None and not 0 <= self.require_retention < math.inf:
            raise ValueError(f"require_retention must be 0 or more, got {self.require_retention}")
        names = [argument.partition("=")[0] for argument in self.student]
        if len(set(names)) < len(names):
            raise ValueError(f"students must have different names, got {names}")

    @property
    def least_kept(self) -> float:
        """Share of the reference's mean value that a student must keep to stand in for it."""
        return guards.LEAST_KEPT if self.require_retention is None else self.require_retention

    @property
    def command(self) -> str:
        """The command line that gives the same result."""
        words = ["python -m distill_jobs evaluate"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            flag = f"--{field.name.replace('_', '-')}"
            if field.name == "student":
                words += [f"{flag} {argument}" for argument in value]
            elif isinstance(value, tuple):
                words += [f"{flag} {' '.join(map(str, value))}"] if value else []
            elif value is not None:
                words.append(f"{flag} {value}")
        return " ".join(words)


def main(argv: Sequence[str]) -> None:
    """Read the flags and evaluate."""
    run_job(EvaluateConfig, argv, evaluate)


def evaluate(config: EvaluateConfig) -> dict[str, object]:
    """Run the job, or find that it has been run.

    Returns:
        The summary: each model's mean value, how far it is from the others, how alike its vectors
        are, a verdict on each student; what was left out, where things are.

    Raises:
        FileNotFoundError: if the sets, a store or an export is not there.
        ValueError: on bad data, if `out` holds evaluations that cannot be compared with this, or,
            with the report written, if a student keeps less than `require_retention`.
    """
    summary = judged(_evaluate(config), config.least_kept)
    reasons = [
        f"{name} does not stand in for its teacher: {'; '.join(faults)}"
        for name, faults in summary["faults"].items()
    ]
    if reasons and config.require_retention is not None:
        raise ValueError(f"{'. '.join(reasons)}. The report is {summary['report']}")
    return summary


def _evaluate(config: EvaluateConfig) -> dict[str, object]:
    """Run the job, or find that it has been run; the summary says nothing of `least_kept`."""
    table = f"{config.out}/evaluation"
    sets = read_sets(config.tasks, max_rows=config.max_rows, seed=config.seed, only=config.sets)
    students = [models.student(argument) for argument in config.student]
    trained = training_stores(config, students)
    missing = config.out / "missing_sentences.txt"
    if not store.exists(config.teacher_store):
        texts = models.all_texts(without_overlaps(sets, trained))
        models.ask_for(texts, missing, config.teacher_store)
    teacher_store = store.open_store(config.teacher_store)
    teacher_store.verify()
    fingerprint = _fingerprint(config, sets, teacher_store)
    run_id = digest([fingerprint, _identity(config, trained)])
    done = store.committed(table, run_id)
    if done is not None and report.written_by(config.out) == (run_id, config.least_kept):
        _show((config.out / report.TEXT).read_text(encoding="utf-8"))
        return {**done.summary, "already_done": True}
    if store.exists(table):
        store.open_store(table, expected=fingerprint)
    parts.check_writable(table)
    sets = without_overlaps(sets, trained)
    texts = models.all_texts(sets)
    teachers = models.teachers(teacher_store, texts, missing)
    compared = _reference_first(config.reference, [*teachers, *students])
    compared.append(models.tfidf(config.seed))
    result = compare(compared, sets, budgets=config.budgets, seed=config.seed)
    result = dataclasses.replace(result, least_kept=config.least_kept)
    summary = summarise(result, str(config.out / report.HTML), table)
    report.write(config.out, result, config.command, run_id)
    _show(scoreboard.text(result, colour=on_terminal()))
    if done is None:  # else only the report was lost, or another run's took its place
        _commit(table, result, run_id, fingerprint, summary)
    parts.tidy(table)
    return {**summary, "already_done": False}


def training_stores(config: EvaluateConfig, students: Sequence[Model]) -> list[Store]:
    """The stores that students were trained from, at the versions that they saw.

    Raises:
        ValueError: if a student's store is unknown or gone, so that overlaps cannot be found.
    """
    if config.train_store:
        return [store.open_store(config.train_store)]
    wanted: set[tuple[str, int | None]] = set()
    for student in students:
        location, version = student.card.get("store"), student.card.get("store_version")
        if not location or not store.exists(str(location)):
            raise ValueError(
                f"the student {student.name} was trained from {location}, which is not there, so "
                "sentences that it has seen cannot be left out; say where it is: --train-store"
            )
        wanted.add((str(location), version if isinstance(version, int) else None))
    return [store.open_store(*at) for at in sorted(wanted, key=str)]


def _reference_first(reference: str, known: Sequence[Model]) -> list[Model]:
    names = [model.name for model in known]
    if reference not in names:
        raise ValueError(f"the reference must be one of {', '.join(names)}, got {reference!r}")
    return sorted(known, key=lambda model: model.name != reference)


def _fingerprint(
    config: EvaluateConfig, sets: Sequence[LabelledSet], teacher_store: Store
) -> dict[str, str]:
    """What evaluations must share for their rows to stand in one table."""
    return {
        "protocol": PROTOCOL,
        "sets": digest([dataclasses.astuple(labelled) for labelled in sets]),
        "teacher_store": digest(dict(teacher_store.fingerprint)),
        "reference": config.reference,
        "budgets": ",".join(map(str, config.budgets)),
        "seed": str(config.seed),
    }


def _identity(config: EvaluateConfig, trained: Sequence[Store]) -> list[object]:
    """What makes this evaluation another one than its neighbours in the table."""
    exports = {}
    for argument in config.student:
        name, _, folder = argument.partition("=")
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        exports[name] = {str(path.relative_to(folder)): file_digest(path) for path in files}
    return [CONTENT, exports, [(s.location, s.version) for s in trained]]


def _commit(
    table: str,
    result: Result,
    run_id: str,
    fingerprint: Fingerprint,
    summary: Mapping[str, object],
) -> None:
    part = parts.write(result.to_arrow(), table, f"{run_id}.parquet")
    store.commit(
        table, tables.EVALUATION, [part], run_id=run_id, fingerprint=fingerprint, summary=summary
    )


def _show(table: str) -> None:
    sys.stderr.write(f"{table}\n")
