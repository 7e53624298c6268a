"""A float32 ONNX graph -> the same graph with its constants in few bits, and what unpacks them.

    codes -> shift left -> shift right -> ... -> joined -> float -> * scale -> + least -> reshaped

All of that hangs on constants only, so ONNX Runtime does it once, when it loads the file, and keeps
what it gave: vectors take as long as from float32 and do not depend on their batch. Shifts alone,
no BitwiseAnd, so that the operators are those of opset 17; DequantizeLinear has groups only from
21 on, and ONNX Runtime would not fold it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from distill_jobs.compress.packing import Packed, check_range, pack, to_bytes
from distill_jobs.onnx_nodes import FLOAT, Nodes, ints
from schemas.weights import Floats

_FEW = 256  # numbers: what is smaller is not worth the nodes
_WHOLE = ("offset", "scale")  # the vector of no tokens stays what it was, to the bit


class Storage(NamedTuple):
    """How an array is stored: in 16, 8, 4 or 2 bits; groups only below 16."""

    bits: int
    group: int = 64


Plan = Mapping[str, Storage]
"""By the names of the graph's constants."""


def big_constants(model: onnx.ModelProto) -> dict[str, Floats]:
    """The graph's tables and matrices, by name; not the LSTM's biases or the pooling's weights."""
    small = ("lstm_biases", "weigher")
    return {
        one.name: numpy_helper.to_array(one)
        for one in model.graph.initializer
        if one.data_type == FLOAT and len(one.dims) >= 2 and one.name not in small
    }


def packed_graph(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """Store the constants of a graph as planned, and what is left of some size in 16 bits.

    Args:
        model: from `distill_jobs.onnx_graph.graph`.
        plan: for some of its constants.

    Raises:
        ValueError: if float16 cannot hold one of the numbers.
    """
    nodes = Nodes("unpacked_")
    kept = []
    for one in model.graph.initializer:
        value = numpy_helper.to_array(one)
        if one.name in plan and plan[one.name].bits < 16:
            _unpack(nodes, one.name, pack(value, *plan[one.name]))
        elif one.name == "rows" and _ascending(value):
            _rows(nodes, one.name, value)
        elif one.data_type == FLOAT and value.size >= _FEW and one.name not in _WHOLE:
            _widen(nodes, one.name, value)
        else:
            kept.append(one)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    del found.graph.initializer[:], found.graph.node[:]
    found.graph.initializer.extend([*kept, *nodes.constants])
    found.graph.node.extend([*nodes.nodes, *model.graph.node])
    onnx.checker.check_model(found, full_check=True)
    return found


def _ascending(rows_V: npt.NDArray[np.int32]) -> bool:
    own_V = rows_V > 0
    return bool((np.cumsum(own_V) * own_V == rows_V).all())


def _unpack(nodes: Nodes, name: str, packed: Packed) -> None:
    """What `distill_jobs.compress.packing.unpack` does."""
    codes_Gn = _codes(nodes, name, packed.codes_GB, packed.bits)
    scales_G1 = _widened(nodes, f"{name}.scales", packed.scales_G1)
    least_G1 = _widened(nodes, f"{name}.least", packed.least_G1)
    scaled_Gn = nodes.add("Mul", nodes.add("Cast", codes_Gn, to=FLOAT), scales_G1)
    grouped_Gn = nodes.add("Add", scaled_Gn, least_G1)
    size = int(np.prod(packed.shape))
    if size < packed.codes_GB.size * 8 // packed.bits:
        flat = nodes.add("Reshape", grouped_Gn, nodes.constant("flat_all", ints(-1)))
        start = nodes.constant("first", ints(0))
        grouped_Gn = nodes.add("Slice", flat, start, nodes.constant(f"{name}.size", ints(size)))
    _shaped(nodes, name, grouped_Gn, packed.shape)


def _rows(nodes: Nodes, name: str, rows_V: npt.NDArray[np.int32]) -> None:
    """Which row each token has: 1, 2, 3, ... for those with one of their own, else 0.

    A bit says whether it has one; the rows count themselves.
    """
    own_1V = np.pad((rows_V > 0).astype(np.uint8), (0, -len(rows_V) % 8))[None]
    bits = nodes.add("Cast", _codes(nodes, name, to_bytes(own_1V, 1), 1), to=onnx.TensorProto.INT32)
    counted = nodes.add("CumSum", bits, nodes.constant("along", np.array(1, np.int32)))
    found = nodes.add("Mul", bits, counted)
    flat = nodes.add("Reshape", found, nodes.constant("flat_all", ints(-1)))
    end = nodes.constant(f"{name}.size", ints(len(rows_V)))
    nodes.add("Slice", flat, nodes.constant("first", ints(0)), end, name=name)


def _widen(nodes: Nodes, name: str, value: Floats) -> None:
    """16 bits to 32.

    Raises:
        ValueError: if float16 cannot hold one of the numbers.
    """
    check_range(value)
    nodes.add("Cast", nodes.constant(f"{name}.half", value.astype(np.float16)), to=FLOAT, name=name)


def _widened(nodes: Nodes, name: str, value: npt.NDArray[np.float16]) -> str:
    return nodes.add("Cast", nodes.constant(name, value), to=FLOAT)


def _codes(nodes: Nodes, name: str, codes_GB: npt.NDArray[np.uint8], bits: int) -> str:
    """Codes [G, n], one a byte."""
    packed = nodes.constant(f"{name}.codes", codes_GB)
    if bits == 8:
        return packed
    planes = []
    down = nodes.constant(f"down_{8 - bits}", np.array(8 - bits, np.uint8))
    for place in range(8 // bits):
        away = 8 - bits * (place + 1)
        high = packed
        if away:
            up = nodes.constant(f"up_{away}", np.array(away, np.uint8))
            high = nodes.add("BitShift", packed, up, direction="LEFT")
        planes.append(nodes.add("BitShift", high, down, direction="RIGHT"))
    return nodes.add("Concat", *planes, axis=1)


def _shaped(nodes: Nodes, name: str, values: str, shape: Sequence[int]) -> None:
    wanted = nodes.constant("to_" + "_".join(map(str, shape)), ints(*shape))
    nodes.add("Reshape", values, wanted, name=name)
