"""Bad input, one kind a test: a clear error or a quarantine row, and nothing half-written."""

import hashlib
import json
import shutil

import pytest
import safetensors.numpy

from pipelines import idf, teacher
from schemas import parts, store
from schemas.idf import IdfTable

GOOD = "今天天气怎么样？".encode()


@pytest.fixture
def counted(tmp_path, count):
    """Function (bytes of a file, its name) -> summary, IDF table, quarantine rows of a run."""

    def run(content: bytes, name: str = "lines.txt", **settings):
        (tmp_path / name).write_bytes(content)
        out = tmp_path / "idf"
        summary = count(tmp_path / name, out=out, **{"max_bad_fraction": 1.0, **settings})
        return summary, IdfTable.load(out), quarantine_of(out)

    return run


@pytest.fixture
def failed(capsys):
    """Function (job's main, flags) -> exit code and what was said on standard error."""

    def run(main, *flags):
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, flags)))
        told = capsys.readouterr()
        assert told.out == ""
        return ended.value.code, told.err

    return run


@pytest.fixture
def teacher_flags(tmp_path, tiny_teacher, small_idf, small_corpus):
    """Function (corpus=, idf=, teacher=) -> flags of a job that would work but for those."""

    def flags(**changes) -> list[object]:
        inputs = {"corpus": small_corpus, "idf": small_idf, "teacher": tiny_teacher, **changes}
        found = [word for name, value in inputs.items() for word in (f"--{name}", value)]
        return [*found, "--out", tmp_path / "store", "--date", "2026-01-01", "--dtype", "float32"]

    return flags


def quarantine_of(out) -> list[dict[str, object]]:
    location = f"{out}.quarantine"
    if not store.exists(location):
        return []
    opened = store.open_store(location)
    opened.verify()
    return [row for part in opened.parts for row in parts.read(opened.path_of(part)).to_pylist()]


def where_and_why(rows) -> list[tuple[str, int, str]]:
    return [(row["source"], row["offset"], row["reason"]) for row in rows]


def nothing_is_visible(out) -> bool:
    """No table, and no file that a reader of the folder could take for one."""
    return not store.exists(out) and not list(out.rglob("*.parquet"))


def test_invalid_utf8_is_quarantined_with_its_offset_and_digest(counted):
    bad = b"\xc4\xe3\xba\xc3 gbk\n"
    summary, table, rows = counted(GOOD + b"\n" + bad + GOOD + b"2\n")
    assert summary["rejected_invalid_utf8"] == summary["quarantined"] == 1
    assert table.n_docs == 2
    assert where_and_why(rows) == [("lines", len(GOOD) + 1, "invalid_utf8")]
    assert rows[0]["sha256"] == hashlib.sha256(bad).hexdigest()
    assert rows[0]["length"] == len(bad)


def test_a_nul_byte_is_quarantined(counted):
    _, table, rows = counted(b"\xe4\xbd\xa0\x00\xe5\xa5\xbd\n" + GOOD)
    assert where_and_why(rows) == [("lines", 0, "nul")]
    assert table.n_docs == 1


def test_a_byte_order_mark_is_no_part_of_the_first_sentence(counted):
    summary, table, rows = counted(b"\xef\xbb\xbf" + GOOD + b"\n" + GOOD + b"\n")
    assert (summary["sentences"], table.n_docs, rows) == (2, 1, [])
    assert "\ufeff" not in "".join(table.words.to_pylist())


def test_windows_line_ends_are_no_part_of_a_sentence(counted):
    summary, table, rows = counted(GOOD + b"\r\n" + GOOD + b"\n")
    assert (summary["sentences"], table.n_docs, rows) == (2, 1, [])
    assert not {"\r", "\n", "\r\n", " "} & set(table.words.to_pylist())


def test_a_line_of_ten_megabytes_is_quarantined_and_the_next_one_is_read(counted):
    _, table, rows = counted("好".encode() * 3_500_000 + b"\n" + GOOD + b"\n")
    assert where_and_why(rows) == [("lines", 0, "too_long")]
    assert table.n_docs == 1
    assert table.words.to_pylist() == ["今天天气", "怎么样", "？"]


def test_an_empty_corpus_is_an_error_and_leaves_no_table(tmp_path, failed):
    (tmp_path / "empty.txt").write_bytes(b"")
    out = tmp_path / "idf"
    code, told = failed(idf.main, "--corpus", tmp_path / "empty.txt", "--out", out)
    assert code == 65
    assert "the corpus is empty: no sentence in it" in told
    assert nothing_is_visible(out)


def test_an_empty_corpus_has_no_plan(tmp_path, failed, teacher_flags):
    (tmp_path / "empty.txt").write_bytes(b"")
    flags = teacher_flags(corpus=tmp_path / "empty.txt")
    code, told = failed(teacher.main, *flags, "--plan")
    assert code == 65
    assert "the corpus is empty" in told


def test_a_pattern_that_matches_no_file_is_named(tmp_path, failed):
    flags = ("--corpus", tmp_path / "*.nothing", "--out", tmp_path / "idf")
    code, told = failed(idf.main, *flags)
    assert code == 74
    assert f"no file matches '{tmp_path}/*.nothing'" in told


def test_blank_lines_are_kept_in_the_quarantine_but_do_not_fail_a_run(counted):
    summary, table, rows = counted(b"\n \t\n" + GOOD + b"\n\n\n", max_bad_fraction=0.0)
    at = 4 + len(GOOD) + 1
    assert where_and_why(rows) == [
        ("lines", 0, "blank"),
        ("lines", 1, "blank"),
        ("lines", at, "blank"),
        ("lines", at + 1, "blank"),
    ]
    assert summary["rejected_blank"] == 4
    assert table.n_docs == 1


def test_only_blank_lines_is_an_empty_corpus(tmp_path, failed):
    (tmp_path / "blank.txt").write_bytes(b"\n\n\n")
    code, told = failed(idf.main, "--corpus", tmp_path / "blank.txt", "--out", tmp_path / "idf")
    assert code == 65
    assert "no sentence in it (rejected_blank 3)" in told
    assert nothing_is_visible(tmp_path / "idf")


def test_emoji_are_kept_even_those_joined_from_several(counted):
    family = "👨\u200d👩\u200d👧"
    _, table, rows = counted(f"周末{family}去公园😊\n".encode())
    assert rows == []
    assert {"周末", "公园", "😊"} <= set(table.words.to_pylist())
    assert "\u200d" in "".join(table.words.to_pylist())


def test_lone_surrogates_of_json_are_quarantined_and_pairs_are_read(counted):
    lines = [r'{"text": "\ud83d\ude0a好"}', r'{"text": "\ud83d好"}', r'{"text": "\udc00"}']
    content = "\n".join(lines).encode()
    _, table, rows = counted(content, "lines.jsonl")
    first = len(lines[0].encode()) + 1
    assert where_and_why(rows) == [
        ("lines", first, "invalid_utf8"),
        ("lines", first + len(lines[1].encode()) + 1, "invalid_utf8"),
    ]
    assert set(table.words.to_pylist()) == {"😊", "好"}


def test_json_that_cannot_be_read_is_quarantined_not_fatal(counted):
    good = json.dumps({"text": "你好"}).encode()
    bad = [b"{", b"[1, 2]", b"null", b'{"text": 5}', b'{"other": "x"}', b"[" * 60_000]
    content = b"\n".join([*bad, good])
    summary, table, rows = counted(content, "lines.jsonl")
    offsets = [sum(len(one) + 1 for one in bad[:n]) for n in range(len(bad))]
    assert [row["offset"] for row in rows] == offsets
    assert {row["reason"] for row in rows} == {"malformed"}
    assert [row["sha256"] for row in rows] == [
        hashlib.sha256(one + b"\n").hexdigest() for one in bad
    ]
    assert [row["length"] for row in rows] == [len(one) + 1 for one in bad]
    assert (summary["sentences"], table.n_docs) == (1, 1)


def test_a_parquet_string_that_is_not_utf8_is_quarantined_not_fatal(counted):
    import pyarrow as pa
    import pyarrow.parquet as pq

    offsets, data = pa.array([0, 6, 8, 14], pa.int32()), "你好".encode() + b"\xff\xfe" + GOOD[:6]
    column = pa.StringArray.from_buffers(3, offsets.buffers()[1], pa.py_buffer(data))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": column}), sink)
    summary, table, rows = counted(sink.getvalue().to_pybytes(), "rows.parquet")
    assert where_and_why(rows) == [("rows", 1, "invalid_utf8")]
    assert (summary["sentences"], table.n_docs) == (2, 2)


def test_a_parquet_column_that_is_no_text_is_refused(tmp_path, failed):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": [1, 2, 3]}), tmp_path / "numbers.parquet")
    code, told = failed(
        idf.main, "--corpus", tmp_path / "numbers.parquet", "--out", tmp_path / "idf"
    )
    assert code == 65
    assert "field 'text' holds int64, not text" in told
    assert nothing_is_visible(tmp_path / "idf")


def test_a_tsv_in_another_encoding_is_quarantined_row_by_row(counted):
    content = "text\t标签\n你好\t问候\n".encode("gbk") + "text\t问候\n".encode()
    _, table, rows = counted(content, "lines.tsv")
    assert [row["reason"] for row in rows] == ["invalid_utf8"]
    assert table.words.to_pylist() == ["text"]


def test_a_broken_gzip_is_an_input_error(tmp_path, failed):
    import gzip

    whole = gzip.compress(GOOD * 1000)
    (tmp_path / "cut.txt.gz").write_bytes(whole[: len(whole) // 2])
    code, told = failed(idf.main, "--corpus", tmp_path / "cut.txt.gz", "--out", tmp_path / "idf")
    assert code == 74
    assert f"{tmp_path / 'cut.txt.gz'} cannot be read: Compressed file ended before" in told
    assert nothing_is_visible(tmp_path / "idf")


def test_traditional_script_stays_as_it_is(counted):
    _, table, rows = counted("博物館開放嗎\n博物馆开放吗\n".encode())
    assert rows == []
    assert table.n_docs == 2
    assert "館" in "".join(table.words.to_pylist())
    assert "馆" in "".join(table.words.to_pylist())


@pytest.mark.parametrize("job", ["idf", "teacher"])
def test_an_output_that_is_a_file_is_refused_and_left_alone(
    tmp_path, failed, job, teacher_flags, small_corpus
):
    flags = teacher_flags()
    if job == "idf":
        flags = ["--corpus", small_corpus, "--out", tmp_path / "store"]
    (tmp_path / "store").write_text("mine")
    code, told = failed({"idf": idf, "teacher": teacher}[job].main, *flags)
    assert code == 73
    assert f"{tmp_path / 'store'} is a file; a table needs a folder of its own" in told
    assert (tmp_path / "store").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_an_output_below_a_file_is_refused(tmp_path, failed, small_corpus):
    (tmp_path / "file").write_text("mine")
    code, told = failed(idf.main, "--corpus", small_corpus, "--out", tmp_path / "file" / "idf")
    assert code == 73
    assert str(tmp_path / "file") in told
    assert (tmp_path / "file").read_text() == "mine"


def test_a_missing_teacher_is_named(tmp_path, failed, teacher_flags):
    flags = teacher_flags(teacher=tmp_path / "nowhere")
    code, told = failed(teacher.main, *flags)
    assert code == 74
    assert f"there is no teacher folder {tmp_path / 'nowhere'}" in told
    assert list(tmp_path.iterdir()) == []


def test_a_missing_idf_table_is_named(tmp_path, failed, teacher_flags):
    flags = teacher_flags(idf=tmp_path / "nowhere")
    code, told = failed(teacher.main, *flags)
    assert code == 74
    assert f"there is no table at {tmp_path / 'nowhere'}" in told


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(
    tmp_path, failed, make_teacher, teacher_flags
):
    folder = make_teacher(tmp_path / "mismatched", model_vocabulary=50)
    code, told = failed(teacher.main, *teacher_flags(teacher=folder))
    assert code == 65
    assert "ids, the model only 50 embeddings: they do not belong together" in told
    assert nothing_is_visible(tmp_path / "store")


def test_an_idf_table_of_another_segmenter_is_refused(
    tmp_path, failed, count, teacher_flags, small_corpus
):
    (tmp_path / "words.txt").write_text("天气怎么样 100 n\n", encoding="utf-8")
    count(small_corpus, out=tmp_path / "idf", user_dictionary=tmp_path / "words.txt")
    flags = teacher_flags(idf=tmp_path / "idf")
    code, told = failed(teacher.main, *flags)
    assert code == 65
    assert "the IDF table was made with segmenter" in told
    assert "make the table again, or give its user dictionary" in told
    assert nothing_is_visible(tmp_path / "store")


def test_a_store_of_another_teacher_is_refused_and_left_alone(
    tmp_path, failed, tiny_teacher, teacher_flags, small_store
):
    shutil.copytree(small_store, tmp_path / "store")
    other = shutil.copytree(tiny_teacher, tmp_path / "other")
    tensors = safetensors.numpy.load_file(other / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][7, 3] += 1
    safetensors.numpy.save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    flags = teacher_flags(teacher=other)
    code, told = failed(teacher.main, *flags, "--pooling", "idf", "mean", "cls")
    assert code == 65
    assert "was made under other conditions: teacher is '" in told
    assert "poolings" not in told
    assert store.open_store(tmp_path / "store").parts == store.open_store(small_store).parts


def test_a_mistyped_flag_is_a_usage_error(tmp_path, failed, small_corpus):
    code, told = failed(idf.main, "--corpsu", small_corpus, "--out", tmp_path / "idf")
    assert code == 64
    assert "--corpsu" in told
    assert list(tmp_path.iterdir()) == []


def test_a_nan_of_the_teacher_names_the_sentence_and_commits_nothing(
    tmp_path, failed, tiny_teacher, teacher_flags
):
    spoiled = shutil.copytree(tiny_teacher, tmp_path / "spoiled")
    tensors = safetensors.numpy.load_file(spoiled / "model.safetensors")
    vocabulary = json.loads((spoiled / "tokenizer.json").read_text())["model"]["vocab"]
    tensors["embeddings.word_embeddings.weight"][vocabulary["雨"]] = float("nan")
    safetensors.numpy.save_file(tensors, spoiled / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "two.txt").write_text("今天天气怎么样\n明天会下雨吗\n", encoding="utf-8")
    flags = teacher_flags(teacher=spoiled, corpus=tmp_path / "two.txt")
    code, told = failed(teacher.main, *flags)
    assert code == 65
    assert "the teacher gives no usable idf vector for sentence" in told
    assert "'明天会下雨吗'): NaN, infinite or zero; check the model" in told
    assert nothing_is_visible(tmp_path / "store")


def test_too_many_bad_records_fail_the_run_and_tell_where_they_are(tmp_path, failed):
    (tmp_path / "mixed.txt").write_bytes(GOOD + b"\n\xff\n\xfe\n")
    code, told = failed(idf.main, "--corpus", tmp_path / "mixed.txt", "--out", tmp_path / "idf")
    assert code == 65
    assert "2 of 3 records are bad (rejected_invalid_utf8 2)" in told
    assert f"--max-bad-fraction allows; see {tmp_path / 'idf.quarantine'}" in told
    assert nothing_is_visible(tmp_path / "idf")
    assert where_and_why(quarantine_of(tmp_path / "idf")) == [
        ("mixed", len(GOOD) + 1, "invalid_utf8"),
        ("mixed", len(GOOD) + 3, "invalid_utf8"),
    ]
