"""The IDF table moves on purpose: counting a night, merging, comparing, moving a store."""

import pyarrow.parquet as pq
import pytest

from pipelines.idf import IdfConfig
from pipelines.idf_diff import IdfDiffConfig, idf_diff
from pipelines.idf_merge import IdfMergeConfig, idf_merge
from pipelines.store.diff import DiffConfig, diff
from pipelines.store.move import MoveConfig, move
from pipelines.store.verify import VerifyConfig, verify
from schemas import parts, tables
from schemas import store as stores
from schemas.idf import IdfTable
from schemas.store import open_store
from schemas.words import segmenter

NIGHT = ["熊猫基地几点开门", "熊猫基地的门票贵不贵", "今天熊猫基地人多吗", "去熊猫基地要多久？"]


@pytest.fixture
def night(tmp_path, sentences):
    """A corpus of four new sentences among two hundred known ones."""
    path = tmp_path / "night.txt"
    path.write_text("\n".join([*sentences[:200], *NIGHT, NIGHT[0]]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path, embed, small_corpus):
    embed(small_corpus, out=tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def candidate(tmp_path, night, store, small_idf, count):
    count(night, out=tmp_path / "night-idf", known=str(store))
    merged = IdfMergeConfig(
        base=str(small_idf), night=(str(tmp_path / "night-idf"),), out=str(tmp_path / "candidate")
    )
    idf_merge(merged)
    return tmp_path / "candidate"


def test_sentences_that_the_store_knows_are_not_counted_again(tmp_path, night, store, count):
    found = count(night, out=tmp_path / "n", known=str(store))
    assert (found["n_docs"], found["reused"], found["duplicates"]) == (4, False, 1)
    assert IdfTable.load(tmp_path / "n").lookup()["熊猫"] >= 0
    assert count(night, out=tmp_path / "n", known=str(store))["reused"]


def test_known_sentences_need_ids():
    with pytest.raises(ValueError, match="--known needs --deduplicate"):
        IdfConfig(corpus=("x",), out="y", known="z", deduplicate=False)


def test_a_merged_table_equals_one_counted_over_everything(
    tmp_path, candidate, small_corpus, night, count
):
    count(small_corpus, night, out=tmp_path / "all")
    assert IdfTable.load(candidate).digest() == IdfTable.load(tmp_path / "all").digest()


def test_a_night_that_was_embedded_before_it_was_counted_cannot_be_merged(
    store, night, small_idf, embed, count
):
    tmp_path = store.parent
    embed(night, out=store, date="2026-01-02")
    count(night, out=tmp_path / "late", known=str(store))
    merge = IdfMergeConfig(
        base=str(small_idf), night=(str(tmp_path / "late"),), out=str(tmp_path / "next")
    )
    with pytest.raises(ValueError, match="counts no sentence; count a night before it is embed"):
        idf_merge(merge)


def test_a_night_cannot_be_merged_twice(tmp_path, candidate):
    twice = IdfMergeConfig(
        base=str(candidate), night=(str(tmp_path / "night-idf"),), out=str(tmp_path / "twice")
    )
    with pytest.raises(ValueError, match="are in two of these tables already"):
        idf_merge(twice)


def test_the_same_merge_twice_does_the_work_once_and_another_is_refused(
    tmp_path, candidate, small_idf
):
    night = (str(tmp_path / "night-idf"),)
    assert idf_merge(IdfMergeConfig(base=str(small_idf), night=night, out=str(candidate)))["reused"]
    with pytest.raises(FileExistsError, match="holds another table"):
        idf_merge(IdfMergeConfig(base=str(small_idf), night=(), out=str(candidate)))


def test_the_difference_of_two_tables_tells_which_words_moved(small_idf, candidate):
    words = idf_diff(IdfDiffConfig(before=str(small_idf), after=str(candidate)))["words"]
    assert words["sentences"] == [300, 304]
    assert words["words_added"] >= 2
    assert "熊猫" in words["most_moved"]
    assert words["most_moved"]["熊猫"] < -1


def test_the_difference_on_a_store_tells_how_far_weights_and_vectors_would_move(
    small_idf, candidate, store, tiny_teacher
):
    config = IdfDiffConfig(
        before=str(small_idf), after=str(candidate), store=str(store), teacher=str(tiny_teacher)
    )
    found = idf_diff(config)
    weights, vectors = found["weights"], found["vectors"]
    assert weights["rows"] == 300
    assert 0 < weights["change_p50"] <= weights["change_p100"] < 2
    assert vectors["lowest_cosine"] <= vectors["lowest_cosine_of_rows_kept"]["0.005"] <= 1


@pytest.fixture
def other_idf(tmp_path, small_idf):
    """A table in which 北京 occurs everywhere: rows that have it change much, others little."""
    table = IdfTable.load(small_idf)
    counts = dict(zip(table.words.to_pylist(), table.df.tolist(), strict=True))
    counts["北京"] = 300
    other = IdfTable.from_counts(counts, 300, segmenter=segmenter().name)
    part = parts.write(other.to_arrow(), tmp_path / "other", "part-00000.parquet")
    about = {"fingerprint": {"idf": other.digest()}, "summary": {}}
    stores.commit(tmp_path / "other", tables.IDF, [part], run_id="o", **about)
    return tmp_path / "other"


def rows_of(location, version=None):
    opened = open_store(location, version)
    rows = [row for part in opened.parts for row in parts.read(opened.path_of(part)).to_pylist()]
    return {row["text"]: row for row in rows}


def test_moving_embeds_again_exactly_the_rows_beyond_the_bound(
    store, other_idf, tiny_teacher, small_corpus, embed
):
    config = MoveConfig(
        location=str(store), idf=str(other_idf), teacher=str(tiny_teacher), bound=0.05
    )
    found = move(config)
    assert (found["rows_embedded_again"], found["rows_kept"], found["version"]) == (50, 250, 1)
    assert found["largest_change_kept"] <= 0.05
    embed(small_corpus, out=store.parent / "anew", idf=str(other_idf))
    before, after, anew = rows_of(store, 0), rows_of(store), rows_of(store.parent / "anew")
    assert after.keys() == anew.keys()
    moved = {text for text in after if after[text]["vector_idf"] != before[text]["vector_idf"]}
    assert moved == {text for text in after if "北京" in text}
    for text in moved:
        assert after[text]["weights"] == anew[text]["weights"]
        assert after[text]["vector_idf"] == pytest.approx(anew[text]["vector_idf"], abs=2e-6)
    for text in after.keys() - moved:
        assert after[text] == before[text]
    listed = [pq.read_table(path) for path in (store.parent / "store.moved").glob("*/*.parquet")]
    assert sum(table.num_rows for table in listed) == 50
    assert min(value for t in listed for value in t["change"].to_pylist()) > 0.05
    verify(VerifyConfig(location=str(store), teacher=str(tiny_teacher)))
    assert move(config)["version"] == 1


def test_a_moved_store_takes_the_new_table_and_no_longer_the_old_one(
    store, other_idf, tiny_teacher, small_corpus, embed
):
    move(MoveConfig(location=str(store), idf=str(other_idf), teacher=str(tiny_teacher)))
    again = embed(small_corpus, out=store, idf=str(other_idf), date="2026-01-02")
    assert (again["new"], again["reused"]) == (0, 300)
    with pytest.raises(ValueError, match="made under other conditions: idf is"):
        embed(small_corpus, out=store, date="2026-01-03")
    found = diff(DiffConfig(location=str(store), before=0))
    assert "idf" in found["fingerprint"]
    assert found["idf"]["most_moved"].keys() >= {"北京"}
    assert found["vector_idf"]["cosine_lowest"] < 1


def test_a_store_moves_there_and_back_and_there_again(
    store, other_idf, small_idf, tiny_teacher, small_corpus
):
    for version, table in enumerate([other_idf, small_idf, other_idf], 1):
        config = MoveConfig(location=str(store), idf=str(table), teacher=str(tiny_teacher), bound=0)
        assert move(config)["version"] == version
        assert move(config)["version"] == version
        assert open_store(store).fingerprint["idf"] == IdfTable.load(table).digest()


def test_a_store_without_text_cannot_be_moved(
    tmp_path, embed, small_corpus, other_idf, tiny_teacher
):
    embed(small_corpus, out=tmp_path / "mute", keep_text=False)
    with pytest.raises(ValueError, match="keeps no text"):
        move(
            MoveConfig(
                location=str(tmp_path / "mute"), idf=str(other_idf), teacher=str(tiny_teacher)
            )
        )
