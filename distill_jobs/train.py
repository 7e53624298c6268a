"""Job: teacher store -> student, with Ray Train or in this process.

The run's folder decides what happens: nothing there begins a training, an unfinished one is taken
up again, a finished one is left alone, one made with other settings is refused.
"""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_jobs import checkpoint
from distill_jobs.loop import Run, train
from distill_jobs.objectives import read_objective
from distill_jobs.preflight import Facts, preflight
from distill_jobs.student_config import StudentConfig
from distill_jobs.targets import Target, read_target
from schemas.command import run_job
from schemas.fingerprint import check_same
from schemas.pins import pin
from schemas.store import open_store


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Distil a student from a teacher store; run again, it goes on where it stopped."""

    store: str
    """Folder of the teacher store."""
    out: Path
    """Folder of this training: checkpoints, logs."""
    store_version: int | None = None
    """Version of the store; by default the newest when the training begins."""
    student: str = "bilstm"
    """bilstm (LTD-BERT's, projected), bilstm-22m (not, in its published size), bilstm-small and
    bilstm-tiny (half, a quarter of the states), mini-transformer, or static (no context)."""
    embedding: int | None = None
    """Numbers of a token's vector: the rank of the embedding table. By default 96, in bilstm-22m
    180, in bilstm-small 128, in bilstm-tiny 64, in static the teacher's width."""
    hidden: int | None = None
    """Of the LSTM each way (by default half of the teacher's width, in bilstm-small a quarter, in
    bilstm-tiny an eighth); of the transformer (256)."""
    layers: int | None = None
    """Of the mini-transformer, by default 2."""
    share_layers: bool = False
    """Give all layers of the mini-transformer the same weights, as ALBERT does."""
    projected: bool | None = None
    """Project pooled states even where they have the vectors' width, as in bilstm (the default is
    to) and bilstm-22m (not to)."""
    vocabulary: int | None = None
    """Keep only so many tokens, the most frequent of the corpus whose words the IDF job counted;
    the others share one vector."""
    student_pooling: str = "learned"
    """How the student weighs tokens: learned (it learns the IDF weights from the context, so that
    serving needs no words), idf (given: serving segments), mean."""
    pooling: str = "idf"
    """Which of the store's vectors to learn."""
    target: str = "teacher"
    """What of them: teacher (all), centred (less their mean), pca64 (along so many principal
    components), whiten64 (these, each of variance 1); the student's vectors are then such."""
    objective: str = "mse"
    """mse, l2, cosine, relational, gram_kl, order, margin_mse, infonce, or a sum such as
    cosine=1,relational=0..20,relational@64=5 (a weight that grows; the first 64 numbers)."""
    rows: int | None = None
    """About how many of the store's rows to train on, drawn by the seed; by default all."""
    since: str | None = None
    """With --rows: rows of this ingest date and later are all among them."""
    epochs: int = 3
    """Passes over the rows."""
    batch_size: int = 256
    """Sentences in a step, over all workers; a multiple of --streams."""
    learning_rate: float = 5e-3
    """Peak learning rate of AdamW."""
    seed: int = 0
    """Of the student's first weights and of the order of rows."""
    workers: int = 0
    """Ray Train workers; 0 trains in this process."""
    min_workers: int | None = None
    """Go on with so many where nodes are lost, with up to --workers where they come back; by
    default always --workers."""
    streams: int = 8
    """Lanes of the reader; up to so many workers train on the same batches, in equal shares where
    their number divides it."""
    gpu: bool = False
    """Give each Ray worker a GPU."""
    precision: str = "auto"
    """auto, float32 or bfloat16."""
    validation_rows: int = 2048
    """About how many rows to hold out for the label-free score."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    warm_start: Path | None = None
    """A finished training of the same shape to begin from."""
    plan: bool = False
    """Only print what the training would be."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        read_objective(self.objective)
        read_target(self.target)
        numbers = ("epochs", "batch_size", "streams", "checkpoint_every", "validation_rows")
        for name in (*numbers, "embedding", "hidden", "layers", "vocabulary", "rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.batch_size % self.streams:
            raise ValueError(
                f"batch_size must be a multiple of streams ({self.streams}), got {self.batch_size}"
            )
        if self.since is not None and self.rows is None:
            raise ValueError(f"since says which of --rows are taken in any case: {self.since!r}")
        if self.workers > self.streams:
            raise ValueError(
                f"workers must be at most streams ({self.streams}), got {self.workers}"
            )
        if self.min_workers is not None and not 1 <= self.min_workers <= self.workers:
            raise ValueError(
                f"min_workers must be from 1 to workers ({self.workers}), got {self.min_workers}"
            )


def main(argv: Sequence[str]) -> None:
    """Read the flags and train."""
    run_job(TrainConfig, argv, distil)


def distil(config: TrainConfig) -> dict[str, object]:
    """Train a student, or take up or find its training.

    Returns:
        Steps, seconds, validation scores, and the folder of the final checkpoint.

    Raises:
        ValueError: if the settings do not fit the store, a part of it is damaged, or the folder
            holds another training.
    """
    _check_places(config)
    folder = config.out.absolute()
    begun = read_run(folder)
    if begun and config.store_version is None:
        # The store may have grown since; a training stays with the version it began on.
        config = dataclasses.replace(config, store_version=int(str(begun["store_version"])))
    run, facts, target = preflight(config)
    if config.plan:
        return dict(facts)
    _claim(folder, run, begun, target)
    pinned = pin(run.store, run.store_version, folder)
    last = final_checkpoint(folder, facts)
    reused = last is not None
    if last is None:
        open_store(run.store, run.store_version).verify()
        _launch(run, config)
        last = final_checkpoint(folder, facts)
        if last is None:
            raise RuntimeError(f"the training in {folder} ended before its last step")
    state = checkpoint.read_state(last)
    found: dict[str, object] = {**facts, "seconds": state.seconds, **state.scores}
    found["rows_learned"] = [rows for rows, _ in state.rows_learned or ()]
    found |= {"checkpoint": str(last), "store_pinned": pinned, "already_done": reused}
    return found


def final_checkpoint(folder: Path, facts: Facts) -> Path | None:
    """The sound checkpoint of the last step, or None if the training is not finished."""
    path = folder / "checkpoints" / f"step-{facts['steps']:08d}"
    return path if path.is_dir() and checkpoint.find_fault(path) is None else None


def _launch(run: Run, config: TrainConfig) -> None:
    """Run the loop here, or in Ray Train's workers."""
    if not config.workers:
        train(run, lambda scores: None)
        return
    # Only here: a training in this process needs no Ray.
    from distill_jobs.ray_workers import Workers, train_with_ray

    train_with_ray(run, Workers(config.workers, config.min_workers, config.gpu))


def _check_places(config: TrainConfig) -> None:
    """Refuse relative paths where Ray runs a submitted job: in its own copy of --working-dir.

    Raises:
        ValueError: naming the path.
    """
    if "working_dir_files" not in Path.cwd().parts:
        return
    for name in ("store", "out", "warm_start"):
        place = str(getattr(config, name) or "/")
        if "://" not in place and not os.path.isabs(place):
            raise ValueError(
                f"{name} is {place!r}, which here is in Ray's temporary copy of --working-dir; "
                "give an absolute path on storage that all nodes see"
            )


def read_run(folder: Path) -> Mapping[str, Any] | None:
    """What the training in a folder is, or None if there is none."""
    path = folder / "run.json"
    if not path.is_file():
        return None
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _claim(folder: Path, run: Run, begun: Mapping[str, Any] | None, target: Target | None) -> None:
    """Write down what this folder's training is, or check that it is this one.

    Raises:
        ValueError: naming each setting that differs.
    """
    wanted = json.loads(json.dumps(dataclasses.asdict(run)))
    if begun is None:
        folder.mkdir(parents=True, exist_ok=True)
        if target is not None:
            target.save(folder)
        aside = folder / "run.json.tmp"
        aside.write_text(json.dumps(wanted, indent=2), encoding="utf-8")
        os.replace(aside, folder / "run.json")
        return
    # What an older run does not name has its default.
    defaults = {field.name: field.default for field in dataclasses.fields(Run)}
    begun = {**defaults, **begun, "student": dataclasses.asdict(StudentConfig(**begun["student"]))}
    # These follow from the store; printing them would bury what differs.
    derived = ("offset", "scale", "folder", "kept")
    pairs = [
        {name: str(value) for name, value in one.items() if name not in derived}
        for one in (begun, wanted)
    ]
    check_same(*pairs, of=f"the training in {folder}")
