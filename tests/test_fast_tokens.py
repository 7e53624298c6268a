"""schemas/fast_tokens.py: the ids and places of the tokenizers library, whatever the text."""

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors

from schemas.fast_tokens import FastTokenizer
from schemas.weights import character_weights, token_weights
from tests.test_golden import AWKWARD, TEACHER

BERT = (TEACHER / "tokenizer.json").read_text("utf-8")
MAX_TOKENS = 24
PIECES = [
    *("今", "天", "好", "囧", "龘", "㐀", "\u9fd6", "\u9fff", "\u4dbf", "𠮷", "\uf900", "\ufa0e"),
    *("ab", "WiFi", "ing", "7", "1234", "É", "İ", "ß", "Σ", "ﬁ", "①", "Ａ", "한", "か\u3099"),
    *("，", "？", "……", "“", "·", "～", "!", "<", "^", "$", "[", "]", "##", " ", "\u3000", "\n"),
    *("\u0301", "\u0308", "\u0338", "\u0903", "\u20dd", "\ufe0f", "\U000e0100", "\u200d", "\u200b"),
    *("😊", "👍🏽", "\0", "\ufffd", "\x07", "\x85", "\u0378", "\ue000", "\u2f08", "\u2028"),
    *("[SEP]", "[CLS]", "[UNK]", "[MASK", "SEP]", "[sep]"),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=40)


def library(tokenizer_json, max_tokens=MAX_TOKENS):
    found = tokenizers.Tokenizer.from_str(tokenizer_json)
    found.no_padding()
    found.enable_truncation(max_tokens)
    return found


def changed(**parts):
    described = json.loads(BERT)
    for part, settings_ in parts.items():
        described[part] = {**described[part], **settings_}
    return json.dumps(described)


def with_added(*contents, **flags):
    tokenizer = tokenizers.Tokenizer.from_str(BERT)
    tokenizer.add_tokens([tokenizers.AddedToken(one, **flags) for one in contents])
    return tokenizer.to_str()


def byte_level():
    """A tokenizer of another family: every byte a token, with places trimmed of spaces."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {one: at for at, one in enumerate(["<s>", "</s>", *alphabet])}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return tokenizer.to_str()


KINDS = {
    "as it is": BERT,
    "cased": changed(normalizer={"lowercase": False, "strip_accents": False}),
    "cased, accents stripped": changed(normalizer={"lowercase": False, "strip_accents": True}),
    "control characters kept": changed(normalizer={"clean_text": False}),
    "CJK not set apart": changed(normalizer={"handle_chinese_chars": False}),
    "words of 3 at most": changed(model={"max_input_chars_per_word": 3}),
    "an added word": with_added("WiFi", "好ab", normalized=False),
    "an added word of CJK only": with_added("今天", normalized=False),
    "an added word that is normalised": with_added("Éa", normalized=True),
    "an added word that eats spaces": with_added("ing", normalized=False, lstrip=True, rstrip=True),
    "bytes": byte_level(),
}
FAST = {name: FastTokenizer(text, MAX_TOKENS) for name, text in KINDS.items()}
LIBRARY = {name: library(text) for name, text in KINDS.items()}


def assert_same(name, text):
    fast, expected = FAST[name], LIBRARY[name].encode(text)
    ids, places = fast.content(text)
    assert fast.head + ids + fast.tail == expected.ids, text
    inner = expected.offsets[len(fast.head) : len(expected.ids) - len(fast.tail)]
    if places is None:
        places = [place for at in range(len(ids)) for place in (at, at + 1)]
    assert [tuple(places[at : at + 2]) for at in range(0, len(places), 2)] == inner, text


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=100, deadline=None)
@given(pieces=TEXTS)
def test_any_text_has_the_library_s_ids_and_places(name, pieces):
    assert_same(name, "".join(pieces))


@pytest.mark.parametrize("name", KINDS)
def test_awkward_sentences_have_the_library_s_ids_and_places(name):
    for text in [*AWKWARD, "".join(AWKWARD), "", *PIECES, "今天" * 2500]:
        assert_same(name, text)


@pytest.mark.parametrize("text", ["\ud800", "今天\udc00好"])
def test_a_lone_surrogate_is_refused_as_by_the_library(text):
    with pytest.raises(TypeError) as expected:
        LIBRARY["as it is"].encode(text)
    with pytest.raises(TypeError) as found:
        FAST["as it is"].content(text)
    assert str(found.value) == str(expected.value)


def test_cjk_and_punctuation_are_looked_up_and_the_library_is_not_called(monkeypatch):
    fast = FastTokenizer(BERT, MAX_TOKENS)
    monkeypatch.setattr(fast, "library", None)
    assert fast.content("今天怎么样？")[1] is None


def test_what_stands_between_is_asked_for_once(monkeypatch):
    fast = FastTokenizer(BERT, MAX_TOKENS)
    before = fast.content("今天WiFi怎么样")
    monkeypatch.setattr(fast, "library", None)
    assert fast.content("今天WiFi怎么样") == before
    assert before[1] == [0, 1, 1, 2, 2, 6, 6, 7, 7, 8, 8, 9]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("schemas.fast_tokens._REMEMBERED_RUNS", 10)
    fast = FastTokenizer(BERT, MAX_TOKENS)
    for number in range(100):
        fast.content(f"今天{number}")
    fast.content("a" * 1000)
    assert len(fast._runs) == 10
    assert max(map(len, fast._runs)) <= 32


@pytest.mark.parametrize("max_tokens", [2, 3, 5])
def test_a_short_limit_leaves_the_special_tokens(max_tokens):
    fast = FastTokenizer(BERT, max_tokens)
    for text in ("今天怎么样", "WiFi 密码 1234", "[SEP]好"):
        ids, _ = fast.content(text)
        assert fast.head + ids + fast.tail == library(BERT, max_tokens).encode(text).ids


def test_special_tokens_in_the_middle_are_refused():
    template = processors.TemplateProcessing(
        single="[CLS] $A [SEP] $A", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = tokenizers.Tokenizer.from_str(BERT)
    tokenizer.post_processor = template
    with pytest.raises(ValueError, match="must stand around a sentence"):
        FastTokenizer(tokenizer.to_str(), 8)


@given(st.lists(st.floats(0, 20), max_size=60))
def test_weights_of_characters_are_those_of_tokens_of_one_character_to_the_bit(shares):
    shares_C = np.array(shares)
    offsets = [[0, 0], *([at, at + 1] for at in range(len(shares))), [0, 0]]
    special = [True, *[False] * len(shares), True]
    expected = token_weights(shares_C, np.array(offsets), np.array(special))
    assert character_weights(shares_C, (1, 1)).tobytes() == expected.tobytes()


def test_the_demo_s_teacher_is_read_fast_and_as_the_library_does():
    folder = Path(__file__).parents[1] / "deploy/demo/teacher-zh-tiny"
    text = (folder / "tokenizer.json").read_text("utf-8")
    fast, library = FastTokenizer(text, 128), tokenizers.Tokenizer.from_str(text)
    assert fast.content("今天怎么样？")[1] is None
    for sentence in ("今天怎么样？", "明天iPhone15降价吗😀", "ＡＢＣ，café"):
        asked = library.encode(sentence, add_special_tokens=False)
        assert fast.content(sentence)[0] == asked.ids
