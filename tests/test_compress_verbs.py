"""python -m distill_jobs compress VERB: export in, export out, which serves and goes on."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jobs.compress import fidelity
from distill_jobs.compress.bits import BitsConfig, store_in_bits
from distill_jobs.compress.dimensions import DimensionsConfig, shorten
from distill_jobs.compress.fidelity import (
    FITTED,
    MEASURED,
    draw,
    read_sentences,
    same_neighbours,
)
from distill_jobs.compress.rank import RankConfig, factorise
from distill_jobs.compress.sparsity import SparsityConfig, sparsify
from distill_jobs.compress.static_int8 import StaticInt8Config, quantise
from distill_jobs.compress.units import UnitsConfig, prune
from distill_jobs.compress.vocabulary import VocabularyConfig
from distill_jobs.compress.vocabulary import prune as prune_vocabulary
from distill_jobs.encoder import SentenceEncoder
from distill_jobs.tokens import load_tokens
from schemas.command import parse
from tests.compress_kit import make_student, write_export

VERBS = {
    "vocabulary": (prune_vocabulary, VocabularyConfig, {"keep": 60}),
    "rank": (factorise, RankConfig, {"rank": 4}),
    "rank, energy": (factorise, RankConfig, {"energy": 0.9}),
    "units": (prune, UnitsConfig, {"keep": 5}),
    "units, random": (prune, UnitsConfig, {"keep": 5, "by": "random"}),
    "dimensions": (shorten, DimensionsConfig, {"keep": 6}),
    "dimensions, random": (shorten, DimensionsConfig, {"keep": 6, "by": "random"}),
    "sparsity": (sparsify, SparsityConfig, {"share": 0.5}),
    "bits": (store_in_bits, BitsConfig, {"bits": "4", "group": 16}),
    "bits, auto": (store_in_bits, BitsConfig, {"bits": "auto", "least_cosine": 0.98}),
    "static-int8": (quantise, StaticInt8Config, {}),
}
LAST = ("bits", "bits, auto", "static-int8")


@pytest.fixture(scope="module")
def text_file(tmp_path_factory, sentences):
    path = tmp_path_factory.mktemp("text") / "sentences.txt"
    path.write_text("\n".join([*sentences, "", "\0", sentences[0]]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_teacher, sentences):
    """Exports of a student that pools by IDF and of one that needs no words."""
    folder = tmp_path_factory.mktemp("exports")
    tokenizer = (tiny_teacher / "tokenizer.json").read_text(encoding="utf-8")
    kinds = {"words": "bilstm", "wordless": "bilstm, learned"}
    return {
        name: write_export(folder / name, make_student(kind, vocabulary=200), tokenizer, sentences)
        for name, kind in kinds.items()
    }


def do(verb, student, out, **more):
    job, config, settings = VERBS[verb]
    return job(config(student=student, out=out, **{**settings, **more}))


@pytest.mark.parametrize("verb", list(VERBS))
def test_what_a_verb_writes_is_served_by_every_backend_that_it_has(
    exported, tmp_path, text_file, sentences, verb
):
    step = do(verb, exported["words"], tmp_path / "small", sentences=text_file)
    card = json.loads((tmp_path / "small" / "config.json").read_text())
    has = {*card["backends"], *([] if verb in LAST else ["torch"])}
    assert has == ({"onnx"} if verb in LAST else {"onnx", "onnx-int8", "torch"})
    found = {
        one: SentenceEncoder.load(tmp_path / "small", one).encode(sentences[:50]) for one in has
    }
    for vectors in found.values():
        assert vectors.shape == (50, card["student_config"]["width"])
        assert same_neighbours(vectors, found["onnx"]) > 0.8
    assert SentenceEncoder.load(tmp_path / "small").card["backend"] in has
    assert 0 < step["least_cosine"] <= step["cosine"] <= 1.000001
    assert 0 < step["neighbours"] <= 1
    (kept,) = card["compressed"]
    assert {**kept, "store_pinned": False, "reused": False} == step
    told = (tmp_path / "small" / "README.md").read_text()
    for name, size in step["bytes_after"].items():
        assert (tmp_path / "small" / name).stat().st_size == size
        assert f"{name} {size:,}" in told


def test_a_chain_is_served_and_its_card_names_every_step(exported, tmp_path, text_file, sentences):
    before, folder = exported["wordless"], exported["wordless"]
    for number, verb in enumerate(("units", "rank", "dimensions", "bits")):
        folder, before = tmp_path / str(number), folder
        do(verb, before, folder, sentences=text_file)
    encoder = SentenceEncoder.load(folder)
    assert [step["verb"] for step in encoder.card["compressed"]] == [
        *("units", "rank", "dimensions", "bits")
    ]
    assert encoder.encode(sentences).shape == (300, 6)
    assert encoder.card["student_config"]["hidden"] == 5
    assert encoder.card["student_config"]["embedding"] == 4
    wholes = [SentenceEncoder.load(one).encode(sentences) for one in (exported["wordless"], folder)]
    assert same_neighbours(*wholes) > 0.1  # 0.03 by chance


@pytest.mark.parametrize("verb", ["vocabulary", "rank", "dimensions, random", "sparsity", "bits"])
def test_a_verb_that_needs_no_sentences_asks_for_none(exported, tmp_path, verb):
    step = do(verb, exported["words"], tmp_path / "small")
    assert "cosine" not in step
    assert SentenceEncoder.load(tmp_path / "small").encode(["今天北京天气怎么样"]).shape[0] == 1


@pytest.mark.parametrize("verb", ["units", "dimensions", "bits, auto", "static-int8"])
def test_a_verb_that_needs_sentences_says_so(exported, tmp_path, verb):
    with pytest.raises(ValueError, match="--sentences is needed"):
        do(verb, exported["words"], tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


def test_the_vocabulary_of_a_wordless_student_needs_a_table(exported, tmp_path):
    with pytest.raises(ValueError, match="no IDF table; give one by --idf"):
        do("vocabulary", exported["wordless"], tmp_path / "small")
    table = str(exported["words"] / "idf.parquet")
    step = do("vocabulary", exported["wordless"], tmp_path / "small", idf=table)
    assert 0 < step["unknown_rate"] < 0.5


@pytest.mark.parametrize("last", LAST)
def test_nothing_follows_what_leaves_no_float32_weights(exported, tmp_path, text_file, last):
    do(last, exported["words"], tmp_path / "last", sentences=text_file)
    with pytest.raises(ValueError, match="must be the last step"):
        do("bits", tmp_path / "last", tmp_path / "more")


def test_the_same_step_again_is_found_done_and_another_is_refused(exported, tmp_path):
    first = do("rank", exported["words"], tmp_path / "small")
    again = do("rank", exported["words"], tmp_path / "small")
    assert again == {**first, "reused": True}
    with pytest.raises(FileExistsError, match="something else"):
        do("rank", exported["words"], tmp_path / "small", rank=5)


def test_an_export_without_its_float32_weights_cannot_be_compressed(exported, tmp_path):
    shutil.copytree(exported["words"], tmp_path / "student")
    (tmp_path / "student" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors"):
        do("rank", tmp_path / "student", tmp_path / "small")


@pytest.mark.parametrize("name", ["model.onnx", "config.json", "tokenizer.json"])
def test_a_changed_byte_in_a_compressed_export_is_noticed(exported, tmp_path, name):
    do("bits", exported["wordless"], tmp_path / "small")
    content = bytearray((tmp_path / "small" / name).read_bytes())
    at = content.index(b"sha256") + 12 if name == "config.json" else len(content) * 2 // 3
    content[at] ^= 1
    (tmp_path / "small" / name).write_bytes(content)
    with pytest.raises((ValueError, OSError)):
        SentenceEncoder.load(tmp_path / "small")


def test_sentences_are_drawn_once_each_and_split(exported, text_file):
    found = read_sentences(text_file, load_tokens(exported["wordless"]).prepare)
    rows = [sum(one.rows for one in part) for part in (found.measured, found.fitted)]
    assert rows == [150, 150]
    lines = [
        tuple(row[row_weights > 0].tolist())
        for one in found.measured
        for row, row_weights in zip(one.ids_BT, one.weights_BT, strict=True)
    ]
    assert len(set(lines)) > 140  # emoji are all [UNK]


def test_a_line_repeated_more_often_than_sentences_are_drawn_counts_once(exported, tmp_path):
    hot = ["今天北京天气怎么样？"] * (MEASURED + FITTED + 60)
    cold = ["明天会下雨吗", "去机场要多久？", "怎么退款"]
    (tmp_path / "hot.txt").write_text("\n".join([*hot, *cold, *hot]), encoding="utf-8")
    found = read_sentences(tmp_path / "hot.txt", load_tokens(exported["wordless"]).prepare)
    assert [sum(one.rows for one in part) for part in (found.measured, found.fitted)] == [2, 2]


@given(ids=st.lists(st.integers(0, 30).map(str)), number=st.integers(1, 8))
def test_the_least_different_ids_are_drawn(ids, number):
    assert draw(((one, one) for one in ids), number) == sorted(set(ids))[:number]


def test_a_file_without_sentences_is_refused(exported, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n今天\n", encoding="utf-8")
    with pytest.raises(ValueError, match="at least 2 different sentences, got 1"):
        do("units", exported["words"], tmp_path / "small", sentences=tmp_path / "empty.txt")


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        (RankConfig, []),
        (RankConfig, ["--rank", "4", "--energy", "0.5"]),
        (RankConfig, ["--energy", "1.5"]),
        (SparsityConfig, ["--share", "1"]),
        (BitsConfig, ["--bits", "3"]),
        (BitsConfig, ["--bits", "4", "--group", "12"]),
        (BitsConfig, ["--bits", "auto", "--least-cosine", "1.5"]),
        (UnitsConfig, ["--keep", "3", "--by", "size"]),
    ],
)
def test_a_flag_that_cannot_be_is_a_usage_error(config, flags, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(config, ["--student", "a", "--out", "b", *flags])
    assert ended.value.code == 64
    capsys.readouterr()


def test_neighbours_of_unrelated_vectors_are_those_of_chance():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 300, 16))
    assert same_neighbours(one, other) == pytest.approx(10 / 299, abs=0.02)


def test_neighbours_are_those_of_the_evaluation(monkeypatch):
    monkeypatch.setattr(fidelity, "shared", lambda one, other: np.array([0.25, 0.75]))
    assert same_neighbours(np.eye(2), np.eye(2)) == 0.5
