"""idf_reweigh.py: weights of one's own, from the table to the vectors."""

import math

import numpy as np
import pytest

from pipelines.idf_diff import IdfDiffConfig, idf_diff
from pipelines.idf_merge import IdfMergeConfig, idf_merge
from pipelines.idf_reweigh import IdfReweighConfig, idf_reweigh, reweigh
from schemas.idf import IdfTable
from schemas.prepare import Preparer
from schemas.words import segmenter


@pytest.fixture
def reweighed(tmp_path, small_idf):
    words = tmp_path / "words.tsv"
    words.write_text("今天\t0\n\n熊猫\t2.5\n", encoding="utf-8")
    out = str(tmp_path / "table")
    config = IdfReweighConfig(base=str(small_idf), words=words, out=out)
    return config, idf_reweigh(config)


def test_words_get_their_weights_and_the_others_keep_theirs(reweighed, small_idf):
    config, summary = reweighed
    base, made = IdfTable.load(small_idf).lookup(), IdfTable.load(config.out).lookup()
    assert made["今天"] == 0
    assert made["熊猫"] == pytest.approx(2.5, abs=0.1)
    assert {word: made[word] for word in base if word not in ("今天", "熊猫")} == {
        word: idf for word, idf in base.items() if word not in ("今天", "熊猫")
    }
    assert summary["weights"]["今天"][1] == 0
    assert idf_reweigh(config)["reused"]


def test_a_sentences_tokens_are_weighed_by_it(reweighed, small_idf, tiny_teacher):
    text = "今天去北京"
    tokenizer = (tiny_teacher / "tokenizer.json").read_text(encoding="utf-8")
    of = [
        Preparer(tokenizer, segmenter(), IdfTable.load(table), max_tokens=32).prepare([text])[0]
        for table in (small_idf, reweighed[0].out)
    ]
    assert (of[0].token_ids == of[1].token_ids).all()
    # Of a stop word nothing is left but the smoothing.
    assert of[1].weights[:2].sum() < 0.1 < of[0].weights[:2].sum()
    assert np.isclose(of[1].weights.sum(), 1)


def test_what_it_would_move_is_said_before_it_moves(reweighed, small_idf, small_store):
    tables = {"before": str(small_idf), "after": reweighed[0].out}
    found = idf_diff(IdfDiffConfig(**tables, store=str(small_store)))
    assert found["weights"]["share_above_0.2"] > 0.1
    assert set(list(found["words"]["most_moved"])[:2]) == {"今天", "熊猫"}


def test_weights_of_ones_own_are_not_merged_as_counts(reweighed, small_idf, tmp_path):
    out = str(tmp_path / "merged")
    with pytest.raises(ValueError, match="weights of your own, not counts"):
        idf_merge(IdfMergeConfig(base=reweighed[0].out, night=(str(small_idf),), out=out))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("今天", "line 1 must be a word, a tab and a weight"),
        ("今天\t-1", "0 to "),
        ("今天\tnan", "0 to "),
        ("今天\t99", "0 to "),
        ("今天\t1\n今天\t2", "line 2: '今天' has a weight already"),
        ("今天天气怎么样\t1", "is no word here but 今天天气 怎么样"),
        ("", "names no word"),
    ],
)
def test_other_lines_are_refused(tmp_path, small_idf, line, complaint):
    words = tmp_path / "words.tsv"
    words.write_text(line, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        idf_reweigh(IdfReweighConfig(base=str(small_idf), words=words, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_a_weight_is_kept_to_a_thousandth_in_a_large_table():
    base = IdfTable.from_counts({"好": 10}, 1_000_000, segmenter="jieba")
    for wanted in (0.0, 0.5, 3.0, 7.5, math.log(1_000_001)):
        assert reweigh(base, {"好": wanted}).lookup()["好"] == pytest.approx(wanted, abs=1e-3)
