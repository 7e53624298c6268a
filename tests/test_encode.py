"""distill_jobs/encode.py: a file of sentences becomes a file of vectors, whole or not at all."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
