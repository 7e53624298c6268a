"""Verb: store the weights in 16, 8, 4 or 2 bits, by groups, in one ordinary ONNX file.

They are unpacked when the file is loaded, so serving takes the time and memory of float32. The
folder has nothing but model.onnx: this is the last step.

A bilstm of 5.15 MB, and the cosine to its vectors: 16 bits 2.58 MB, 1.0000; 8 bits 1.37 MB,
0.99998; 4 bits 0.73 MB, 0.9954; 2 bits 0.41 MB, 0.925, in groups of 128 0.37 MB (13.9 times
smaller), 0.918; 248 to 253 us a sentence for all, float32 250. On 5 labelled sets it keeps 98.5 %
of its teacher, in 4 bits 98.2 %, in 2 97.7 % (2026-11-21).
"""

import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import onnx

from distill_jobs.backends import FILES, open_onnx
from distill_jobs.compress.choice import measure_options, smallest
from distill_jobs.compress.fidelity import Sentences, mean_cosine, vectors_by, vectors_of
from distill_jobs.compress.folder import Changed, compress
from distill_jobs.compress.packed_graph import Plan, Storage, big_constants, packed_graph
from distill_jobs.compress.source import Compression, Source
from distill_jobs.onnx_graph import graph
from distill_jobs.reader import Batch
from distill_jobs.student import Student
from schemas.command import run_job
from schemas.weights import Floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class BitsConfig(Compression):
    """Store the weights in few bits; auto needs --sentences."""

    bits: Literal["16", "8", "4", "2", "auto"]
    """Of a weight; auto chooses bits and group for each array."""
    group: int = 64
    """Weights that share a scale and a least number, 4 bytes; for 2 to 8 bits."""
    least_cosine: float = 0.999
    """For auto: the least cosine to the student's own vectors, on average."""

    def __post_init__(self) -> None:
        """Reject what cannot work."""
        if self.group < 8 or self.group % 8:
            raise ValueError(f"group must be a multiple of 8, got {self.group}")
        if not 0 < self.least_cosine < 1:
            raise ValueError(f"least_cosine must be between 0 and 1, got {self.least_cosine}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and pack."""
    run_job(BitsConfig, argv, store_in_bits)


def store_in_bits(config: BitsConfig) -> dict[str, object]:
    """Store an export in few bits, see `compress`."""

    def change(source: Source) -> Changed:
        exact = graph(source.student)
        if config.bits == "auto":
            plan = choose_plan(source.student, source.sentences, config.least_cosine)
        else:
            plan = dict.fromkeys(big_constants(exact), Storage(int(config.bits), config.group))
        told = {name: list(one) for name, one in plan.items()}
        return Changed(source.student, {"bits_and_group": told}, packed_graph(exact, plan))

    return compress(config, "bits", change)


def choose_plan(student: Student, sentences: Sentences, least_cosine: float) -> Plan:
    """Find the smallest storage with that mean cosine to the student's vectors.

    Args:
        student: in float32.
        sentences: arrays are measured on 2,048 of the fitted ones; all together must be near enough
            on these and on the measured ones.
        least_cosine: see `smallest`.
    """
    exact = graph(student)
    some = sentences.fitted[::4]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILES["onnx"]

        def cosine_on(batches: Sequence[Batch], wanted_NH: Floats, plan: Plan) -> float:
            onnx.save(packed_graph(exact, plan), path)
            found_NH = vectors_by(open_onnx(path), batches)
            return mean_cosine(wanted_NH, found_NH, student.offset.numpy())

        on_some, on_measured = (
            functools.partial(cosine_on, batches, vectors_of(student, batches))
            for batches in (some, sentences.measured)
        )
        options = measure_options(big_constants(exact), on_some)
        return smallest(options, least_cosine, lambda plan: min(on_some(plan), on_measured(plan)))
