"""What the guards of the int8 LSTM cost and give, see `distill_jobs.onnx_graph`.

    python -m tests.bench.guards --training work/training

One trained student, quantised with and without guards: cosine to torch, how far neighbours in a
batch move a vector, and processor time a sentence on one thread, in turn.
"""

import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro
from onnxruntime.quantization import quantize_dynamic

from distill_jobs import checkpoint
from distill_jobs.backends import open_onnx
from distill_jobs.onnx_export import compare_with_torch
from distill_jobs.onnx_graph import graph
from distill_jobs.reader import hold_out, row_groups
from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig
from distill_jobs.train import read_run
from distill_jobs.validation import held_out_batches
from schemas.store import open_store
from schemas.vectors import open_decoder


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuardsConfig:
    """Measure the guards on a finished training."""

    training: Path
    """Of a student with an LSTM."""
    rounds: int = 15
    """Times that each is timed, in turn."""


def microseconds(vectorise, sentences: int, tokens: int) -> float:
    """Processor time a sentence, of equally long ones."""
    ids = np.random.default_rng(0).integers(1, 1000, (sentences, tokens))
    weights = np.full((sentences, tokens), 1 / tokens, np.float32)
    times = max(2, 60 // sentences)
    vectorise(ids, weights)
    began = time.process_time()
    for _ in range(times):
        vectorise(ids, weights)
    return (time.process_time() - began) / times / sentences * 1e6


def main(config: GuardsConfig) -> str:
    """The table."""
    run = read_run(config.training)
    student = Student(StudentConfig(**run["student"])).eval()
    checkpoint.load_student(checkpoint.newest(config.training / "checkpoints")[0], student)
    opened_store = open_store(run["store"], run["store_version"])
    _, groups = hold_out(row_groups(opened_store), run["validation_rows"], run["seed"])
    batches = held_out_batches(groups, open_decoder(opened_store, run["pooling"]))
    found, opened = {}, {}
    for name, guarded in (("without guards", False), ("with guards", True)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            wanted = graph(student, to_quantise=guarded)
            types = ["Gather", "LSTM"]
            quantize_dynamic(wanted, path, per_channel=True, op_types_to_quantize=types)
            found[name] = compare_with_torch(student, path, batches)
            opened[name] = open_onnx(path)
    taken = {name: {1: [], 32: []} for name in opened}
    for _ in range(config.rounds):
        for name, vectorise in opened.items():
            for size, times in taken[name].items():
                times.append(microseconds(vectorise, size, 17))
    names = "| int8 | cosine, mean | least | batch effect | us alone | us of 32 |"
    lines = [names, "|---" * 6 + "|"]
    for name, facts in found.items():
        alone, together = (statistics.median(times) for times in taken[name].values())
        told = f"{facts['cosine']} | {facts['least_cosine']} | {facts['batch_effect']}"
        lines.append(f"| {name} | {told} | {alone:.0f} | {together:.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(main(tyro.cli(GuardsConfig)))
