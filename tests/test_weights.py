"""Token weights against a slow and obvious oracle, and what every change must keep."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from schemas.idf import IdfTable
from schemas.prepare import Preparer, read_tokenizer
from schemas.weights import SMOOTHING, character_shares, token_weights, weighted_pool
from schemas.words import segmenter

SENTENCES = [
    "今天天气怎么样？",
    "北京北京北京",
    "可以坐地铁ABC吗",
    "hong kong有什么好吃的",
    "气温是25度吗2026",
    "ＷｉＦｉ密码１２３４",
    "有音乐会吗🎵😊",
    "👨\u200d👩\u200d👧去北京",
    "開放嗎",
    "𠮷野家在北京",
    "？",
    "北",
    "Café北京",
    "北京 上海  天气",
]
ALPHABET = "北京上海天气今怎么样吗的去有？，ab12AＡ１🎵 館é"


@pytest.fixture(scope="module")
def idf(small_idf):
    return IdfTable.load(small_idf)


@pytest.fixture(scope="module")
def preparer(tiny_teacher, idf):
    return Preparer(read_tokenizer(tiny_teacher), segmenter(), idf, max_tokens=64)


def oracle(text, words, offsets, idf: IdfTable, smoothing=SMOOTHING) -> list[float]:
    """Weights character by character: what the seed says, in loops."""
    known = dict(zip(idf.words.to_pylist(), idf.df.tolist(), strict=True))
    of_character = []
    for word in words:
        value = math.log((1 + idf.n_docs) / (1 + known.get(word, 0)))
        of_character += [value / len(word)] * len(word)
    assert len(of_character) == len(text)
    raw = []
    for start, stop in offsets:
        if start == stop:
            raw.append(0.0)  # a special token
        else:
            raw.append(sum(of_character[at] for at in range(start, stop)) + smoothing)
    return [one / sum(raw) for one in raw]


@pytest.mark.parametrize("text", SENTENCES)
def test_weights_are_those_of_the_obvious_loop(tiny_teacher, preparer, idf, text):
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(tiny_teacher / "tokenizer.json"))
    encoding = tokenizer.encode(text)
    (one,) = preparer.prepare([text])
    assert one.token_ids.tolist() == encoding.ids
    expected = oracle(text, one.words, encoding.offsets, idf)
    assert one.weights == pytest.approx(expected, abs=1e-6)


def test_for_pure_chinese_a_character_gets_its_share_of_its_word():
    shares = character_shares(["北京", "好"], {"北京": 4.0, "好": 1.0}.__getitem__)
    assert shares.tolist() == [2.0, 2.0, 1.0]
    offsets = np.array([[0, 0], [0, 1], [1, 2], [2, 3], [0, 0]])
    special = np.array([True, False, False, False, True])
    weights = token_weights(shares, offsets, special, smoothing=0.5)
    assert weights.tolist() == pytest.approx([0, 2.5 / 6.5, 2.5 / 6.5, 1.5 / 6.5, 0])


def test_a_token_over_several_characters_gets_their_sum():
    shares = np.array([1.0, 1.0, 1.0, 3.0])
    offsets = np.array([[0, 0], [0, 3], [3, 4], [0, 0]])
    special = np.array([True, False, False, True])
    assert token_weights(shares, offsets, special, smoothing=1.0).tolist() == [0, 0.5, 0.5, 0]


def test_pieces_of_one_latin_word_share_its_idf():
    shares = character_shares(["wifi", "好"], {"wifi": 4.0, "好": 4.0}.__getitem__)
    offsets = np.array([[0, 1], [1, 4], [4, 5]])
    weights = token_weights(shares, offsets, np.zeros(3, bool), smoothing=1e-9)
    assert weights.tolist() == pytest.approx([1 / 8, 3 / 8, 4 / 8])


def test_a_character_cut_into_several_tokens_counts_in_each_of_them():
    # Byte-level tokenizers cut one emoji into up to four tokens of the same offsets.
    offsets = np.array([[0, 1], [0, 1], [1, 2]])
    weights = token_weights(np.array([2.0, 2.0]), offsets, np.zeros(3, bool), smoothing=1e-9)
    assert weights.tolist() == pytest.approx([1 / 3] * 3)


@given(st.lists(st.text(ALPHABET, max_size=80), min_size=1, max_size=6))
def test_weights_are_shares_and_special_tokens_have_none(preparer, texts):
    for one in preparer.prepare(texts):
        assert (one.weights >= 0).all()
        inner = one.weights[1:-1]
        assert one.weights[0] == one.weights[-1] == 0
        if len(inner):
            assert one.weights.sum() == pytest.approx(1, abs=1e-6)
            assert (inner > 0).all()


@given(st.lists(st.text(ALPHABET, max_size=40), min_size=2, max_size=6), st.randoms())
def test_neighbours_and_their_order_change_no_bit(preparer, texts, random):
    alone = [preparer.prepare([text])[0] for text in texts]
    order = random.sample(range(len(texts)), len(texts))
    together = preparer.prepare([texts[at] for at in order])
    for at, one in zip(order, together, strict=True):
        assert np.array_equal(one.weights, alone[at].weights)
        assert np.array_equal(one.token_ids, alone[at].token_ids)
        assert one.words == alone[at].words


def test_what_is_cut_off_has_no_say(tiny_teacher, idf):
    short = Preparer(read_tokenizer(tiny_teacher), segmenter(), idf, max_tokens=6)
    (one,) = short.prepare(["今天北京天气怎么样"])
    assert len(one.token_ids) == 6
    assert one.token_ids[-1] == 3  # [SEP] is kept
    assert one.weights.sum() == pytest.approx(1)
    raw = [idf.lookup()["今天"] / 2 + SMOOTHING] * 2 + [idf.lookup()["北京"] / 2 + SMOOTHING] * 2
    assert one.weights[1:-1] == pytest.approx(np.array(raw) / sum(raw), abs=1e-6)


def test_a_sentence_without_tokens_has_no_weights():
    offsets, special = np.array([[0, 0], [0, 0]]), np.array([True, True])
    assert token_weights(np.array([]), offsets, special).tolist() == [0, 0]


@pytest.mark.parametrize("smoothing", [0.0, -0.1, float("nan")])
def test_smoothing_must_be_positive(smoothing):
    with pytest.raises(ValueError, match="smoothing must be positive, got"):
        token_weights(np.array([1.0]), np.array([[0, 1]]), np.array([False]), smoothing)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**31))
def test_numpy_torch_and_a_loop_pool_alike(sentences, tokens, width, seed):
    rng = np.random.default_rng(seed)
    states_BTH = rng.standard_normal((sentences, tokens, width), np.float32)
    weights_BT = rng.random((sentences, tokens), np.float32)
    by_numpy = weighted_pool(states_BTH, weights_BT)
    by_torch = weighted_pool(torch.from_numpy(states_BTH), torch.from_numpy(weights_BT))
    for b in range(sentences):
        for h in range(width):
            loop = sum(weights_BT[b, t] * states_BTH[b, t, h] for t in range(tokens))
            assert by_numpy[b, h] == pytest.approx(loop, abs=1e-5)
            assert by_torch[b, h].item() == pytest.approx(loop, abs=1e-5)


def test_padding_changes_no_pooled_vector():
    rng = np.random.default_rng(2)
    states_TH, weights_T = rng.standard_normal((5, 4)), np.array([0, 0.25, 0.5, 0.25, 0])
    padded = np.concatenate([states_TH, rng.standard_normal((3, 4))])
    expected = weighted_pool(states_TH, weights_T)
    assert weighted_pool(padded, np.append(weights_T, [0, 0, 0])) == pytest.approx(expected)
