"""Preparing: one preparer for the store and for serving, and the folder that carries it."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from schemas.idf import IdfTable
from schemas.prepare import Preparer, load_preparer, read_tokenizer
from schemas.words import Segmenter, segmenter

TEXTS = ["今天北京天气怎么样？", "可以坐地铁ABC吗", "🎵", "", "北" * 100]


@pytest.fixture(scope="module")
def idf(small_idf):
    return IdfTable.load(small_idf)


@pytest.fixture(scope="module")
def preparer(tiny_teacher, idf):
    return Preparer(read_tokenizer(tiny_teacher), segmenter(), idf, max_tokens=64)


@pytest.fixture
def saved(tmp_path, preparer):
    preparer.save(tmp_path / "preparer")
    return tmp_path / "preparer"


def same(found, expected) -> bool:
    return all(
        (a.text, a.words, a.token_ids.tolist(), a.weights.tolist())
        == (b.text, b.words, b.token_ids.tolist(), b.weights.tolist())
        for a, b in zip(found, expected, strict=True)
    )


def test_a_sentence_becomes_words_token_ids_and_weights(preparer, tiny_teacher):
    vocabulary = json.loads(read_tokenizer(tiny_teacher))["model"]["vocab"]
    (one,) = preparer.prepare(["北京好吃"])
    assert one.words == ["北京", "好吃"]
    pieces = ["[CLS]", "北", "京", "好", "吃", "[SEP]"]
    assert one.token_ids.tolist() == [vocabulary[piece] for piece in pieces]
    assert (one.token_ids.dtype, one.weights.dtype) == (np.int32, np.float32)


def test_every_text_gets_one_answer_in_order(preparer):
    assert [one.text for one in preparer.prepare(TEXTS)] == TEXTS
    assert preparer.prepare([]) == []


def test_a_text_without_tokens_has_only_zero_weights(preparer):
    (one,) = preparer.prepare([""])
    assert (one.words, one.token_ids.tolist(), one.weights.tolist()) == ([], [2, 3], [0, 0])


def test_a_long_sentence_is_cut_and_still_sums_to_1(preparer):
    (one,) = preparer.prepare(["北" * 100])
    assert len(one.token_ids) == len(one.weights) == 64
    assert one.weights.sum() == pytest.approx(1, abs=1e-6)


def test_padding_settings_in_the_tokenizer_file_change_nothing(tiny_teacher, idf, preparer):
    import tokenizers

    padded = tokenizers.Tokenizer.from_file(str(tiny_teacher / "tokenizer.json"))
    padded.enable_padding(length=32)
    padded.enable_truncation(5)
    other = Preparer(padded.to_str(), segmenter(), idf, max_tokens=64)
    assert same(other.prepare(TEXTS), preparer.prepare(TEXTS))


def test_a_saved_preparer_prepares_as_before(saved, preparer):
    loaded = load_preparer(saved)
    assert same(loaded.prepare(TEXTS), preparer.prepare(TEXTS))
    assert loaded.fingerprint == preparer.fingerprint
    assert (loaded.max_tokens, loaded.smoothing) == (preparer.max_tokens, preparer.smoothing)


def test_a_preparer_with_a_user_dictionary_travels_with_it(tmp_path, tiny_teacher, idf):
    (tmp_path / "user.txt").write_text("天气怎么样 1000 n\n", encoding="utf-8")
    words = Segmenter(tmp_path / "user.txt")
    table = dataclasses.replace(idf, segmenter=words.name)
    preparer = Preparer(read_tokenizer(tiny_teacher), words, table, max_tokens=64)
    preparer.save(tmp_path / "saved")
    (tmp_path / "user.txt").unlink()
    shutil.move(tmp_path / "saved", tmp_path / "moved")
    loaded = load_preparer(tmp_path / "moved")
    assert loaded.prepare(TEXTS)[0].words == ["今天", "北京", "天气怎么样", "？"]
    assert loaded.fingerprint == preparer.fingerprint


def test_an_idf_table_of_another_segmenter_is_refused(tiny_teacher, idf):
    table = dataclasses.replace(idf, segmenter="jieba-0.1")
    with pytest.raises(
        ValueError, match=r"made with segmenter 'jieba-0\.1', this one is 'jieba-0.42"
    ):
        Preparer(read_tokenizer(tiny_teacher), segmenter(), table)


def test_a_changed_tokenizer_is_noticed(saved):
    content = (saved / "tokenizer.json").read_text("utf-8")
    (saved / "tokenizer.json").write_text(content.replace('"北"', '"南"'), encoding="utf-8")
    with pytest.raises(ValueError, match=r"tokenizer\.json has changed since it was written"):
        load_preparer(saved)


def test_another_idf_table_is_noticed(saved, tmp_path, tiny_teacher, idf):
    other = dataclasses.replace(idf, n_docs=idf.n_docs + 1)
    preparer = Preparer(read_tokenizer(tiny_teacher), segmenter(), other, max_tokens=64)
    preparer.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "idf.parquet", saved)
    with pytest.raises(ValueError, match=r"idf\.parquet has changed since it was written"):
        load_preparer(saved)


def test_a_changed_setting_is_noticed(saved):
    described = json.loads((saved / "preparer.json").read_text())
    (saved / "preparer.json").write_text(json.dumps({**described, "max_tokens": 32}))
    with pytest.raises(ValueError, match=r"preparer\.json has changed since it was written"):
        load_preparer(saved)


@pytest.mark.parametrize("name", ["preparer.json", "tokenizer.json", "idf.parquet"])
def test_a_missing_file_is_an_error(saved, name):
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError):
        load_preparer(saved)


def test_saving_twice_gives_the_same_bytes(tmp_path, preparer, saved):
    preparer.save(tmp_path / "again")
    for path in saved.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_whatever_changes_what_a_model_reads_is_in_the_fingerprint(tiny_teacher, idf, preparer):
    text = read_tokenizer(tiny_teacher)
    others = {
        "max_tokens": Preparer(text, segmenter(), idf, max_tokens=32),
        "smoothing": Preparer(text, segmenter(), idf, max_tokens=64, smoothing=0.2),
        "idf": Preparer(text, segmenter(), dataclasses.replace(idf, n_docs=301), max_tokens=64),
        "tokenizer": Preparer(text + " ", segmenter(), idf, max_tokens=64),
    }
    for name, other in others.items():
        differing = {
            key for key, value in other.fingerprint.items() if preparer.fingerprint[key] != value
        }
        assert differing == {name}
    assert {"cleaning", "segmenter", "vocabulary"} <= preparer.fingerprint.keys()


def test_a_model_without_a_fast_tokenizer_is_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"has no tokenizer\.json: a fast tokenizer is need"
    ):
        read_tokenizer(tmp_path)
