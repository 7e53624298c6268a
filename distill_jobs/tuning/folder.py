"""A trained network -> the folder that `tuning.model` describes, whole or not there."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from distill_jobs import checkpoint
from distill_jobs.backends import FILES
from distill_jobs.encoder import read_card
from distill_jobs.export_folder import aside, copy_preparer
from distill_jobs.onnx_export import write_onnx
from distill_jobs.reader import Batch
from distill_jobs.tuning.examples import Examples, in_order, score_scale
from distill_jobs.tuning.model import ABOUT, HEAD, readme
from distill_jobs.tuning.network import Tuned
from distill_jobs.tuning.task import Task
from schemas.fingerprint import file_digest, seal

COMPARED = 2048  # sentences on which ONNX is compared with torch, at most


def write_folder(
    source: Path, out: Path, network: Tuned, task: Task, told: tuple[Examples, Mapping[str, Any]]
) -> None:
    """Write the folder.

    Args:
        source: the export that was tuned.
        out: to create.
        network: on the CPU, with its trained weights.
        task: what it was trained on.
        told: rows to compare backends on; and the result, with the ``name`` of the tuning.
    """
    compared, result = told
    about = {name: value for name, value in result.items() if name != "name"}
    card = read_card(source)
    with aside(out) as folder:
        copy_preparer(source, folder)
        _write_encoder(folder, network, card, _batches(compared), (result["name"], about))
        _write_head(folder, network, task, result["name"])
        text = readme(about, str(card.get("teacher_name", "a teacher")))
        (folder / "README.md").write_text(text, encoding="utf-8")


def _write_encoder(
    folder: Path,
    network: Tuned,
    card: Mapping[str, Any],
    batches: list[Batch],
    named: tuple[str, Mapping[str, Any]],
) -> None:
    """The encoder as an export of its own."""
    weights = folder / FILES["torch"]
    checkpoint.save_tensors(network.student.state_dict(), weights)
    name, result = named
    about = {
        **{key: value for key, value in card.items() if key != "digest"},
        "export_id": name,
        "sha256": file_digest(weights),
        "file_bytes": weights.stat().st_size,
        "backends": write_onnx(network.student.eval(), folder, batches),
        "tuned": result,
    }
    _write_json(folder / "config.json", seal(about))


def _write_head(folder: Path, network: Tuned, task: Task, name: str) -> None:
    tensors = {key: value.contiguous() for key, value in network.head.state_dict().items()}
    tensors["offset"] = network.student.offset.clone()
    tensors["factor"] = torch.tensor(network.feature_scale)
    checkpoint.save_tensors(tensors, folder / HEAD)
    about = {
        "model_type": "ltd_tuned",
        "export_id": name,
        "task": task.name,
        "kind": str(task.kind),
        "classes": list(task.classes),
        "score_scale": None if task.classes else score_scale(task),
        "sha256": file_digest(folder / HEAD),
    }
    _write_json(folder / ABOUT, seal(about))


def _batches(examples: Examples) -> list[Batch]:
    """First sentences of some rows, as the export's comparison takes them."""
    some = [one for one in examples.sides[0] if (one.weights > 0).any()][:COMPARED]
    single = Examples((some,), torch.zeros(len(some)))
    return [
        Batch(one.ids_BT, one.weights_BT, torch.zeros(len(rows), 1), len(rows), len(rows))
        for rows, one in in_order(single)
    ]


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
