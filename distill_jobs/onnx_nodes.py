"""Writes an ONNX graph node by node; each node and constant is known by the name of its output."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from schemas.weights import Floats

OPSET, IR = 17, 8  # of 2022, so that older runtimes read the files
INT64, FLOAT = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT


class Nodes:
    """Nodes and constants of a graph being written."""

    def __init__(self, prefix: str = "") -> None:
        """Begin an empty graph.

        Args:
            prefix: of the names of nodes that are given none, where the graph is part of another.
        """
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._prefix = prefix

    @property
    def constants(self) -> list[onnx.TensorProto]:
        """In the order in which they were added."""
        return list(self._constants.values())

    def constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        """Add a constant."""
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node of one output."""
        name = name or f"{self._prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def model(self, width: int, inputs: Sequence[str]) -> onnx.ModelProto:
        """The graph that ends in ``vectors``, checked."""
        types = {"ids": INT64, "weights": FLOAT}
        padded = [helper.make_tensor_value_info(one, types[one], ["B", "T"]) for one in inputs]
        drawn = helper.make_graph(
            self.nodes,
            "student",
            [*padded, helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, ["B"])],
            [helper.make_tensor_value_info("vectors", FLOAT, ["B", width])],
            self.constants,
        )
        found = helper.make_model(
            drawn,
            producer_name="ltd-bert",
            ir_version=IR,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        # Says to the quantiser that there is nothing left to prepare; it would warn otherwise.
        helper.set_model_props(found, {"onnx.quant.pre_process": "onnxruntime.quant"})
        onnx.checker.check_model(found, full_check=True)
        return found

    def linear(self, name: str, states: str, weight: Floats, bias: Floats) -> str:
        """Add ``states @ weight.T + bias``, as torch's Linear has them."""
        product = self.add("MatMul", states, self.constant(f"{name}.weight", weight.T))
        return self.add("Add", product, self.constant(f"{name}.bias", bias))


def ints(*values: int) -> npt.NDArray[np.int64]:
    """A constant of whole numbers."""
    return np.array(values, np.int64)
