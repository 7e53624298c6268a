"""The IDF table: its formula, that tables add up, and that it notices what is not it."""

import collections
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfTransformer

from schemas import parts
from schemas.idf import IdfTable
from schemas.store import open_store

WORDS = ["北京", "上海", "天气", "好", "吗", "😊", "WiFi"]
CORPUS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), min_size=1, max_size=12)


def table_of(corpus, **settings) -> IdfTable:
    df = collections.Counter(word for words in corpus for word in set(words))
    return IdfTable.from_counts(df, len(corpus), segmenter="test", **settings)


def same(a: IdfTable, b: IdfTable) -> bool:
    return a.words.equals(b.words) and np.array_equal(a.df, b.df) and a.n_docs == b.n_docs


def test_idf_is_the_smoothed_logarithm_of_the_seed():
    table = table_of([["北京", "好"], ["北京"], ["好"], ["天气"]])
    assert table.lookup() == {
        "北京": pytest.approx(math.log(5 / 3)),
        "天气": pytest.approx(math.log(5 / 2)),
        "好": pytest.approx(math.log(5 / 3)),
    }
    assert table.words.to_pylist() == sorted(["北京", "天气", "好"])


@given(CORPUS)
def test_idf_is_scikit_learn_s_minus_one(corpus):
    table = table_of(corpus)
    words = table.words.to_pylist()
    counts = np.array([[words_of.count(word) for word in words] for words_of in corpus])
    theirs = TfidfTransformer(smooth_idf=True).fit(counts).idf_ - 1
    assert table.idf == pytest.approx(theirs, abs=1e-12)


def test_a_word_that_is_not_in_the_table_weighs_as_one_that_no_sentence_has():
    table = table_of([["北京"], ["好"], ["吗"]])
    assert table.unseen_idf == pytest.approx(math.log(4))
    assert table.unseen_idf > max(table.idf)


@given(CORPUS, CORPUS)
def test_two_tables_merge_into_the_table_of_both_corpora(one, two):
    assert same(table_of(one).merge(table_of(two)), table_of(one + two))


@given(CORPUS, CORPUS)
def test_the_order_of_merging_does_not_matter(one, two):
    forth, back = table_of(one).merge(table_of(two)), table_of(two).merge(table_of(one))
    assert forth.digest() == back.digest()


def test_tables_without_their_rare_words_do_not_merge():
    whole, cut = table_of([["好"], ["好"]]), table_of([["好"], ["好"]], min_df=2)
    for one, two in ((whole, cut), (cut, whole)):
        with pytest.raises(ValueError, match="cannot merge exactly: words below df 2 were dropped"):
            one.merge(two)


def test_tables_of_different_segmenters_do_not_merge():
    other = IdfTable.from_counts({"好": 1}, 1, segmenter="other")
    with pytest.raises(
        ValueError, match="cannot merge IDF tables of segmenters 'test' and 'other'"
    ):
        table_of([["好"]]).merge(other)


def test_min_df_leaves_rare_words_out():
    table = table_of([["北京", "好"], ["好"]], min_df=2)
    assert table.words.to_pylist() == ["好"]
    assert table.n_docs == 2


@pytest.mark.parametrize(
    "other",
    [
        IdfTable.from_counts({"好": 1, "吗": 1}, 3, segmenter="s"),
        IdfTable.from_counts({"好": 2, "吗": 2}, 3, segmenter="s"),
        IdfTable.from_counts({"好": 2, "嘛": 1}, 3, segmenter="s"),
        IdfTable.from_counts({"好": 2, "吗": 1}, 4, segmenter="s"),
        IdfTable.from_counts({"好": 2, "吗": 1}, 3, segmenter="t"),
        IdfTable.from_counts({"好": 2, "吗": 1, "a": 1}, 3, segmenter="s"),
    ],
)
def test_whatever_changes_a_weight_changes_the_digest(other):
    assert other.digest() != IdfTable.from_counts({"好": 2, "吗": 1}, 3, segmenter="s").digest()


def test_the_digest_is_of_the_content_not_of_the_object():
    one = IdfTable.from_counts({"好": 2, "吗": 1}, 3, segmenter="s")
    two = IdfTable.from_counts({"吗": 1, "好": 2}, 3, segmenter="s")
    assert one.digest() == two.digest()
    assert one.digest() == IdfTable.from_arrow(one.to_arrow()).digest()


def test_an_exported_table_reads_back(tmp_path):
    table = table_of([["北京", "好"], ["好"]], min_df=1)
    parts.write(table.to_arrow(), tmp_path, "idf.parquet")
    found = IdfTable.load(tmp_path / "idf.parquet")
    assert same(found, table)
    assert (found.segmenter, found.cleaning, found.min_df) == ("test", table.cleaning, 1)


def test_a_flipped_byte_of_a_table_is_noticed(tmp_path, small_corpus, count):
    count(small_corpus, out=tmp_path / "idf")
    path = tmp_path / "idf" / open_store(tmp_path / "idf").parts[0].path
    whole = path.read_bytes()
    for offset in (4, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        with pytest.raises(ValueError, match="has changed since it was committed"):
            IdfTable.load(tmp_path / "idf")
    path.write_bytes(whole)
    assert IdfTable.load(tmp_path / "idf").n_docs == 300


def test_no_table_and_another_table_are_told_apart(tmp_path, small_store):
    with pytest.raises(FileNotFoundError, match="there is no table at"):
        IdfTable.load(tmp_path)
    with pytest.raises(ValueError, match=r"an IDF table has one part, .* has "):
        IdfTable.load(small_store)
    pq.write_table(pa.table({"word": ["好"], "df": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"not an IDF table: its columns are \['word', 'df'\]"):
        IdfTable.load(tmp_path / "x.parquet")
