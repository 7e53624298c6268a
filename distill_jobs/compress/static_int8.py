"""Verb: int8 by ONNX Runtime's static quantisation: ranges measured on sentences, and clipped.

The calibrator clips: minmax to the widest range seen, percentile to that of all but 1 in 100,000
numbers, entropy to the one that tells most of the distribution. Only Gather and MatMul can be
computed so: there is no static LSTM in ONNX Runtime, whose weights stay in float32. And the table
is turned to float32 at every call. So it loses to the int8 file that `python -m distill_jobs
export` writes: bilstm 2.08 MB, 392 us for a sentence alone and 519 in 32, against 1.33 MB, 198 and
299 (float32: 5.15 MB, 250 and 494; 2026-11-21). All three calibrators gave the same vectors: a
bilstm has no MatMul whose input could be clipped.
"""

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from distill_jobs.compress.folder import Changed, compress
from distill_jobs.compress.source import Compression, Source
from distill_jobs.onnx_graph import graph
from distill_jobs.reader import Batch
from distill_jobs.student import Student
from schemas.command import run_job

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
_CALIBRATED = 4  # batches of 256 sentences: the histograms keep every number in memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class StaticInt8Config(Compression):
    """Quantise by ranges measured on sentences; --sentences is needed."""

    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    """How ranges are clipped."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and quantise."""
    run_job(StaticInt8Config, argv, quantise)


def quantise(config: StaticInt8Config) -> dict[str, object]:
    """Quantise an export, see `compress`."""

    def change(source: Source) -> Changed:
        fitted = source.sentences.fitted
        some = fitted[:-1][:: max(1, len(fitted) // _CALIBRATED)] or fitted  # the last has fewer
        return Changed(source.student, {}, quantised(source.student, some, config.calibration))

    return compress(config, "static-int8", change)


def quantised(student: Student, batches: Sequence[Batch], calibration: str) -> onnx.ModelProto:
    """The student's graph with QuantizeLinear and DequantizeLinear around Gather and MatMul.

    Args:
        student: of any kind.
        batches: to measure the ranges on.
        calibration: minmax, entropy or percentile.
    """
    # The calibrators print how far they are, where the job prints its result.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        exact, small = Path(folder) / "exact.onnx", Path(folder) / "small.onnx"
        onnx.save(graph(student), exact)
        quantize_static(
            exact,
            small,
            Reader(student, batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Gather", "MatMul"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[calibration],
        )
        return onnx.load(small)


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives ONNX Runtime's calibrators the inputs of a graph, batch by batch."""

    def __init__(self, student: Student, batches: Sequence[Batch]) -> None:
        self._waiting = self._inputs(student, batches)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, None after the last."""
        return next(self._waiting, None)

    @staticmethod
    def _inputs(student: Student, batches: Sequence[Batch]) -> Iterator[dict[str, Any]]:
        # The calibrators want arrays of one shape, and would count padding: each sentence is filled
        # up with its own tokens instead, which its length keeps out of its vector.
        tokens = max(one.ids_BT.shape[1] for one in batches)
        for one in batches:
            lengths_B = (one.weights_BT > 0).sum(dim=1).numpy().astype(np.int32)
            places_BT = np.arange(tokens) % lengths_B[:, None]
            ids_BT = np.take_along_axis(one.ids_BT.numpy(), places_BT, axis=1)
            found = {"ids": ids_BT, "lengths": lengths_B}
            if student.config.pooling == "idf":
                more = tokens - one.ids_BT.shape[1]
                found["weights"] = np.pad(one.weights_BT.numpy(), ((0, 0), (0, more)))
            yield found
