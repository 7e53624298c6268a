"""Job: finished training -> a folder that serves by itself.

model.safetensors   the student's weights, and the mean and scale of its teacher's vectors
target.safetensors  the map from the teacher's vectors to the student's, if they are not the same
model.onnx          the same for ONNX Runtime
model.int8.onnx     a quarter of the size
config.json         its shape, its card, the digests of the weights
tokenizer.json, idf.parquet, preparer.json   what turns a sentence into tokens and weights;
                    a student that does not pool by IDF has no idf.parquet
README.md           the model card
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from distill_jobs import checkpoint, targets
from distill_jobs.export_folder import aside, held, pin_store
from distill_jobs.model_card import model_card
from distill_jobs.onnx_export import write_onnx
from distill_jobs.reader import Batch, draw, hold_out, row_groups
from distill_jobs.student import Student, parameters
from distill_jobs.student_config import StudentConfig
from distill_jobs.tokens import TokenPreparer
from distill_jobs.train import read_run
from distill_jobs.validation import held_out_batches
from schemas.code_version import code_version
from schemas.command import redact, run_job
from schemas.fingerprint import check_same, digest, file_digest, seal
from schemas.prepare import load_preparer, preparer_folder
from schemas.store import Store, open_store
from schemas.vectors import open_decoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a student as a folder that serves by itself."""

    training: Path
    """Folder of the training."""
    out: Path
    """Folder to create."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and export."""
    run_job(ExportConfig, argv, export)


def export(config: ExportConfig) -> dict[str, object]:
    """Export the newest sound checkpoint of a training.

    Returns:
        The student's card; `store_pinned`; `reused` if the folder held this very student already.

    Raises:
        FileNotFoundError: if there is no training.
        FileExistsError: if the folder holds something else.
        ValueError: if the training has no sound checkpoint, or what the folder held has changed.
    """
    run = read_run(config.training)
    if run is None:
        raise FileNotFoundError(f"there is no training in {config.training}")
    path, complaints = checkpoint.newest(config.training / "checkpoints")
    if path is None:
        raise ValueError(
            f"{config.training} has no sound checkpoint: {complaints or 'none at all'}"
        )
    name = digest([run, file_digest(path / "student.safetensors")])
    found = card = held(config.out, name)
    if card is None:
        with aside(config.out) as folder:
            card = _write(folder, run, path, name)
    # Again where it was found: a run may have ended between its last two acts.
    pinned = pin_store(run["store"], run["store_version"], config.out)
    return {**card, "store_pinned": pinned, "reused": found is not None}


def _write(folder: Path, run: Mapping[str, Any], path: Path, name: str) -> dict[str, Any]:
    """Fill the folder; returns the card."""
    store = open_store(run["store"], run["store_version"])
    folder_of_preparer = preparer_folder(run["store"], store.fingerprint)
    preparer = load_preparer(Path(folder_of_preparer))
    check_same(
        preparer.fingerprint,
        {key: store.fingerprint[key] for key in preparer.fingerprint},
        of=folder_of_preparer,
    )
    student = Student(StudentConfig(**run["student"]))
    checkpoint.load_student(path, student)
    weights = folder / "model.safetensors"
    checkpoint.save_tensors(student.state_dict(), weights)
    if student.config.pooling == "idf":
        preparer.save(folder.absolute())
    else:
        TokenPreparer(preparer.tokenizer_json, preparer.max_tokens).save(folder)
    held_out = _held_out(run, store)
    backends = write_onnx(student.eval(), folder, held_out)
    state = checkpoint.read_state(path)
    about = {
        "model_type": "ltd_student",
        "export_id": name,
        "sha256": file_digest(weights),
        "student_config": run["student"],
        "student": run["student"]["kind"],
        "hidden": run["student"]["width"],
        "pooling": run["pooling"],
        **_target(folder, run, path.parent.parent),
        "objective": run["objective"],
        "parameters": parameters(student),
        "file_bytes": weights.stat().st_size,
        "backends": backends,
        "unknown_rate": unknown_rate(student, held_out),
        "train_rows": _train_rows(run, store),
        "train_seconds": state.seconds,
        "train_steps": state.step,
        "validation": state.scores,
        "idf_words": len(preparer.table.df),
        "idf_sentences": preparer.table.n_docs,
        **_about_store(store),
    }
    card = seal(about)
    text = json.dumps(card, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(model_card(card), encoding="utf-8")
    return card


def _target(folder: Path, run: Mapping[str, Any], training: Path) -> dict[str, object]:
    """Copy the map of the targets, if there is one; returns what the card says of it."""
    name = run.get("target", "teacher")  # what an older run does not name has its default
    if name == "teacher":
        return {"target": name}
    shutil.copy(training / targets.FILE, folder / targets.FILE)
    return {"target": name, "target_sha256": file_digest(folder / targets.FILE)}


def _held_out(run: Mapping[str, Any], store: Store) -> list[Batch]:
    """Sentences that the training did not see."""
    _, groups = hold_out(row_groups(store), run["validation_rows"], run["seed"])
    return held_out_batches(groups, open_decoder(store, run["pooling"]))


def _train_rows(run: Mapping[str, Any], store: Store) -> int:
    """How many sentences the training read in an epoch."""
    groups, _ = hold_out(row_groups(store), run["validation_rows"], run["seed"])
    if rows := run.get("rows", 0):
        groups = draw(groups, rows, run["seed"], run.get("since", ""))
    return sum(group.rows for group in groups)


def unknown_rate(student: Student, batches: Sequence[Batch]) -> float:
    """Share of the tokens of sentences that have no vector of their own, from 0 to 1."""
    if student.rows is None:
        return 0.0
    tokens = torch.cat([batch.ids_BT[batch.weights_BT > 0] for batch in batches])
    return round(float((student.rows[tokens] == 0).float().mean()), 6)


def _about_store(store: Store) -> dict[str, object]:
    """What the card says of the store and its teacher; its runs name their inputs themselves."""
    # Of its commits only the teacher's runs have a teacher; others forget, compact, move, repair.
    runs = [one.summary for one in store.commits if "teacher_seconds" in one.summary]
    seconds = sum(float(str(run["teacher_seconds"])) for run in runs)
    return {
        "code": code_version(),
        "store": redact(store.location),
        "store_version": store.version,
        "store_fingerprint": digest(dict(store.fingerprint)),
        "store_run_ids": [commit.run_id for commit in store.commits],
        "store_rows": store.rows,
        "teacher_name": runs[-1]["teacher"],
        "teacher_bytes": runs[-1]["teacher_bytes"],
        "teacher_parameters": runs[-1]["teacher_parameters"],
        "teacher_seconds": round(seconds, 1),
        "teacher_sentences_per_second": round(store.rows / max(seconds, 1e-9), 1),
    }
