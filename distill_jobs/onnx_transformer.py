"""The nodes of the small transformer: transformers' AlbertModel without dropout.

Array letters: B sentences, T tokens, E embedding size, S states of a token, A attention heads,
h numbers of a head.
"""

from collections.abc import Mapping

import numpy as np

from distill_jobs.onnx_nodes import FLOAT, INT64, Nodes, ints
from distill_jobs.student_config import StudentConfig
from distill_jobs.token_encoders import HEAD
from schemas.weights import Floats

_EPSILON = 1e-12  # of ALBERT's layer normalisation
_FAR = np.finfo(np.float32).min  # what a score of a padding token becomes


def transformer(
    nodes: Nodes, config: StudentConfig, tensors: Mapping[str, Floats], rows_BT: str
) -> str:
    """States [B, T, S] of rows of the embedding [B, T]."""
    prefix = "encoder.model."
    own = {name[len(prefix) :]: one for name, one in tensors.items() if name.startswith(prefix)}
    states_BTS = _embedded(nodes, own, rows_BT)
    mask_B11T = _mask(nodes, rows_BT)
    groups = 1 if config.share_layers else config.layers
    for layer in range(config.layers):
        group = f"encoder.albert_layer_groups.{layer * groups // config.layers}.albert_layers.0."
        heads = max(1, config.states // HEAD)
        attended_BTS = _attention(nodes, own, f"{group}attention.", (states_BTS, mask_B11T), heads)
        states_BTS = _feed_forward(nodes, own, group, attended_BTS)
    return states_BTS


def _embedded(nodes: Nodes, own: Mapping[str, Floats], rows_BT: str) -> str:
    """Tokens and their positions, normalised, in S numbers [B, T, S]."""
    words = nodes.constant("embedding", own["embeddings.word_embeddings.weight"])
    # There is one type of token: it is part of every position.
    placed = own["embeddings.position_embeddings.weight"]
    positions = nodes.constant("positions", placed + own["embeddings.token_type_embeddings.weight"])
    placed_TE = nodes.add("Gather", positions, _range(nodes, rows_BT))
    summed_BTE = nodes.add("Add", nodes.add("Gather", words, rows_BT), placed_TE)
    normed_BTE = _normalise(nodes, own, "embeddings.LayerNorm", summed_BTE)
    return _linear(nodes, own, "encoder.embedding_hidden_mapping_in", normed_BTE)


def _range(nodes: Nodes, rows_BT: str) -> str:
    """Positions [T]."""
    zero, one = nodes.constant("zero", np.array(0)), nodes.constant("step", np.array(1))
    return nodes.add("Range", zero, nodes.add("Gather", nodes.add("Shape", rows_BT), one), one)


def _mask(nodes: Nodes, rows_BT: str) -> str:
    """0 for tokens, a number far below for padding [B, 1, 1, T]."""
    # A sentence of no tokens looks at its padding: a softmax over nothing would be NaN.
    seen_B = nodes.add("Max", "lengths", nodes.constant("one", np.array(1, np.int32)))
    wide_B = nodes.add("Cast", seen_B, to=INT64)
    seen_B111 = nodes.add("Unsqueeze", wide_B, nodes.constant("axes_1_2_3", ints(1, 2, 3)))
    beyond_B11T = nodes.add("GreaterOrEqual", _range(nodes, rows_BT), seen_B111)
    far = nodes.constant("far", np.array(_FAR, np.float32))
    return nodes.add("Mul", nodes.add("Cast", beyond_B11T, to=FLOAT), far)


def _attention(
    nodes: Nodes, own: Mapping[str, Floats], prefix: str, given: tuple[str, str], heads: int
) -> str:
    """Attended, added and normalised states [B, T, S], from states and mask."""
    states_BTS, mask_B11T = given
    shape = nodes.constant("heads", ints(0, 0, heads, -1))
    split = {}
    for name, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        flat_BTS = _linear(nodes, own, f"{prefix}{name}", states_BTS)
        split[name] = nodes.add("Transpose", nodes.add("Reshape", flat_BTS, shape), perm=order)
    width = own[f"{prefix}query.weight"].shape[0] // heads
    share = nodes.constant("share", np.array(width**-0.5, np.float32))
    scores_BATT = nodes.add("Mul", nodes.add("MatMul", split["query"], split["key"]), share)
    weights_BATT = nodes.add("Softmax", nodes.add("Add", scores_BATT, mask_B11T), axis=-1)
    mixed_BATh = nodes.add("MatMul", weights_BATT, split["value"])
    mixed_BTAh = nodes.add("Transpose", mixed_BATh, perm=[0, 2, 1, 3])
    mixed_BTS = nodes.add("Reshape", mixed_BTAh, nodes.constant("joined", ints(0, 0, -1)))
    added_BTS = nodes.add("Add", states_BTS, _linear(nodes, own, f"{prefix}dense", mixed_BTS))
    return _normalise(nodes, own, f"{prefix}LayerNorm", added_BTS)


def _feed_forward(nodes: Nodes, own: Mapping[str, Floats], group: str, states_BTS: str) -> str:
    wide = _linear(nodes, own, f"{group}ffn", states_BTS)
    root = nodes.constant("root_2", np.array(2**0.5, np.float32))
    unit = nodes.constant("unit", np.array(1, np.float32))
    half = nodes.constant("half", np.array(0.5, np.float32))
    # GELU as ONNX Runtime knows it, so that it becomes one node.
    grown = nodes.add("Add", nodes.add("Erf", nodes.add("Div", wide, root)), unit)
    active = nodes.add("Mul", nodes.add("Mul", wide, grown), half)
    narrow_BTS = _linear(nodes, own, f"{group}ffn_output", active)
    added_BTS = nodes.add("Add", narrow_BTS, states_BTS)
    return _normalise(nodes, own, f"{group}full_layer_layer_norm", added_BTS)


def _linear(nodes: Nodes, own: Mapping[str, Floats], name: str, states: str) -> str:
    return nodes.linear(name, states, own[f"{name}.weight"], own[f"{name}.bias"])


def _normalise(nodes: Nodes, own: Mapping[str, Floats], name: str, states: str) -> str:
    weight = nodes.constant(f"{name}.weight", own[f"{name}.weight"])
    bias = nodes.constant(f"{name}.bias", own[f"{name}.bias"])
    return nodes.add("LayerNormalization", states, weight, bias, axis=-1, epsilon=_EPSILON)
