"""The IDF job as a whole, against a plain Python loop over jieba."""

import collections
import gzip
import json
import math
import unicodedata
from pathlib import Path

import jieba
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.idf import IdfConfig
from schemas import parts, store
from schemas.idf import IdfTable
from schemas.store import open_store

AWKWARD = [
    "我来到北京清华大学",
    "北京北京北京，还是北京！",
    "LTD-BERT v1.2.3 好用吗",
    "  全角ＡＢＣ　和 半角abc  ",
    "博物館開放嗎😊",
    "我来到北京清华大学",
    "我来到北京清华大学 ",
    "𠮷野家在哪里",
    "3.5折 100% off C++",
]


def reference(lines, *, deduplicate=True) -> tuple[dict[str, int], int]:
    """Document frequencies and number of sentences, in the most obvious way."""
    texts = [" ".join(unicodedata.normalize("NFC", line).split()) for line in lines]
    texts = [text for text in texts if text]
    if deduplicate:
        texts = sorted(set(texts))
    df = collections.Counter()
    cut = jieba.Tokenizer()
    for text in texts:
        for word in set(cut.cut(text)):
            df[word] += 1
    return dict(df), len(texts)


def counted(table: IdfTable) -> dict[str, int]:
    return dict(zip(table.words.to_pylist(), table.df.tolist(), strict=True))


def part_digests(location) -> list[tuple[str, str]]:
    opened = open_store(location)
    opened.verify()
    return [(part.path, part.sha256) for part in opened.parts]


@pytest.fixture(scope="module")
def lines(sentences):
    return [*AWKWARD, *sentences[:150], *sentences[:10]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, lines) -> Path:
    path = tmp_path_factory.mktemp("idf-corpus") / "lines.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def counted_once(tmp_path_factory, corpus, count) -> Path:
    out = tmp_path_factory.mktemp("counted") / "idf"
    count(corpus, out=out)
    return out


def test_the_table_equals_a_plain_loop_over_jieba(counted_once, lines):
    table = IdfTable.load(counted_once)
    df, n_docs = reference(lines)
    assert (counted(table), table.n_docs) == (df, n_docs)
    assert table.words.to_pylist() == sorted(df)
    for word, idf in table.lookup().items():
        assert idf == pytest.approx(math.log((1 + n_docs) / (1 + df[word])), rel=1e-12)


def test_without_deduplication_equal_lines_count_each_time(tmp_path, corpus, count, lines):
    summary = count(corpus, out=tmp_path / "idf", deduplicate=False)
    table = IdfTable.load(tmp_path / "idf")
    assert (counted(table), table.n_docs) == reference(lines, deduplicate=False)
    assert summary["duplicates"] == 0


def test_the_summary_tells_duplicates_words_and_the_most_frequent_ones(counted_once, lines):
    summary = open_store(counted_once).commits[0].summary
    df, n_docs = reference(lines)
    assert summary["sentences"] == len(lines)
    assert summary["duplicates"] == len(lines) - n_docs == 12
    assert (summary["words"], summary["words_dropped"]) == (len(df), 0)
    top = summary["top_words"]
    lettered = sorted((n for word, n in df.items() if word.isalnum()), reverse=True)
    assert list(top.values()) == lettered[:20]
    assert all(df[word] == n for word, n in top.items())
    assert "，" not in top


def test_jsonl_tsv_parquet_and_gzip_of_the_same_lines_give_the_same_table(
    tmp_path, count, lines, counted_once
):
    texts = [line for line in lines if "\t" not in line]
    json_lines = [json.dumps({"id": 1, "text": text}) for text in texts]
    (tmp_path / "a.jsonl").write_text("\n".join(json_lines))
    (tmp_path / "b.tsv").write_text(
        "label\ttext\n" + "".join(f"x\t{text}\n" for text in texts), encoding="utf-8"
    )
    pq.write_table(
        pa.table({"n": range(len(texts)), "text": texts}), tmp_path / "c.parquet", row_group_size=50
    )
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress("\r\n".join(texts).encode()))
    for name in ("a.jsonl", "b.tsv", "c.parquet", "d.txt.gz"):
        count(tmp_path / name, out=tmp_path / f"idf-{name[0]}")
        assert part_digests(tmp_path / f"idf-{name[0]}") == part_digests(counted_once), name


def test_files_of_different_kinds_and_fields_make_one_corpus(tmp_path, count):
    (tmp_path / "a.txt").write_text("北京好\n", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"query": "上海好", "document": "广州好"}\n')
    count(
        tmp_path / "a.txt",
        tmp_path / "b.jsonl",
        out=tmp_path / "idf",
        fields=("query", "document"),
    )
    table = IdfTable.load(tmp_path / "idf")
    assert counted(table) == {"上海": 1, "北京": 1, "好": 3, "广州": 1}


def test_rare_words_are_left_out_after_counting(tmp_path, corpus, count, lines):
    summary = count(corpus, out=tmp_path / "idf", min_df=3)
    df, n_docs = reference(lines)
    table = IdfTable.load(tmp_path / "idf")
    assert counted(table) == {word: n for word, n in df.items() if n >= 3}
    assert (table.n_docs, table.min_df) == (n_docs, 3)
    assert summary["words_dropped"] == sum(n < 3 for n in df.values())


def test_a_word_of_the_user_dictionary_is_cut_as_one(tmp_path, count):
    (tmp_path / "user.txt").write_text("清华大学东门 1000 n\n", encoding="utf-8")
    (tmp_path / "c.txt").write_text("去清华大学东门\n", encoding="utf-8")
    count(tmp_path / "c.txt", out=tmp_path / "idf", user_dictionary=tmp_path / "user.txt")
    table = IdfTable.load(tmp_path / "idf")
    assert counted(table) == {"去": 1, "清华大学东门": 1}
    assert " user:" in table.segmenter


@pytest.mark.parametrize(
    "options",
    [
        ("--direct_runner_bundle_repeat=3",),
        ("--direct_num_workers=2", "--direct_running_mode=multi_threading"),
        pytest.param(
            ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
            marks=pytest.mark.cluster,
        ),
    ],
)
def test_however_beam_runs_it_the_part_has_the_same_bytes(
    tmp_path, corpus, count, counted_once, options
):
    count(corpus, out=tmp_path / "idf", runner_options=options)
    assert part_digests(tmp_path / "idf") == part_digests(counted_once)


def test_a_rerun_reuses_the_table(corpus, count, counted_once):
    before = {path: path.stat().st_mtime_ns for path in counted_once.rglob("*")}
    summary = count(corpus, out=counted_once)
    assert (summary["reused"], summary["version"]) == (True, 0)
    assert summary["n_docs"] == IdfTable.load(counted_once).n_docs
    assert before == {path: path.stat().st_mtime_ns for path in counted_once.rglob("*")}


def test_another_corpus_or_setting_into_the_same_table_is_refused(
    tmp_path, corpus, count, counted_once
):
    (tmp_path / "other.txt").write_text("你好\n", encoding="utf-8")
    for settings in ({"corpus": tmp_path / "other.txt"}, {"corpus": corpus, "min_df": 2}):
        with pytest.raises(FileExistsError, match="holds the IDF table of other files or settings"):
            count(settings.pop("corpus"), out=counted_once, **settings)
    assert len(open_store(counted_once).commits) == 1


def test_a_file_that_changed_since_is_another_corpus(tmp_path, count):
    (tmp_path / "c.txt").write_text("你好\n", encoding="utf-8")
    count(tmp_path / "c.txt", out=tmp_path / "idf")
    (tmp_path / "c.txt").write_text("你好吗\n", encoding="utf-8")
    with pytest.raises(FileExistsError):
        count(tmp_path / "c.txt", out=tmp_path / "idf")


def test_only_the_part_and_the_log_are_in_the_folder(tmp_path, corpus, count):
    count(corpus, out=tmp_path / "idf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["idf", "idf.runs"]
    (part,) = store.open_store(tmp_path / "idf").parts
    assert part.path == f"part-{part.sha256[:8]}.parquet"
    assert sorted(path.name for path in (tmp_path / "idf").iterdir()) == ["_delta_log", part.path]


def test_the_idf_column_is_derived_from_the_counts(counted_once):
    opened = open_store(counted_once)
    table = parts.read(opened.path_of(opened.parts[0]))
    expected = np.log((1 + table["n_docs"].to_numpy()) / (1 + table["df"].to_numpy()))
    assert np.array_equal(table["idf"].to_numpy(), expected)


def test_the_dask_runner_is_refused(tmp_path, corpus, count):
    with pytest.raises(ValueError, match="DaskRunner loses tagged outputs"):
        count(corpus, out=tmp_path / "idf", runner_options=("--runner=DaskRunner",))
    assert not store.exists(tmp_path / "idf")


def test_an_option_that_beam_does_not_know_is_refused(tmp_path, corpus, count):
    with pytest.raises(ValueError, match="Beam does not know these options: --runer=FlinkRunner"):
        count(corpus, out=tmp_path / "idf", runner_options=("--runer=FlinkRunner",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"min_df": 0}, "min_df must be at least 1, got 0"),
        ({"max_bad_fraction": -0.1}, "max_bad_fraction must be 0 to 1, got -0.1"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings, rule):
    with pytest.raises(ValueError, match=rule):
        IdfConfig(corpus=("x",), out="y", **settings)
