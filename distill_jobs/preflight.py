"""Check a training against its store before any worker starts, and say what it will be."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch

from distill_jobs import checkpoint, targets
from distill_jobs.loop import Run, new_student
from distill_jobs.objectives import widest_part
from distill_jobs.reader import Group, hold_out, read_group, row_groups
from distill_jobs.student import parameters
from distill_jobs.student_config import StudentConfig, preset
from distill_jobs.targets import Target
from distill_jobs.vocabulary import most_frequent, token_counts, unknown_rate
from schemas.fingerprint import check_same
from schemas.prepare import load_preparer, preparer_folder
from schemas.store import Store, open_store
from schemas.vectors import Decoder, open_decoder
from schemas.weights import Floats

if TYPE_CHECKING:
    from distill_jobs.train import TrainConfig

_SAMPLE = 20_000  # rows from which the targets' mean and scale are taken


class Facts(TypedDict):
    """What a training is, for people."""

    store_version: int
    training_rows: int
    held_out_rows: int
    student: str
    parameters: int
    steps: int
    precision: str
    unknown_rate: float


def preflight(config: "TrainConfig") -> tuple[Run, Facts, Target | None]:
    """Check everything that can be checked before any worker starts.

    Returns:
        What the workers are to do, the facts of it, and the map of the targets, if any, that is to
        be in the training's folder.

    Raises:
        ValueError: naming what does not fit and what the store has instead.
    """
    store = open_store(config.store, config.store_version)
    check_column(store, config.pooling)
    training, _ = hold_out(row_groups(store), config.validation_rows, config.seed)
    sample_NH = sample(training, open_decoder(store, config.pooling))
    target = _target(config, sample_NH)
    offset, scale = standard(sample_NH if target is None else target.of(sample_NH))
    kept, unknown = _vocabulary(store, config)
    widths = sample_NH.shape[1], len(offset)
    shape = _shape(config, int(store.fingerprint["vocabulary"]), widths, len(kept))
    run = Run(
        store=config.store if "://" in config.store else os.path.abspath(config.store),
        store_version=store.version,
        pooling=config.pooling,
        student=shape,
        objective=config.objective,
        offset=tuple(offset),
        scale=scale,
        folder=os.path.abspath(config.out),
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        streams=config.streams,
        seed=config.seed,
        precision=resolve_precision(config.precision),
        validation_rows=config.validation_rows,
        checkpoint_every=config.checkpoint_every,
        warm_start=_warm_start(config.warm_start, shape),
        kept=tuple(kept),
        rows=config.rows or 0,
        since=config.since or "",
        target=config.target,
    )
    chosen, held = run.groups()
    facts = Facts(
        store_version=store.version,
        training_rows=sum(group.rows for group in chosen),
        held_out_rows=sum(group.rows for group in held),
        student=config.student,
        parameters=parameters(new_student(run)),
        steps=run.plan(0).steps * config.epochs,
        precision=run.precision,
        unknown_rate=round(unknown, 6),
    )
    return run, facts, target


def _target(config: "TrainConfig", sample_NH: Floats) -> Target | None:
    """The map of the targets; a warm start goes on with its own, or its vectors would move."""
    if config.warm_start is None or not (config.warm_start / "run.json").is_file():
        return targets.fit(config.target, sample_NH)
    begun = _run_of(config.warm_start).get("target", "teacher")
    if begun != config.target:
        raise ValueError(
            f"the training in {config.warm_start} has target {begun}, not {config.target}"
        )
    return None if begun == "teacher" else targets.load(config.warm_start)


def _shape(
    config: "TrainConfig", vocabulary: int, widths: tuple[int, int], kept: int
) -> StudentConfig:
    teacher, width = widths
    if widest_part(config.objective) > width:
        raise ValueError(
            f"the vectors have {width} numbers, too few for objective {config.objective!r}"
        )
    return preset(
        config.student,
        vocabulary=vocabulary,
        width=width,
        teacher=teacher,
        embedding=config.embedding,
        hidden=config.hidden,
        layers=config.layers,
        share_layers=config.share_layers or None,
        projected=config.projected,
        pooling=config.student_pooling,
        kept=kept,
    )


def _vocabulary(store: Store, config: "TrainConfig") -> tuple[list[int], float]:
    """Token ids to keep, and the share of the IDF job's corpus that is none of them.

    A warm start goes on with its own tokens: its vectors are theirs, whatever has moved since.
    """
    if config.vocabulary is None:
        return [], 0.0
    preparer = load_preparer(Path(preparer_folder(store.location, store.fingerprint)))
    counts = token_counts(preparer.tokenizer_json, preparer.table)
    known = config.warm_start is not None and (config.warm_start / "run.json").is_file()
    begun = _run_of(config.warm_start).get("kept", []) if config.warm_start and known else []
    if len(begun) == config.vocabulary:
        return begun, unknown_rate(counts, begun)
    return most_frequent(counts, config.vocabulary)


def check_column(store: Store, pooling: str) -> None:
    """Refuse a pooling that the store does not have.

    Raises:
        ValueError: naming those that it has.
    """
    has = store.fingerprint["poolings"].split(",")
    if pooling not in has:
        raise ValueError(
            f"{store.location} has no {pooling} vectors, only {', '.join(has)}; make them with "
            "`python -m pipelines teacher --pooling ...` into a new store"
        )


def sample(groups: Sequence[Group], decoder: Decoder) -> Floats:
    """The teacher's vectors [N, H] of some rows.

    Raises:
        ValueError: if they are all the same.
    """
    rows, vectors = 0, []
    for group in groups:
        vectors.append(decoder.decode(read_group(group, decoder.columns)))
        rows += group.rows
        if rows >= _SAMPLE:
            break
    found_NH: Floats = np.concatenate(vectors)
    if not np.ptp(found_NH, axis=0).any():
        raise ValueError(f"all {rows} {decoder.pooling} vectors sampled are the same")
    return found_NH


def standard(targets_NK: Floats) -> tuple[list[float], float]:
    """Mean of the targets, and the root of their mean squared distance from it."""
    exact_NK = targets_NK.astype(np.float64)
    offset_K = exact_NK.mean(axis=0)
    scale = float(np.sqrt(np.square(exact_NK - offset_K).sum(axis=1).mean()))
    return offset_K.astype(np.float32).tolist(), scale


def resolve_precision(name: str) -> str:
    """Replace ``auto`` by bfloat16 where the processor computes in it, else float32.

    Raises:
        ValueError: for another name.
    """
    if name in ("float32", "bfloat16"):
        return name
    if name != "auto":
        raise ValueError(f"precision must be auto, float32 or bfloat16, got {name!r}")
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def _warm_start(folder: Path | None, shape: StudentConfig) -> str | None:
    if folder is None:
        return None
    path, _ = checkpoint.newest(folder / "checkpoints")
    if path is None:
        raise ValueError(f"{folder} has no sound checkpoint to start from")
    begun = StudentConfig(
        **_run_of(folder)["student"]
    )  # what an older run does not name has its default
    check_same(_named(vars(begun)), _named(vars(shape)), of=f"the student in {folder}")
    return os.path.abspath(path)


def _run_of(folder: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return found


def _named(shape: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in shape.items()}
