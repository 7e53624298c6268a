"""A student -> its ONNX graph, in float32.

    ids, weights [B, T], lengths [B] -> gather -> LSTM, both ways -> pooling -> projection
        -> scale, offset -> vectors [B, H] in the teacher's space

A student that does not pool by IDF has no input ``weights``: its graph makes them. The graph is
written node by node: a traced one would fix T, and reverse the sentences by gathering.

ONNX Runtime's int8 LSTM rounds its inputs and hidden states by the range of the batch, so a
sentence's vector would change with its neighbours. The graph that is to be quantised has *guards*:
two more numbers in every token vector, the greatest and least of the whole table, and two more
hidden units each way, which run to +tanh(t) and -tanh(t), what no unit can exceed after t steps.
Nothing reads them, but they make every range, hence the rounding, the same for all batches: vectors
are equal to the bit, 5 to 7 % slower, at a cosine to float32 of 0.99996 instead of 0.99999 (random
weights, 2026-11-21).

Array letters: B sentences, T tokens, E embedding size, S states of a token, H the teacher's width,
D directions, h hidden units each way.
"""

from collections.abc import Mapping

import numpy as np
import onnx

from distill_jobs.onnx_nodes import FLOAT, INT64, Nodes, ints
from distill_jobs.onnx_transformer import transformer
from distill_jobs.student import TINY, Student
from distill_jobs.student_config import StudentConfig
from schemas.weights import Floats

_DIRECTIONS = ("forwards", "backwards")
_GUARDS = 2  # the greatest and the least
_OPEN = 30.0  # what opens a gate: sigmoid and tanh of it are 1


def graph(student: Student, *, to_quantise: bool = False) -> onnx.ModelProto:
    """The student's ONNX graph.

    Args:
        student: on the CPU.
        to_quantise: with guards in the LSTM, and the projection's weights already in int8.
    """
    tensors = {name: value.detach().numpy() for name, value in student.state_dict().items()}
    nodes = Nodes()
    rows_BT = "ids"
    if student.rows is not None:
        rows_BT = nodes.add("Gather", nodes.constant("rows", tensors["rows"]), "ids")
    guards = _GUARDS if to_quantise and "encoder.forwards.weight_hh_l0" in tensors else 0
    if guards:
        tensors = _with_guards(tensors)
    states_TDBS = _states(nodes, student.config, tensors, rows_BT)
    given = student.config.pooling == "idf"
    weights_TDBS = _given(nodes) if given else _own_weights(nodes, tensors, states_TDBS)
    pooled_BDS = _pool(nodes, states_TDBS, weights_TDBS)
    if guards:
        start, end = nodes.constant("start", ints(0)), nodes.constant("end", ints(-guards))
        pooled_BDS = nodes.add("Slice", pooled_BDS, start, end, nodes.constant("axis_2", ints(2)))
    vectors = nodes.add("Reshape", pooled_BDS, nodes.constant("flat", ints(0, -1)))
    if student.projection is not None:
        weight_SH = tensors["projection.weight"].T
        held = (
            _in_int8(nodes, weight_SH) if to_quantise else nodes.constant("projection", weight_SH)
        )
        vectors = nodes.add("MatMul", vectors, held)
    scaled_BH = nodes.add("Mul", vectors, nodes.constant("scale", tensors["scale"]))
    offset_H = nodes.constant("offset", tensors["offset"])
    nodes.add("Add", scaled_BH, offset_H, name="vectors")
    return nodes.model(student.config.width, ("ids", "weights") if given else ("ids",))


def _states(
    nodes: Nodes, config: StudentConfig, tensors: Mapping[str, Floats], rows_BT: str
) -> str:
    """States [T, D, B, S/D]; what is beyond a sentence's length has weight 0 in the pooling."""
    if config.kind == "mini-transformer":
        states_BTS = transformer(nodes, config, tensors, rows_BT)
        states_TBS = nodes.add("Transpose", states_BTS, perm=[1, 0, 2])
    else:
        rows_TB = nodes.add("Transpose", rows_BT, perm=[1, 0])
        embedding = nodes.constant("embedding", tensors["encoder.embedding.weight"])
        states_TBS = nodes.add("Gather", embedding, rows_TB)
        if config.kind != "static":
            return _lstm(nodes, tensors, states_TBS)
    return nodes.add("Unsqueeze", states_TBS, nodes.constant("axis_1", ints(1)))


def _lstm(nodes: Nodes, tensors: Mapping[str, Floats], embedded_TBE: str) -> str:
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


def _with_guards(tensors: Mapping[str, Floats]) -> dict[str, Floats]:
    """The weights with two more columns in the embedding and two more hidden units each way."""
    found = dict(tensors)
    table = tensors["encoder.embedding.weight"]
    ends = np.array([table.max(), table.min()], np.float32)
    found["encoder.embedding.weight"] = np.hstack([table, np.tile(ends, (len(table), 1))])
    for one in _DIRECTIONS:
        # Nothing reads the guards, and nothing but their biases moves them.
        for name, wider in (("weight_ih", 2), ("weight_hh", 2), ("bias_ih", 0), ("bias_hh", 0)):
            key = f"encoder.{one}.{name}_l0"
            by_gate = tensors[key].reshape(4, len(tensors[key]) // 4, -1)
            padded = np.pad(by_gate, ((0, 0), (0, _GUARDS), (0, wider)))
            if name == "bias_ih":
                padded[:, -_GUARDS:] = _OPEN
                padded[2, -1] = -_OPEN  # torch's third is what goes into the cell
            found[key] = padded.reshape(len(tensors[key]) + 4 * _GUARDS, -1).squeeze()
    if "weigher.weight" in tensors:
        of_states = tensors["weigher.weight"].reshape(2, -1)
        found["weigher.weight"] = np.pad(of_states, ((0, 0), (0, _GUARDS))).reshape(1, -1)
    return found


def _in_int8(nodes: Nodes, weight_SH: Floats) -> str:
    """The projection's weights from int8, with a scale for each column; folded when it is loaded.

    What it is multiplied with stays in float32: it is one row a sentence, and would be rounded by
    the range of the batch.
    """
    scale_H = np.maximum(np.abs(weight_SH).max(axis=0), TINY) / 127
    rounded = nodes.constant("projection", np.rint(weight_SH / scale_H).astype(np.int8))
    scales = nodes.constant("projection_scales", scale_H.astype(np.float32))
    return nodes.add("Mul", nodes.add("Cast", rounded, to=FLOAT), scales)


_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _gates(stacked: Floats) -> Floats:
    """Torch has input, forget, cell, output; ONNX input, output, forget, cell."""
    i, f, c, o = np.split(stacked, 4)
    return np.concatenate([i, o, f, c])


def _given(nodes: Nodes) -> str:
    """The weights that come with the tokens, [T, 1, B, 1]."""
    weights_TB = nodes.add("Transpose", "weights", perm=[1, 0])
    return nodes.add("Unsqueeze", weights_TB, nodes.constant("axes_1_3", ints(1, 3)))


def _own_weights(nodes: Nodes, tensors: Mapping[str, Floats], states_TDBS: str) -> str:
    """Weights [T, 1, B, 1] that need no words: equal, or from the states."""
    zero, one = nodes.constant("zero", np.array(0)), nodes.constant("step", np.array(1))
    tokens = nodes.add("Gather", nodes.add("Shape", "ids"), one)
    position_T = nodes.add("Range", zero, tokens, one)
    position_T111 = nodes.add("Unsqueeze", position_T, nodes.constant("axes_1_2_3", ints(1, 2, 3)))
    wide_B = nodes.add("Cast", "lengths", to=INT64)
    lengths_B1 = nodes.add("Unsqueeze", wide_B, nodes.constant("axis_last", ints(1)))
    raw = nodes.add("Cast", nodes.add("Less", position_T111, lengths_B1), to=FLOAT)
    if "weigher.weight" in tensors:
        of_states = tensors["weigher.weight"].reshape(_directions(tensors), 1, -1)
        product = nodes.add("Mul", states_TDBS, nodes.constant("weigher", of_states))
        axes = nodes.constant("axes_states", ints(1, 3))
        summed = nodes.add("ReduceSum", product, axes, keepdims=1)
        biased = nodes.add("Add", summed, nodes.constant("weigher_bias", tensors["weigher.bias"]))
        raw = nodes.add("Mul", raw, nodes.add("Softplus", biased))
    total = nodes.add("ReduceSum", raw, nodes.constant("axis_tokens", ints(0)), keepdims=1)
    tiny = nodes.constant("tiny", np.array(TINY, np.float32))
    return nodes.add("Div", raw, nodes.add("Max", total, tiny))


def _directions(tensors: Mapping[str, Floats]) -> int:
    return 2 if "encoder.forwards.weight_hh_l0" in tensors else 1


def _pool(nodes: Nodes, states_TDBS: str, weights_TDBS: str) -> str:
    """Weighted sums [B, D, S/D].

    As a product and a sum over T: as a matrix product, with the transposition it needs, the whole
    graph took 1.2 to 1.5 times as long (2026-11-21).
    """
    weighted_TDBS = nodes.add("Mul", states_TDBS, weights_TDBS)
    axis = nodes.constant("axis_0", ints(0))
    summed_DBS = nodes.add("ReduceSum", weighted_TDBS, axis, keepdims=0)
    return nodes.add("Transpose", summed_DBS, perm=[1, 0, 2])
