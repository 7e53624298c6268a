"""distill_jobs/evaluation/tasks.py: labelled sets from their files."""

import gzip
from pathlib import Path

import pytest

from distill_jobs.evaluation.tasks import Kind, LabelledSet, Row, ranking, read_sets

REAL = Path(__file__).parents[2] / "shared" / "data" / "eval"


def put(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{line}\n" for line in lines).encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)


def read(folder: Path, **settings: int) -> LabelledSet:
    return read_sets(folder, **{"max_rows": 100, "seed": 0, **settings})[0]


PAIR_HEADER = "sentence1\tsentence2\tlabel"


@pytest.mark.parametrize(
    ("header", "first", "second", "kind"),
    [
        (PAIR_HEADER, "花呗\t借呗\t1", "花呗\t你好\t0", Kind.PAIRS),
        ("sentence1\tsentence2\tscore", "花呗\t借呗\t4.5", "花呗\t你好\t0", Kind.GRADED),
        ("text\tlabel", "好吃\tgood", "难吃\tbad", Kind.CLASSES),
        ("query\tdocument", "花呗\t借呗", "花呗\t你好", Kind.RETRIEVAL),
    ],
)
def test_the_columns_say_what_a_set_is(tmp_path, header, first, second, kind):
    put(tmp_path / "x", "test.tsv.gz", header, first, second)
    assert read(tmp_path).kind is kind


def test_sentences_are_cleaned_and_quotes_mean_nothing(tmp_path):
    put(tmp_path / "x", "test.tsv", PAIR_HEADER, '"花呗\u3000 好\t借"呗\t1', "a\tb\t0")
    assert Row(('"花呗 好', '借"呗'), "1") in read(tmp_path).test


def test_columns_may_stand_in_any_order(tmp_path):
    put(tmp_path / "x", "test.tsv", "label\tid\ttext", "good\t7\t好吃", "bad\t8\t难吃")
    assert sorted(read(tmp_path).test) == [Row(("好吃",), "good"), Row(("难吃",), "bad")]


def test_test_is_scored_before_dev(tmp_path):
    put(tmp_path / "x", "test.tsv", PAIR_HEADER, "a\tb\t0", "c\td\t1")
    put(tmp_path / "x", "dev.tsv", PAIR_HEADER, "e\tf\t0", "g\th\t1")
    put(tmp_path / "y", "dev.tsv", PAIR_HEADER, "e\tf\t0", "g\th\t1")
    assert [s.split for s in read_sets(tmp_path, max_rows=9, seed=0)] == ["test", "dev"]


def test_a_probe_is_not_taught_with_a_tested_sentence(tmp_path):
    put(tmp_path / "x", "test.tsv", "text\tlabel", "好吃\tgood", "难吃\tbad")
    put(tmp_path / "x", "train.tsv", "text\tlabel", "好吃 \tgood", "一般\tbad")
    assert read(tmp_path).train == (Row(("一般",), "bad"),)


def test_a_draw_is_the_same_for_a_seed_whatever_other_sets_there_are(tmp_path):
    rows = [f"text {number}\t{number % 2}" for number in range(50)]
    put(tmp_path / "x", "test.tsv", "text\tlabel", *rows)
    before = read(tmp_path, max_rows=10)
    put(tmp_path / "a", "test.tsv", "text\tlabel", *rows)
    after = read_sets(tmp_path, max_rows=10, seed=0)
    assert len(before.test) == 10
    assert after[1].test == before.test != after[0].test
    assert read(tmp_path, max_rows=10, seed=1).test != after[0].test


def test_a_few_rows_without_text_are_counted(tmp_path):
    rows = [f"text {number}\t{number % 2}" for number in range(200)]
    put(tmp_path / "x", "test.tsv", "text\tlabel", *rows, "\u3000\t1")
    found = read(tmp_path, max_rows=999)
    assert (found.unusable, len(found.test)) == (1, 200)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "x/test.tsv is empty"),
        ([PAIR_HEADER], "x/test.tsv has no rows"),
        (["sentence1\tlabel", "a\t1"], r"has columns \['sentence1', 'label'\], expected"),
        ([PAIR_HEADER, "a\tb"], "line 2: 2 fields, header has 3"),
        ([PAIR_HEADER, "a\tb\tyes", "a\tb\t0"], r"label must hold both 0 and 1, got \['yes'\]"),
        ([PAIR_HEADER, "a\tb\t1"], r"label must hold both 0 and 1, got \['1'\]"),
        (["sentence1\tsentence2\tscore", "a\tb\thigh"], "score must hold numbers, got 'high'"),
        (["sentence1\tsentence2\tscore", "a\tb\tnan"], "score must hold numbers, got 'nan'"),
        (["text\tlabel", "a\tgood"], "label has one value only, 'good'"),
        (["text\tlabel", " \tgood", "a\tbad"], "1 rows hold no usable text, the first line 2"),
    ],
)
def test_a_bad_file_is_refused_by_name_column_and_value(tmp_path, lines, message):
    put(tmp_path / "x", "test.tsv", *lines)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "test.tsv").write_bytes("text\tlabel\n好\t1\n".encode("gb18030"))
    with pytest.raises(ValueError, match="line 2: not UTF-8"):
        read(tmp_path)


def test_a_folder_without_sets_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no labelled sets"):
        read_sets(tmp_path, max_rows=9, seed=0)
    with pytest.raises(FileNotFoundError, match="no folder of labelled sets"):
        read_sets(tmp_path / "nowhere", max_rows=9, seed=0)
    put(tmp_path / "x", "train.tsv", "text\tlabel", "a\tb")
    with pytest.raises(ValueError, match=r"neither test\.tsv nor dev\.tsv"):
        read_sets(tmp_path, max_rows=9, seed=0)
    with pytest.raises(FileNotFoundError, match="no set lcqmc"):
        read_sets(tmp_path, max_rows=9, seed=0, only=("lcqmc",))


def test_a_query_has_all_its_answers_and_never_itself():
    rows = (
        Row(("a", "b"), "1"),
        Row(("a", "c"), "1"),
        Row(("a", "d"), "0"),
        Row(("e", "e"), "1"),
    )
    found = ranking(LabelledSet("x", Kind.PAIRS, "test", rows))
    assert found is not None
    assert found.queries == ("a",)
    assert found.documents == ("b", "c", "d", "e")
    assert found.relevant == (frozenset({0, 1}),)


def test_sets_without_positive_pairs_ask_nothing():
    assert ranking(LabelledSet("x", Kind.PAIRS, "test", (Row(("a", "b"), "0"),))) is None
    assert ranking(LabelledSet("x", Kind.CLASSES, "test", (Row(("a",), "1"),))) is None


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared labelled sets are not here")
def test_real_sets_are_read_whole():
    sets = {s.name: s for s in read_sets(REAL, max_rows=4000, seed=0)}
    assert sets["stsb_zh"].kind is Kind.GRADED
    assert len(sets["stsb_zh"].test) == 1357
    assert sets["lcqmc"].kind is Kind.PAIRS
    assert len(sets["lcqmc"].test) == 4000
    assert len(sets["tnews"].train) == 8000
    assert sets["afqmc"].split == "dev"
