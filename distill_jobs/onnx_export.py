"""A trained student -> ONNX files, float32 and int8, that any ONNX runtime turns into vectors.

    ids, weights [B, T], lengths [B] -> gather -> LSTM, both ways -> pooling -> projection
        -> scale, offset -> vectors [B, H] in the teacher's space

A student that does not pool by IDF has no input ``weights``: its graph makes them.

The graph is written node by node: a traced one would fix T, and reverse the sentences by gathering.
Array letters: B sentences, T tokens, E embedding size, S states of a token, H the teacher's width,
D directions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

from distill_jobs.backends import FILES, Vectorise, open_onnx
from distill_jobs.reader import Batch
from distill_jobs.student import TINY, Student
from schemas.fingerprint import file_digest
from schemas.vectors import row_cosines
from schemas.weights import Floats

_OPSET, _IR = 17, 8  # of 2022, so that older runtimes read the files
_INT64, _FLOAT = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
_EXACT = 1 - 1e-5  # least cosine of float32
_DIRECTIONS = ("forwards", "backwards")


def write_onnx(
    student: Student, folder: Path, batches: list[Batch]
) -> dict[str, dict[str, object]]:
    """Write both files, and compare them with torch on real sentences.

    Args:
        student: with its trained weights, on the CPU.
        folder: to write to.
        batches: of sentences that the student was not trained on.

    Returns:
        For ``onnx`` and ``onnx-int8``: sha256, file_bytes, and the mean and least cosine to torch's
        vectors, taken from the mean vector, since two BERT vectors are alike from zero anyway.

    Raises:
        ValueError: if a weight is not finite.
    """
    broken = [name for name, value in student.state_dict().items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"not finite, the training has diverged: {', '.join(broken)}")
    exact, small = (folder / FILES[name] for name in ("onnx", "onnx-int8"))
    onnx.save(graph(student), exact)
    # int8 for the embedding, the LSTM and the projection; the few other numbers stay. What is
    # multiplied by the weights is rounded batch by batch.
    quantize_dynamic(
        exact, small, per_channel=True, op_types_to_quantize=["Gather", "LSTM", "MatMul"]
    )
    found = {name: _facts(student, folder / FILES[name], batches) for name in ("onnx", "onnx-int8")}
    assert float(str(found["onnx"]["least_cosine"])) > _EXACT, found
    return found


def graph(student: Student) -> onnx.ModelProto:
    """The student's ONNX graph, in float32."""
    tensors = {name: value.detach().numpy() for name, value in student.state_dict().items()}
    nodes = _Nodes()
    ids_TB = nodes.add("Transpose", "ids", perm=[1, 0])
    embedding = nodes.constant("embedding", tensors["encoder.embedding.weight"])
    states_TBE = nodes.add("Gather", embedding, ids_TB)
    if student.config.kind == "static":
        states_TDBS = nodes.add("Unsqueeze", states_TBE, nodes.constant("axis_1", _ints(1)))
    else:
        states_TDBS = _lstm(nodes, tensors, states_TBE)
    given = student.config.pooling == "idf"
    weights_TDBS = _given(nodes) if given else _own_weights(nodes, tensors, states_TDBS)
    vectors = _pool(nodes, states_TDBS, weights_TDBS)
    if student.projection is not None:
        projection = nodes.constant("projection", tensors["projection.weight"].T)
        vectors = nodes.add("MatMul", vectors, projection)
    scaled_BH = nodes.add("Mul", vectors, nodes.constant("scale", tensors["scale"]))
    offset_H = nodes.constant("offset", tensors["offset"])
    nodes.add("Add", scaled_BH, offset_H, name="vectors")
    return nodes.model(student.config.width, ("ids", "weights") if given else ("ids",))


def _lstm(nodes: "_Nodes", tensors: Mapping[str, Floats], embedded_TBE: str) -> str:
    """States [T, D, B, S]; 0 beyond a sentence's length."""
    inputs, recurrent, biases = [], [], []
    for one in _DIRECTIONS:
        of = {name: tensors[f"encoder.{one}.{name}_l0"] for name in _PARAMETERS}
        inputs.append(_gates(of["weight_ih"]))
        recurrent.append(_gates(of["weight_hh"]))
        biases.append(np.concatenate([_gates(of["bias_ih"]), _gates(of["bias_hh"])]))
    # A length of 0 is none for the LSTM; the weights of such a sentence are 0 in the pooling.
    lengths_B = nodes.add("Max", "lengths", nodes.constant("one", np.array(1, np.int32)))
    return nodes.add(
        "LSTM",
        embedded_TBE,
        nodes.constant("lstm_inputs", np.stack(inputs)),
        nodes.constant("lstm_recurrent", np.stack(recurrent)),
        nodes.constant("lstm_biases", np.stack(biases)),
        lengths_B,
        hidden_size=recurrent[0].shape[1],
        direction="bidirectional",
    )


_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _gates(stacked: Floats) -> Floats:
    """Torch has input, forget, cell, output; ONNX input, output, forget, cell."""
    i, f, c, o = np.split(stacked, 4)
    return np.concatenate([i, o, f, c])


def _given(nodes: "_Nodes") -> str:
    """The weights that come with the tokens, [T, 1, B, 1]."""
    weights_TB = nodes.add("Transpose", "weights", perm=[1, 0])
    return nodes.add("Unsqueeze", weights_TB, nodes.constant("axes_1_3", _ints(1, 3)))


def _own_weights(nodes: "_Nodes", tensors: Mapping[str, Floats], states_TDBS: str) -> str:
    """Weights [T, 1, B, 1] that need no words: equal, or from the states."""
    zero, one = nodes.constant("zero", np.array(0)), nodes.constant("step", np.array(1))
    tokens = nodes.add("Gather", nodes.add("Shape", "ids"), one)
    position_T = nodes.add("Range", zero, tokens, one)
    position_T111 = nodes.add("Unsqueeze", position_T, nodes.constant("axes_1_2_3", _ints(1, 2, 3)))
    wide_B = nodes.add("Cast", "lengths", to=_INT64)
    lengths_B1 = nodes.add("Unsqueeze", wide_B, nodes.constant("axis_last", _ints(1)))
    raw = nodes.add("Cast", nodes.add("Less", position_T111, lengths_B1), to=_FLOAT)
    if "weigher.weight" in tensors:
        of_states = tensors["weigher.weight"].reshape(_directions(tensors), 1, -1)
        product = nodes.add("Mul", states_TDBS, nodes.constant("weigher", of_states))
        axes = nodes.constant("axes_states", _ints(1, 3))
        summed = nodes.add("ReduceSum", product, axes, keepdims=1)
        biased = nodes.add("Add", summed, nodes.constant("weigher_bias", tensors["weigher.bias"]))
        raw = nodes.add("Mul", raw, nodes.add("Softplus", biased))
    total = nodes.add("ReduceSum", raw, nodes.constant("axis_tokens", _ints(0)), keepdims=1)
    tiny = nodes.constant("tiny", np.array(TINY, np.float32))
    return nodes.add("Div", raw, nodes.add("Max", total, tiny))


def _directions(tensors: Mapping[str, Floats]) -> int:
    return 2 if "encoder.forwards.weight_hh_l0" in tensors else 1


def _pool(nodes: "_Nodes", states_TDBS: str, weights_TDBS: str) -> str:
    """Weighted sums [B, D * S].

    As a product and a sum over T: as a matrix product, with the transposition it needs, the whole
    graph took 1.2 to 1.5 times as long (2026-11-21).
    """
    weighted_TDBS = nodes.add("Mul", states_TDBS, weights_TDBS)
    axis = nodes.constant("axis_0", _ints(0))
    summed_DBS = nodes.add("ReduceSum", weighted_TDBS, axis, keepdims=0)
    summed_BDS = nodes.add("Transpose", summed_DBS, perm=[1, 0, 2])
    return nodes.add("Reshape", summed_BDS, nodes.constant("rows", _ints(0, -1)))


class _Nodes:
    """Nodes and constants of a graph being written; each is known by the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Add a constant."""
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node of one output."""
        name = name or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def model(self, width: int, inputs: Sequence[str]) -> onnx.ModelProto:
        """The graph that ends in ``vectors``, checked."""
        types = {"ids": _INT64, "weights": _FLOAT}
        padded = [helper.make_tensor_value_info(one, types[one], ["B", "T"]) for one in inputs]
        drawn = helper.make_graph(
            self._nodes,
            "student",
            [*padded, helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, ["B"])],
            [helper.make_tensor_value_info("vectors", _FLOAT, ["B", width])],
            list(self._constants.values()),
        )
        found = helper.make_model(
            drawn,
            producer_name="ltd-bert",
            ir_version=_IR,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        # Says to the quantiser that there is nothing left to prepare; it would warn otherwise.
        helper.set_model_props(found, {"onnx.quant.pre_process": "onnxruntime.quant"})
        onnx.checker.check_model(found, full_check=True)
        return found


@torch.inference_mode()
def _facts(student: Student, path: Path, batches: list[Batch]) -> dict[str, object]:
    vectorise: Vectorise = open_onnx(path)
    offset_H = student.offset.numpy()
    cosines = []
    for batch in batches:
        one = student.vectors(batch.ids_BT, batch.weights_BT).numpy() - offset_H
        other = vectorise(batch.ids_BT.numpy(), batch.weights_BT.numpy()) - offset_H
        told = one.any(axis=1) & other.any(axis=1)  # one of no tokens has the mean vector itself
        cosines.append(row_cosines(one[told], other[told]))
    all_cosines = np.concatenate(cosines)
    return {
        "sha256": file_digest(path),
        "file_bytes": path.stat().st_size,
        "cosine": round(float(all_cosines.mean()), 6),
        "least_cosine": round(float(all_cosines.min()), 6),
    }


def _ints(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)
