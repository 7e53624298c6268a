"""distill_jobs/encode.py: a file of sentences becomes a file of vectors, whole or not at all."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill_jobs import encoder as encoder_module
from distill_jobs.encode import EncodeConfig, encode_file
from distill_jobs.encoder import SentenceEncoder
from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil
from schemas.text import sentence_id

TEXTS = ["今天北京天气怎么样？", "", "明天上海会下雨吗", "今天北京天气怎么样？"]


@pytest.fixture(scope="module")
def student(small_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encode")
    settings = {"epochs": 1, "batch_size": 32, "validation_rows": 40, "student": "static"}
    distil(TrainConfig(store=str(small_store), out=folder / "training", **settings))
    export(ExportConfig(training=folder / "training", out=folder / "student"))
    return folder / "student"


def test_every_line_gets_its_row_in_order(student, tmp_path):
    (tmp_path / "in.txt").write_bytes("\r\n".join(TEXTS).encode())
    summary = encode_file(
        EncodeConfig(student=student, input=tmp_path / "in.txt", out=tmp_path / "out.parquet")
    )
    found = pq.read_table(tmp_path / "out.parquet")
    assert summary["rows"] == 4
    assert found["text"].to_pylist() == TEXTS
    assert found["sentence_id"].to_pylist() == [sentence_id(text) for text in TEXTS]
    expected = SentenceEncoder.load(student).encode(TEXTS)
    np.testing.assert_allclose(np.stack(found["vector"].to_numpy()), expected, atol=1e-6)


@pytest.mark.parametrize("backend", ["onnx-int8", "onnx", "torch"])
def test_the_backend_and_its_threads_can_be_chosen(student, tmp_path, backend):
    (tmp_path / "in.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    out = tmp_path / "out.parquet"
    settings = {"student": student, "input": tmp_path / "in.txt", "out": out, "threads": 1}
    assert encode_file(EncodeConfig(**settings, backend=backend))["backend"] == backend
    expected = SentenceEncoder.load(student, "torch").encode(TEXTS)
    found = np.stack(pq.read_table(out)["vector"].to_numpy())
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)


def test_a_parquet_column_is_read_by_name_and_null_is_an_empty_sentence(student, tmp_path):
    pq.write_table(pa.table({"question": [TEXTS[0], None]}), tmp_path / "in.parquet")
    config = EncodeConfig(
        student=student,
        input=tmp_path / "in.parquet",
        out=tmp_path / "out.parquet",
        field="question",
    )
    encode_file(config)
    assert pq.read_table(tmp_path / "out.parquet")["text"].to_pylist() == [TEXTS[0], ""]


def test_a_missing_column_is_named_and_nothing_is_written(student, tmp_path):
    pq.write_table(pa.table({"question": TEXTS}), tmp_path / "in.parquet")
    config = EncodeConfig(
        student=student, input=tmp_path / "in.parquet", out=tmp_path / "out.parquet"
    )
    with pytest.raises(ValueError, match="no column 'text'; it has question"):
        encode_file(config)
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]


def test_a_missing_input_is_an_error_and_nothing_is_written(student, tmp_path):
    config = EncodeConfig(student=student, input=tmp_path / "in.txt", out=tmp_path / "out.parquet")
    with pytest.raises(FileNotFoundError, match=r"in\.txt"):
        encode_file(config)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def encoder(student):
    return SentenceEncoder.load(student)


@pytest.fixture(scope="module")
def nothing(encoder):
    """The vector of a sentence in which nothing is left to read: the training corpus' mean."""
    return encoder.encode([""])[0]


@pytest.mark.parametrize("text", ["", " \t\u3000\r\n", "\x07\x00\u200b\ufeff", "\ufffd"])
def test_a_text_with_nothing_to_read_gets_the_mean_vector(encoder, nothing, text):
    assert encoder.encode([text])[0].tolist() == nothing.tolist()
    beside = encoder.encode(["今天北京天气怎么样？", text, "好"])
    np.testing.assert_allclose(beside[1], nothing, atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "😊👍🏽👨\u200d👩\u200d👧",
        "ꦱꦸꦒꦼꦁ",
        "سلام دنیا",
        "\ud800坏",
        "[SEP][CLS]",
        "a" * 300,
        "e\u0301" * 9,
    ],
)
def test_odd_text_gets_a_finite_vector_alone_and_beside_others(encoder, text):
    alone = encoder.encode([text])
    assert alone.shape == (1, encoder.width)
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(encoder.encode(["好", text])[1], alone[0], rtol=0.02, atol=0.02)


def test_control_characters_change_nothing(encoder):
    clean, dirty = encoder.encode(["今天天气"]), encoder.encode(["\ufeff今\x07天\u200b天气\x1b"])
    assert clean.tolist() == dirty.tolist()


def test_a_text_of_5000_characters_is_cut_where_the_tokens_end(encoder):
    assert encoder.encode(["今天" * 2500]).tolist() == encoder.encode(["今天" * 500]).tolist()
    ids = encoder._preparer.prepare(["今天" * 500, "今天" * 2500, "今天" * 5])
    assert len(ids[0].token_ids) == len(ids[1].token_ids) < 1000
    assert len(ids[2].token_ids) == 10


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (None, "got NoneType: None at position 2"),
        (b"abc", "got bytes: b'abc' at position 2"),
        (math.nan, "got float: nan at position 2"),
        (pd.NA, "got NAType: <NA> at position 2"),
        (["好"], r"got list: \['好'\] at position 2"),
    ],
)
def test_what_is_not_a_string_is_refused_with_its_position_and_type(encoder, bad, complaint):
    with pytest.raises(ValueError, match=complaint):
        encoder.encode(["今天", "好", bad, "天气"])


def test_the_position_of_what_is_refused_counts_from_the_first_text(encoder, monkeypatch):
    monkeypatch.setattr(encoder_module, "_SORTED_TOGETHER", 3)
    with pytest.raises(ValueError, match="got int: 7 at position 8"):
        encoder.encode(["好"] * 8 + [7])


@pytest.mark.parametrize("texts", ["今天", b"\xe4\xbb\x8a"])
def test_one_string_instead_of_a_list_is_refused(encoder, texts):
    with pytest.raises(ValueError, match=r"takes a list of sentences, got the (string|bytes)"):
        encoder.encode(texts)


@pytest.mark.parametrize(
    "hold",
    [tuple, iter, np.array, lambda texts: np.array(texts, dtype=object), pd.Series, pa.array],
    ids=["tuple", "iterator", "array", "array of objects", "Series", "Arrow array"],
)
def test_whatever_holds_the_sentences_the_vectors_are_the_same(encoder, hold):
    if hold is pa.array:
        with pytest.raises(ValueError, match=r"got StringScalar: .* at position 0"):
            encoder.encode(hold(TEXTS))
    else:
        assert encoder.encode(hold(TEXTS)).tolist() == encoder.encode(TEXTS).tolist()


def test_a_generator_is_read_a_piece_at_a_time(encoder, monkeypatch):
    monkeypatch.setattr(encoder_module, "_SORTED_TOGETHER", 10)
    read, seen = [], []
    prepare = encoder._preparer.prepare
    monkeypatch.setattr(
        encoder._preparer, "prepare", lambda texts: seen.append(len(read)) or prepare(texts)
    )
    texts = [f"今天是{number}号" for number in range(35)]
    found = encoder.encode(read.append(text) or text for text in texts)
    assert seen == [10, 20, 30, 35]
    np.testing.assert_allclose(found, encoder.encode(texts), atol=1e-6)


@pytest.mark.parametrize("backend", ["onnx-int8", "onnx"])
def test_threads_change_neither_vectors_nor_order(student, backend):
    texts = [f"今天{'天气' * (number % 7)}是{number}号" for number in range(300)]
    one = SentenceEncoder.load(student, backend, threads=1).encode(texts)
    two = SentenceEncoder.load(student, backend, threads=2).encode(texts)
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("size", [0, -1])
def test_batches_of_nothing_are_refused(student, size):
    with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}"):
        SentenceEncoder.load(student).encode(TEXTS, batch_size=size)
    for name in ("batch_size", "threads"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got {size}"):
            EncodeConfig(student=student, input=student, out=student, **{name: size})


def test_one_encoder_serves_several_threads_at_once(student):
    encoder = SentenceEncoder.load(student)
    texts = [text * times for times in range(1, 30) for text in TEXTS]
    expected = encoder.encode(texts)
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(encoder.encode, [texts] * 24):
            np.testing.assert_array_equal(found, expected)
