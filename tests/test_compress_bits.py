"""distill_jobs/compress: few bits by groups, in ordinary ONNX files, unpacked at loading."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from distill_jobs.backends import open_onnx
from distill_jobs.compress.choice import CHOICES, cheapest, smallest
from distill_jobs.compress.fidelity import mean_cosine, random_sentences, vectors_by
from distill_jobs.compress.packed_graph import Storage, big_constants, packed_graph
from distill_jobs.compress.packing import from_bytes, pack, to_bytes, unpack
from distill_jobs.compress.static_int8 import quantised
from distill_jobs.compress.tensors import arrays_of, assembled
from distill_jobs.onnx_graph import graph
from tests.compress_kit import KINDS, make_student, vectors


def planned(student, bits, group=16):
    return dict.fromkeys(big_constants(graph(student)), Storage(bits, group))


def served(tmp_path, model, student):
    onnx.save(model, tmp_path / "model.onnx")
    return vectors_by(open_onnx(tmp_path / "model.onnx"), random_sentences(student.config))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_codes_put_into_bytes_come_out_again(bits):
    codes = np.random.default_rng(0).integers(2**bits, size=(5, 24)).astype(np.uint8)
    packed = to_bytes(codes, bits)
    assert packed.shape == (5, 24 * bits // 8)
    np.testing.assert_array_equal(from_bytes(packed, bits), codes)


@given(
    values=arrays(np.float32, st.integers(1, 200), elements=st.floats(-100, 100, width=32)),
    bits=st.sampled_from([2, 4, 8]),
    group=st.sampled_from([8, 24, 64]),
)
def test_a_packed_number_is_within_half_a_step_of_what_it_was(values, bits, group):
    packed = pack(values, bits, group, fit=False)
    found = unpack(packed)
    assert found.shape == values.shape
    padded = np.pad(values, (0, -len(values) % group), mode="edge").reshape(-1, group)
    step = (padded.max(axis=1) - padded.min(axis=1)) / (2**bits - 1)
    # Scale and least number are rounded to 11 bits.
    rounding = np.abs(padded).max(axis=1) * 2**-10 + (2**bits) * step * 2**-11 + 1e-6
    allowed = np.repeat(step / 2 + rounding, group)[: len(values)]
    assert (np.abs(found - values) <= allowed).all()


def test_fitting_loses_less_than_reaching_from_the_least_to_the_greatest_number():
    values = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    for bits in (2, 4):
        fitted, plain = (
            np.square(unpack(pack(values, bits, 64, fit=fit)) - values).mean()
            for fit in (True, False)
        )
        assert fitted < plain


def test_a_group_of_equal_numbers_and_tiny_ones_are_kept():
    for values in (np.full((3, 5), 0.5), np.zeros(7), np.full(9, 1e-9)):
        found = unpack(pack(values.astype(np.float32), 4, 8))
        np.testing.assert_allclose(found, values, atol=1e-7)


@pytest.mark.parametrize(
    ("values", "bits", "group", "complaint"),
    [
        (np.ones(8), 3, 8, "bits must be one of"),
        (np.ones(8), 4, 12, "multiple of 8"),
        (np.full(8, 1e6), 4, 8, "too large"),
        (np.array([np.nan]), 4, 8, "not finite"),
    ],
)
def test_what_cannot_be_packed_is_refused(values, bits, group, complaint):
    with pytest.raises(ValueError, match=complaint):
        pack(values.astype(np.float32), bits, group)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("kind", list(KINDS))
def test_the_packed_graph_is_that_of_the_unpacked_weights(tmp_path, kind, bits):
    student = make_student(kind)
    exact = graph(student)
    # A group of 24 does not divide the arrays.
    plan = dict.fromkeys(big_constants(exact), Storage(bits, 24))
    found = served(tmp_path, packed_graph(exact, plan), student)
    by_hand = onnx.ModelProto()
    by_hand.CopyFrom(exact)
    for one in by_hand.graph.initializer:
        if one.name in plan:
            value = unpack(pack(onnx.numpy_helper.to_array(one), bits, 24))
            one.CopyFrom(onnx.numpy_helper.from_array(value, one.name))
    # What is left of some size has 16 bits.
    np.testing.assert_allclose(found, served(tmp_path, by_hand, student), atol=5e-3)


@pytest.mark.parametrize("kind", list(KINDS))
def test_16_bits_are_the_student_within_float16(tmp_path, kind):
    student = make_student(kind)
    found = served(tmp_path, packed_graph(graph(student), planned(student, 16)), student)
    np.testing.assert_allclose(found, vectors(student), atol=5e-3)


@pytest.mark.parametrize(("bits", "number"), [(16, 1e5), (16, -1e5), (16, np.nan), (4, 1e5)])
def test_a_weight_that_float16_cannot_hold_is_refused(bits, number):
    student = make_student("bilstm", hidden=64)  # its biases, too, are of some size
    name = "encoder.embedding.weight" if bits == 16 else "encoder.forwards.bias_ih_l0"
    arrays = arrays_of(student)
    arrays[name].flat[7] = number
    student = assembled(student.config, arrays)
    with pytest.raises(ValueError, match="not finite, or too large for float16"):
        packed_graph(graph(student), planned(student, bits))


@pytest.mark.parametrize("kind", list(KINDS))
def test_more_bits_are_never_worse(tmp_path, kind):
    student = make_student(kind)
    wanted, offset = vectors(student), student.offset.numpy()
    found = [
        mean_cosine(
            wanted,
            served(tmp_path, packed_graph(graph(student), planned(student, bits)), student),
            offset,
        )
        for bits in (2, 4, 8, 16)
    ]
    assert found == sorted(found)
    assert found[-1] > 0.99999


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("kind", ["bilstm, pruned", "static, learned", "transformer"])
def test_the_runtime_unpacks_once_when_it_loads_the_file(tmp_path, kind, bits):
    student = make_student(kind)
    onnx.save(packed_graph(graph(student), planned(student, bits)), tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(tmp_path / "model.onnx", options)
    left = {node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node}
    assert not left & {"BitShift", "CumSum", "Concat", "Slice"}
    assert not any(
        "unpacked" in node.name for node in onnx.load(tmp_path / "loaded.onnx").graph.node
    )


def test_vectors_of_few_bits_do_not_depend_on_their_batch(tmp_path):
    student = make_student("bilstm, learned")
    onnx.save(packed_graph(graph(student), planned(student, 4)), tmp_path / "model.onnx")
    vectorise = open_onnx(tmp_path / "model.onnx")
    (batch,) = random_sentences(student.config)
    ids, weights = batch.ids_BT.numpy(), batch.weights_BT.numpy()
    together = vectorise(ids, weights)
    alone = [vectorise(ids[row : row + 1], weights[row : row + 1])[0] for row in range(len(ids))]
    np.testing.assert_allclose(np.stack(alone), together, atol=1e-5)


def test_which_tokens_are_kept_takes_a_bit_each(tmp_path):
    student = make_student("bilstm, pruned", vocabulary=131)
    packed = packed_graph(graph(student), planned(student, 4))
    sizes = {one.name: len(one.raw_data) for one in packed.graph.initializer}
    assert sizes["rows.codes"] == 17
    student.rows[:] = student.rows.flip(0)  # no longer ascending: kept as it is
    packed = packed_graph(graph(student), planned(student, 4))
    assert "rows" in {one.name for one in packed.graph.initializer}
    np.testing.assert_allclose(
        served(tmp_path, packed_graph(graph(student), planned(student, 16)), student),
        vectors(student),
        atol=5e-3,
    )


def test_the_cheapest_plan_spends_the_allowed_loss_where_it_saves_most():
    eight, four = Storage(8), Storage(4)
    options = {
        "robust": {eight: (1000, 0.0), four: (500, 0.001)},
        "touchy": {eight: (1000, 0.0), four: (500, 0.1)},
        "small": {eight: (10, 0.0), four: (5, 0.001)},
    }
    assert cheapest(options, 0.002) == {"robust": four, "touchy": eight, "small": four}
    assert cheapest(options, 0.0) == dict.fromkeys(options, eight)
    assert cheapest(options, 1.0) == dict.fromkeys(options, four)


def test_the_chosen_plan_is_near_enough_with_all_arrays_together():
    sizes = {one: int(1000 * (one.bits + 32 / one.group)) for one in CHOICES}
    options = {
        name: {one: (sizes[one], weight * 4.0**-one.bits) for one in CHOICES}
        for name, weight in (("a", 1.0), ("b", 0.1))
    }

    def cosine_of(plan):  # together they lose twice what they lose alone
        return 1 - 2 * sum(options[name][one][1] for name, one in plan.items())

    found = smallest(options, 0.995, cosine_of)
    assert cosine_of(found) >= 0.995
    assert found["b"].bits <= found["a"].bits
    with pytest.raises(ValueError, match="take --bits 16"):
        smallest(options, 1 - 1e-9, cosine_of)


@pytest.mark.parametrize("calibration", ["minmax", "entropy", "percentile"])
def test_static_int8_has_the_table_in_int8(tmp_path, calibration):
    student = make_student("static", vocabulary=2000)
    batches = random_sentences(student.config)
    model = quantised(student, batches, calibration)
    found = served(tmp_path, model, student)
    assert mean_cosine(vectors(student), found, student.offset.numpy()) > 0.99
    assert model.ByteSize() < 0.3 * graph(student).ByteSize()


def test_static_int8_leaves_the_lstm_in_float32(tmp_path):
    student = make_student("bilstm")
    model = quantised(student, random_sentences(student.config), "minmax")
    (lstm,) = [node for node in model.graph.node if node.op_type == "LSTM"]
    stored = {one.name: one.data_type for one in model.graph.initializer}
    assert [stored[name] for name in lstm.input[1:4]] == [onnx.TensorProto.FLOAT] * 3
    found = served(tmp_path, model, student)
    assert mean_cosine(vectors(student), found, student.offset.numpy()) > 0.99


def test_packing_the_weights_of_torch_or_of_the_graph_is_the_same(tmp_path):
    student = make_student("static")
    arrays = arrays_of(student)
    arrays["encoder.embedding.weight"] = unpack(pack(arrays["encoder.embedding.weight"], 4, 16))
    found = served(tmp_path, packed_graph(graph(student), planned(student, 4)), student)
    np.testing.assert_allclose(found, vectors(assembled(student.config, arrays)), atol=1e-5)
