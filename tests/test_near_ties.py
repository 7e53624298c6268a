"""Near ties: the pairs found by sorting are those of the obvious loops, and they go to jieba."""

import random

import jieba
import pytest
from jieba.finalseg import emit_P, start_P, trans_P

from schemas.near_ties import near_ties
from schemas.words import segmenter


@pytest.fixture(scope="module")
def ties():
    return near_ties()


def is_near_tie(first: str, second: str, within: float) -> bool:
    """Whether BE and SS are as likely, for some neighbours: term by term."""
    for before in (start_P, trans_P["E"], trans_P["S"]):
        for after in (None, "B", "S"):
            one_word = before["B"] + emit_P["B"][first] + trans_P["B"]["E"] + emit_P["E"][second]
            two_words = before["S"] + emit_P["S"][first] + trans_P["S"]["S"] + emit_P["S"][second]
            if after:
                one_word += trans_P["E"][after]
                two_words += trans_P["S"][after]
            if abs(one_word - two_words) < within:
                return True
    return False


def test_the_pairs_are_those_that_the_obvious_loops_find():
    rng = random.Random(3)
    firsts = rng.sample(sorted(emit_P["B"].keys() & emit_P["S"].keys()), 12)
    seconds = sorted(emit_P["E"].keys() & emit_P["S"].keys())
    found = {pair for pair in near_ties(1e-4) if pair[0] in firsts}
    assert found == {a + b for a in firsts for b in seconds if is_near_tie(a, b, 1e-4)}
    assert len(found) > 3


def test_they_are_few_and_sorted(ties):
    assert ties == sorted(set(ties))
    assert all(len(pair) == 2 for pair in ties)
    assert 0 < len(ties) < 100_000


def test_a_pair_that_was_seen_to_flip_is_among_them(ties):
    assert "常在" in ties


def test_lines_with_a_near_tie_are_cut_as_jieba_cuts_them(ties):
    rng = random.Random(4)
    reference, ours = jieba.Tokenizer(), segmenter()
    for pair in rng.sample(ties, 200):
        line = f"他{pair}家，{pair}"
        assert ours._is_unsafe(line)
        assert ours.words(line) == reference.lcut(line)
