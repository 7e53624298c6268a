"""A trained student -> ONNX files, float32 and int8, that any ONNX runtime turns into vectors."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import quantize_dynamic

from distill_jobs.backends import FILES, Vectorise, open_onnx
from distill_jobs.onnx_graph import graph
from distill_jobs.reader import Batch
from distill_jobs.student import Student
from schemas.fingerprint import file_digest
from schemas.vectors import row_cosines

_EXACT = 1 - 1e-5  # least cosine of float32
_ALONE = 32  # sentences of each batch that are also vectorised alone


def write_onnx(
    student: Student, folder: Path, batches: list[Batch]
) -> dict[str, dict[str, object]]:
    """Write both files, and compare them with torch on real sentences.

    Args:
        student: with its trained weights, on the CPU.
        folder: to write to.
        batches: of sentences that the student was not trained on.

    Returns:
        For ``onnx`` and ``onnx-int8``: sha256, file_bytes, the mean and least cosine to torch's
        vectors, and ``batch_effect``, how far a vector in a batch is from that of its sentence
        alone, at most, in shares of its length. Vectors are taken from the mean vector, since two
        BERT vectors are alike from zero anyway.

    Raises:
        ValueError: if a weight is not finite.
    """
    broken = [name for name, value in student.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"not finite, the training has diverged: {', '.join(broken)}")
    exact, small = (folder / FILES[name] for name in ("onnx", "onnx-int8"))
    onnx.save(graph(student), exact)
    # int8 for the embedding, the LSTM and the transformer's products; the few other numbers stay.
    wanted = ["Gather", "LSTM"] + ["MatMul"] * (student.config.kind == "mini-transformer")
    quantize_dynamic(
        graph(student, to_quantise=True), small, per_channel=True, op_types_to_quantize=wanted
    )
    found = {
        name: compare_with_torch(student, folder / FILES[name], batches)
        for name in ("onnx", "onnx-int8")
    }
    assert float(str(found["onnx"]["least_cosine"])) > _EXACT, found
    return found


@torch.inference_mode()
def compare_with_torch(student: Student, path: Path, batches: list[Batch]) -> dict[str, object]:
    """What `write_onnx` says of one file.

    Raises:
        ValueError: if no sentence of the batches has a token.
    """
    vectorise: Vectorise = open_onnx(path)
    offset_H = student.offset.numpy()
    cosines, effects = [], []
    for batch in batches:
        ids_BT, weights_BT = batch.ids_BT.numpy(), batch.weights_BT.numpy()
        torchs = student.vectors(batch.ids_BT, batch.weights_BT).numpy() - offset_H
        found = vectorise(ids_BT, weights_BT) - offset_H
        told = torchs.any(axis=1) & found.any(axis=1)  # one of no tokens has the mean vector itself
        cosines.append(row_cosines(torchs[told], found[told]))
        for row in np.flatnonzero(told)[:_ALONE]:
            tokens = int((weights_BT[row] > 0).sum())
            alone = vectorise(ids_BT[row : row + 1, :tokens], weights_BT[row : row + 1, :tokens])
            moved = np.linalg.norm(alone[0] - offset_H - found[row])
            effects.append(moved / np.linalg.norm(found[row]))
    all_cosines = np.concatenate(cosines)
    if not all_cosines.size:
        raise ValueError(f"none of the {len(batches)} batches to compare by has a token")
    return {
        "sha256": file_digest(path),
        "file_bytes": path.stat().st_size,
        "cosine": round(float(all_cosines.mean()), 6),
        "least_cosine": round(float(all_cosines.min()), 6),
        "batch_effect": float(f"{max(effects, default=0.0):.2g}"),
    }
