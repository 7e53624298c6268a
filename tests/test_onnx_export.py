"""distill_jobs/onnx_export.py: the ONNX graphs give torch's vectors, in a quarter of the bytes."""

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import quantize_dynamic

from distill_jobs.backends import choose, open_onnx
from distill_jobs.onnx_export import compare_with_torch, write_onnx
from distill_jobs.onnx_graph import graph
from distill_jobs.reader import Batch
from distill_jobs.student import Student
from distill_jobs.student_config import preset

KINDS = ("bilstm", "bilstm-small", "static", "mini-transformer")


def student(kind="bilstm", vocabulary=50, width=16, **shape):
    torch.manual_seed(0)
    if kind == "mini-transformer":
        shape = {"hidden": 128, **shape}
    made = Student(preset(kind, vocabulary=vocabulary, width=width, **shape))
    made.offset.normal_()
    made.scale.fill_(2.0)
    return made.eval()


def batch(rng, rows=6, longest=9, vocabulary=50):
    """Sentences of 0 to `longest` tokens, one of them empty, padded."""
    lengths = rng.integers(1, longest + 1, size=rows)
    lengths[0], lengths[-1] = 0, longest
    ids, weights = np.zeros((rows, longest), np.int64), np.zeros((rows, longest), np.float32)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(vocabulary, size=length)
        weights[row, :length] = rng.dirichlet(np.ones(length)) if length else 0
    return ids, weights


def expected(model, ids, weights):
    with torch.inference_mode():
        return model.vectors(torch.from_numpy(ids), torch.from_numpy(weights)).numpy()


@pytest.mark.parametrize("pooling", ["idf", "mean", "learned"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "longest"), [(2, 1), (6, 9), (65, 40)])
def test_the_graph_gives_torchs_vectors_for_any_number_and_length(
    tmp_path, kind, pooling, rows, longest
):
    model = student(kind, pooling=pooling)
    onnx.save(graph(model), tmp_path / "model.onnx")
    ids, weights = batch(np.random.default_rng(rows), rows, longest)
    found = open_onnx(tmp_path / "model.onnx")(ids, weights)
    np.testing.assert_allclose(found, expected(model, ids, weights), atol=1e-5)


@pytest.mark.parametrize("pooling", ["idf", "mean", "learned"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_sentence_gets_the_mean_vector_in_both_files(tmp_path, kind, pooling):
    model = student(kind, pooling=pooling)
    ids, weights = batch(np.random.default_rng(0))
    write_onnx(model, tmp_path, [as_batch(ids[1:], weights[1:])])
    for name in ("model.onnx", "model.int8.onnx"):
        found = open_onnx(tmp_path / name)(ids, weights)
        np.testing.assert_array_equal(found[0], model.offset.numpy())


def as_batch(ids, weights):
    tensors = torch.from_numpy(ids), torch.from_numpy(weights)
    return Batch(*tensors, torch.zeros(len(ids), 1), len(ids), len(ids))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("bilstm", {"kept": 9}),
        ("static", {"embedding": 4, "pooling": "learned"}),
        ("mini-transformer", {"kept": 9, "layers": 1}),
        ("mini-transformer", {"layers": 3, "share_layers": True}),
    ],
)
def test_the_graph_gives_torchs_vectors_for_other_shapes(tmp_path, kind, shape):
    model = student(kind, **shape)
    if model.rows is not None:
        model.keep(range(10, 19))
    onnx.save(graph(model), tmp_path / "model.onnx")
    ids, weights = batch(np.random.default_rng(0))
    found = open_onnx(tmp_path / "model.onnx")(ids, weights)
    np.testing.assert_allclose(found, expected(model, ids, weights), atol=1e-5)


@pytest.mark.parametrize("pooling", ["idf", "learned"])
@pytest.mark.parametrize("kind", ["bilstm", "bilstm-small", "static"])
def test_in_int8_a_vector_is_the_same_alone_and_among_any_neighbours(tmp_path, kind, pooling):
    model = student(kind, width=64, pooling=pooling)
    ids, weights = batch(np.random.default_rng(0), rows=40, longest=30)
    facts = write_onnx(model, tmp_path, [as_batch(ids[1:], weights[1:])])
    # Its own weights are float32 sums, which round by the length of the batch.
    most = 1e-6 if pooling == "learned" else 0.0
    assert facts["onnx-int8"]["batch_effect"] <= most
    vectorise = open_onnx(tmp_path / "model.int8.onnx")
    together = vectorise(ids, weights)
    for row in range(1, 40):
        tokens = int((weights[row] > 0).sum())
        alone = vectorise(ids[row : row + 1, :tokens], weights[row : row + 1, :tokens])
        np.testing.assert_allclose(alone[0], together[row], atol=most)
    shuffled = np.random.default_rng(1).permutation(40)[:17]
    again = vectorise(ids[shuffled], weights[shuffled])
    np.testing.assert_allclose(again, together[shuffled], atol=most)


def test_without_guards_neighbours_would_move_it(tmp_path):
    model = student(width=64)
    ids, weights = batch(np.random.default_rng(0), rows=40, longest=30)
    quantize_dynamic(graph(model), tmp_path / "plain.onnx", op_types_to_quantize=["Gather", "LSTM"])
    facts = compare_with_torch(model, tmp_path / "plain.onnx", [as_batch(ids[1:], weights[1:])])
    assert facts["batch_effect"] > 1e-4
    assert choose({"backends": {"onnx": {}, "onnx-int8": facts}}, "auto") == "onnx"


def test_a_small_student_of_4000_tokens_is_below_two_megabytes(tmp_path):
    model = student("bilstm-small", vocabulary=21_128, width=768, kept=4000)
    model.keep(range(4000))
    ids, weights = batch(np.random.default_rng(0), vocabulary=21_128)
    facts = write_onnx(model, tmp_path, [as_batch(ids[1:], weights[1:])])
    assert facts["onnx-int8"]["file_bytes"] < 2e6


@pytest.mark.parametrize(("kind", "megabytes"), [("bilstm", (17.2, 4.5)), ("static", (65.0, 16.4))])
def test_the_files_for_a_teacher_of_bert_bases_shape(tmp_path, kind, megabytes):
    model = student(kind, vocabulary=21_128, width=768)
    ids, weights = batch(np.random.default_rng(0), vocabulary=21_128)
    found = write_onnx(model, tmp_path, [as_batch(ids[1:], weights[1:])])
    for name, most in zip(("onnx", "onnx-int8"), megabytes, strict=True):
        assert found[name]["file_bytes"] <= most * 1e6
        assert found[name]["file_bytes"] > 0.9 * most * 1e6
    assert found["onnx-int8"]["cosine"] > 0.999


def test_a_student_that_weighs_its_tokens_itself_is_not_asked_for_weights():
    asked = {one.name for one in graph(student(pooling="learned")).graph.input}
    assert asked == {"ids", "lengths"}


def test_the_same_student_gives_the_same_bytes(tmp_path):
    ids, weights = batch(np.random.default_rng(0))
    twice = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        twice.append(write_onnx(student(), tmp_path / name, [as_batch(ids[1:], weights[1:])]))
    assert twice[0] == twice[1]


def test_a_student_whose_weights_are_not_finite_is_not_exported(tmp_path):
    model = student("static")
    model.encoder.embedding.weight.data[7] = float("nan")
    ids, weights = np.full((1, 2), 7), np.full((1, 2), 0.5, np.float32)
    with pytest.raises(ValueError, match=r"diverged: encoder\.embedding\.weight"):
        write_onnx(model, tmp_path, [as_batch(ids, weights)])
