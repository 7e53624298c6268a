"""The weights of an export -> a function from padded tokens to vectors, by ONNX Runtime or torch.

Only the one that is asked for is imported. Array letters: B sentences, T tokens, H the teacher's
width.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_jobs.padding import Ids
from schemas.weights import Floats

FILES: Mapping[str, str] = {
    "onnx-int8": "model.int8.onnx",
    "onnx": "model.onnx",
    "torch": "model.safetensors",
}
"""The file of each backend."""
# For int8 to be chosen unasked: the least cosine to torch's vectors, on average, and how much
# neighbours in a batch may move a vector, in shares of its length.
LEAST_COSINE, MOST_BATCH_EFFECT = 0.999, 1e-5

Vectorise = Callable[[Ids, Floats], Floats]
"""Ids and weights [B, T] to vectors [B, H]."""


def choose(card: Mapping[str, Any], wanted: str) -> str:
    """The backend to use.

    Args:
        card: of an export.
        wanted: ``auto`` (int8 if its vectors are torch's by `LEAST_COSINE` and do not depend on
            their neighbours by more than `MOST_BATCH_EFFECT`, else float32, of ONNX; torch for an
            export made before there were ONNX files), or a name of `FILES`.

    Raises:
        ValueError: for another name, or one that the export does not have.
    """
    has = {**card.get("backends", {}), "torch": {}}
    if wanted == "auto":
        if "onnx" not in has:
            return "torch"
        # `distill_jobs compress bits` leaves a single file.
        small = has.get("onnx-int8", {"cosine": 0.0})
        alike = small["cosine"] >= LEAST_COSINE
        return "onnx-int8" if alike and _batch_effect(small) <= MOST_BATCH_EFFECT else "onnx"
    if wanted not in has:
        raise ValueError(f"backend must be auto, {', '.join(has)}, got {wanted!r}")
    return wanted


def _batch_effect(facts: Mapping[str, Any]) -> float:
    return float(facts.get("batch_effect", 1.0))  # int8 files without the number have no guards


def open_backend(
    folder: Path, card: Mapping[str, Any], backend: str, threads: int | None
) -> Vectorise:
    """Load the weights of an export.

    Args:
        folder: of the export.
        card: of the export.
        backend: from `choose`.
        threads: processor threads of torch, None for its own choice; ONNX has one.

    Raises:
        FileNotFoundError: if its file is not in the folder.
    """
    path = folder / FILES[backend]
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {path.name}, which backend {backend} needs")
    if backend == "torch":
        return _open_torch(path, card["student_config"], threads)
    return open_onnx(path)


def open_onnx(path: Path) -> Vectorise:
    """Load an ONNX file that `distill_jobs.onnx_export` wrote; it may be called by several threads.

    A second thread within a batch made int8 1.2 to 1.5 times as slow on a busy machine of 2 cores,
    and float32 not faster (2026-11-21): better a second batch beside it.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # As in __main__: a thread that waits sleeps, since machines are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    asked = {one.name for one in session.get_inputs()}

    def vectorise(ids_BT: Ids, weights_BT: Floats) -> Floats:
        lengths_B = (weights_BT > 0).sum(axis=1, dtype=np.int32)
        known = {"ids": ids_BT, "weights": weights_BT, "lengths": lengths_B}
        inputs = {name: known[name] for name in asked}
        vectors_BH: Floats = session.run(["vectors"], inputs)[0]
        return vectors_BH

    return vectorise


def _open_torch(path: Path, shape: Mapping[str, Any], threads: int | None) -> Vectorise:
    import safetensors.torch
    import torch

    from distill_jobs.student import Student, fill
    from distill_jobs.student_config import StudentConfig

    if threads:
        torch.set_num_threads(threads)
    student = Student(StudentConfig(**shape)).eval()
    fill(student, safetensors.torch.load_file(path), of=str(path))

    def vectorise(ids_BT: Ids, weights_BT: Floats) -> Floats:
        with torch.inference_mode():
            vectors_BH = student.vectors(torch.from_numpy(ids_BT), torch.from_numpy(weights_BT))
        found: Floats = vectors_BH.numpy()
        return found

    return vectorise
