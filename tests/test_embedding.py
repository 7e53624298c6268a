"""Vectors of a teacher: against transformers one sentence at a time, whatever the batches."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from pipelines.embedding import (
    Teacher,
    batches_by_length,
    embed,
    find_teacher,
    first_unusable,
    pad,
    resolve_dtype,
)
from schemas.idf import IdfTable
from schemas.prepare import Preparer, read_tokenizer
from schemas.words import segmenter

POOLINGS = ("idf", "mean", "cls")


@pytest.fixture(scope="module")
def files(tiny_teacher):
    return find_teacher(str(tiny_teacher))


@pytest.fixture(scope="module")
def teacher(files):
    return Teacher(files, "float32")


@pytest.fixture(scope="module")
def prepared(tiny_teacher, small_idf, sentences):
    table = IdfTable.load(small_idf)
    preparer = Preparer(read_tokenizer(tiny_teacher), segmenter(), table, max_tokens=64)
    return preparer.prepare([*sentences[::7], "北" * 80, "好"])


@pytest.fixture(scope="module")
def one_by_one(tiny_teacher, prepared):
    """Vectors by transformers itself, a sentence at a time, pooled in plain sums."""
    model = transformers.AutoModel.from_pretrained(tiny_teacher, dtype=torch.float32).eval()
    found = {pooling: [] for pooling in POOLINGS}
    for one in prepared:
        with torch.no_grad():
            ids = torch.tensor([one.token_ids.tolist()])
            states_TH = model(input_ids=ids).last_hidden_state[0].numpy()
        found["cls"].append(states_TH[0])
        found["mean"].append(sum(states_TH) / len(states_TH))
        found["idf"].append(sum(w * state for w, state in zip(one.weights, states_TH, strict=True)))
    return {pooling: np.array(vectors) for pooling, vectors in found.items()}


def embedded(teacher, prepared, token_budget=512):
    ids, weights = [one.token_ids for one in prepared], [one.weights for one in prepared]
    return embed(teacher, ids, weights, POOLINGS, token_budget)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_are_those_of_transformers_one_sentence_at_a_time(
    teacher, prepared, one_by_one, pooling
):
    found = embedded(teacher, prepared).vectors[pooling]
    assert found.dtype == np.float32
    assert found == pytest.approx(one_by_one[pooling], abs=2e-6)


@pytest.mark.parametrize("token_budget", [1, 64, 200, 100_000])
def test_batch_size_changes_no_vector(teacher, prepared, one_by_one, token_budget):
    found = embedded(teacher, prepared, token_budget).vectors
    for pooling in POOLINGS:
        assert found[pooling] == pytest.approx(one_by_one[pooling], abs=2e-6)


def test_the_order_of_sentences_changes_no_vector(teacher, prepared):
    forth = embedded(teacher, prepared).vectors["idf"]
    back = embedded(teacher, prepared[::-1]).vectors["idf"]
    assert back[::-1] == pytest.approx(forth, abs=2e-6)


def test_padding_changes_no_vector(teacher, prepared):
    short, long = prepared[-1], prepared[-2]
    assert len(short.token_ids) == 3
    assert len(long.token_ids) == 64
    alone = teacher.vectors([short.token_ids], [short.weights], POOLINGS)
    both = [short.token_ids, long.token_ids], [short.weights, long.weights]
    together = teacher.vectors(*both, POOLINGS)
    for pooling in POOLINGS:
        assert together[pooling][0] == pytest.approx(alone[pooling][0], abs=2e-6)


def test_the_same_shard_gives_the_same_bits(teacher, prepared):
    first, second = embedded(teacher, prepared), embedded(teacher, prepared)
    assert all(np.array_equal(first.vectors[p], second.vectors[p]) for p in POOLINGS)


def test_tokens_are_counted_with_and_without_padding(teacher, prepared):
    lengths = [len(one.token_ids) for one in prepared]
    at_once = embedded(teacher, prepared, 100_000)
    assert at_once.tokens == sum(lengths)
    assert at_once.padded_tokens == max(lengths) * len(lengths)
    alone = embedded(teacher, prepared, 1)
    assert alone.padded_tokens == alone.tokens == sum(lengths)


@given(st.lists(st.integers(1, 60), max_size=50), st.integers(1, 300))
def test_batches_cover_each_sentence_once_within_the_budget(lengths, budget):
    batches = list(batches_by_length(np.array(lengths, dtype=np.int64), budget))
    seen = sorted(int(index) for batch in batches for index in batch)
    assert seen == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_rows_are_padded_with_zeros_at_the_end():
    padded = pad([np.array([5, 6], np.int32), np.array([7], np.int32)])
    assert padded.tolist() == [[5, 6], [7, 0]]
    assert padded.dtype == torch.int64
    assert pad([np.array([0.5], np.float32)]).dtype == torch.float32


@pytest.mark.parametrize(
    ("spoiled", "index"),
    [([], None), ([float("nan")], 2), ([float("inf")], 2), ([-float("inf")], 2), ([0.0], 2)],
)
def test_a_vector_that_is_not_finite_or_has_no_length_is_found(spoiled, index):
    vectors = np.ones((4, 3), np.float32)
    for value in spoiled:
        vectors[2, :] = value
        vectors[3, :] = value
    assert first_unusable(vectors) == index


def test_one_nan_among_numbers_is_enough():
    vectors = np.ones((4, 3), np.float32)
    vectors[1, 2] = np.nan
    assert first_unusable(vectors) == 1


def test_a_teacher_tells_its_width_size_and_parameters(files, tiny_teacher):
    model = transformers.AutoModel.from_pretrained(tiny_teacher)
    assert files.parameters == sum(p.numel() for p in model.parameters()) == 8048
    assert (files.width, files.max_tokens, files.name) == (16, 64, "tiny-bert")
    assert files.size == (tiny_teacher / "model.safetensors").stat().st_size


def test_the_digest_changes_with_the_weights_and_the_configuration(tmp_path, tiny_teacher, files):
    other = shutil.copytree(tiny_teacher, tmp_path / "other")
    assert find_teacher(str(other)).digest == files.digest
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-5}))
    assert find_teacher(str(other)).digest != files.digest
    shutil.copy(tiny_teacher / "config.json", other)
    tensors = safetensors.numpy.load_file(other / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][9, 9] += 1e-3
    safetensors.numpy.save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    assert find_teacher(str(other)).digest != files.digest


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("config.json", "is not a Hugging Face model: it has no config.json"),
        ("model.safetensors", "has no safetensors weights; other formats can run code"),
        ("tokenizer.json", "has no tokenizer.json: a fast tokenizer is needed"),
    ],
)
def test_an_incomplete_teacher_is_refused(tmp_path, tiny_teacher, missing, told):
    folder = shutil.copytree(tiny_teacher, tmp_path / "teacher")
    (folder / missing).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(FileNotFoundError, match=told):
        find_teacher(str(folder))


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused(tmp_path, make_teacher):
    make_teacher(tmp_path / "t", model_vocabulary=100)
    with pytest.raises(ValueError, match="ids, the model only 100 embeddings: they do not belong"):
        find_teacher(str(tmp_path / "t"))


@pytest.mark.parametrize("name", ["./none", "/no/where", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(FileNotFoundError, match=f"there is no teacher folder {name}"):
        find_teacher(name)


def test_a_name_that_the_hub_cannot_give_is_named():
    with pytest.raises(FileNotFoundError, match="no teacher 'nobody/nothing': not a folder here"):
        find_teacher("nobody/nothing")


def test_a_nan_in_the_weights_comes_out_where_it_is_read(tmp_path, tiny_teacher, prepared):
    folder = shutil.copytree(tiny_teacher, tmp_path / "spoiled")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    token = int(prepared[3].token_ids[1])
    tensors["embeddings.word_embeddings.weight"][token] = np.nan
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    vectors = embedded(Teacher(find_teacher(str(folder)), "float32"), prepared).vectors["idf"]
    has_token = [token in one.token_ids for one in prepared]
    assert np.isnan(vectors).any(axis=1).tolist() == has_token
    assert first_unusable(vectors) == has_token.index(True)


def test_bfloat16_vectors_are_near_and_stored_in_float32(files, prepared, one_by_one):
    found = embedded(Teacher(files, "bfloat16"), prepared).vectors["mean"]
    assert found.dtype == np.float32
    expected = one_by_one["mean"]
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / norms).min() > 0.995


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_dtype_that_is_asked_for_is_used(name):
    assert resolve_dtype(name) == name


def test_the_dtype_is_chosen_among_the_two_and_another_is_refused():
    assert resolve_dtype("auto") in ("float32", "bfloat16")
    with pytest.raises(ValueError, match="dtype must be auto, float32 or bfloat16, got 'int8'"):
        resolve_dtype("int8")
