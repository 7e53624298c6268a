"""distill_jobs/onnx_export.py: the ONNX graphs give torch's vectors, in a quarter of the bytes."""

import numpy as np
import onnx
import pytest
import torch

from distill_jobs.backends import open_onnx
from distill_jobs.onnx_export import graph, write_onnx
from distill_jobs.reader import Batch
from distill_jobs.student import Student, preset


def student(kind="bilstm", vocabulary=50, width=16, **shape):
    torch.manual_seed(0)
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
@pytest.mark.parametrize("kind", ["bilstm", "bilstm-small", "static"])
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
@pytest.mark.parametrize("kind", ["bilstm", "bilstm-small", "static"])
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
