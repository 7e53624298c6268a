"""Cleaning: what a raw line becomes, why it is turned away, and what names it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.text import (
    MAX_CHARACTERS,
    MAX_LINE_BYTES,
    Reason,
    admit,
    clean,
    read_line,
    sentence_id,
)

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("今天天气怎么样？", "今天天气怎么样？"),
        ("  今天 \t 天气　怎么样\r\n", "今天 天气 怎么样"),
        ("\ufeff今天", "今天"),
        ("今\u200b天\u2060气", "今天气"),
        ("\u202e今天\u202c", "今天"),
        ("今\x07天\x1b[0m", "今天[0m"),
        ("一行\u2028两行\x85三行\x0b四行", "一行 两行 三行 四行"),
        ("Cafe\u0301", "Café"),
        ("ＷｉＦｉ１２", "ＷｉＦｉ１２"),
        ("博物館開放嗎", "博物館開放嗎"),
        ("LTD-BERT", "LTD-BERT"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("", ""),
        (" \t\u3000", ""),
    ],
)
def test_clean_composes_drops_the_invisible_and_nothing_else(raw, text):
    assert clean(raw) == text


@given(ANY_TEXT)
def test_cleaning_twice_is_cleaning_once(raw):
    assert clean(clean(raw)) == clean(raw)


@given(ANY_TEXT)
def test_a_clean_text_is_composed_and_has_only_single_inner_spaces(raw):
    text = clean(raw)
    assert unicodedata.is_normalized("NFC", text)
    assert text == " ".join(text.split())
    assert not any(unicodedata.category(c) == "Cc" and c != "\0" for c in text)


@given(ANY_TEXT.map(lambda text: "".join(c for c in text if c.isalnum() and c < "\uf900")))
def test_letters_and_digits_are_all_kept(raw):
    composed = unicodedata.normalize("NFC", raw)
    assert clean(raw) == composed


@given(st.binary(max_size=300))
def test_any_bytes_give_a_text_or_a_reason_never_both_and_never_an_error(raw):
    text, reason = read_line(raw)
    assert bool(text) != bool(reason)


@given(ANY_TEXT)
def test_bytes_and_decoded_text_are_judged_alike(raw):
    assert read_line(raw.encode()) == admit(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.BLANK),
        (b" \t\r\n", Reason.BLANK),
        ("\ufeff\u200b\n".encode(), Reason.BLANK),
        (b"\xff\xfe", Reason.INVALID_UTF8),
        ("你好".encode("gbk"), Reason.INVALID_UTF8),
        ("你好".encode("utf-16"), Reason.INVALID_UTF8),
        (b"\xed\xa0\x80", Reason.INVALID_UTF8),
        ("你好".encode()[:-1], Reason.INVALID_UTF8),
        ("你\0好".encode(), Reason.NUL),
        ("好".encode() * (MAX_CHARACTERS + 1), Reason.TOO_LONG),
        (b"a" * (MAX_LINE_BYTES + 1), Reason.TOO_LONG),
        (b" " * (MAX_LINE_BYTES + 1), Reason.TOO_LONG),
    ],
)
def test_a_line_that_is_no_sentence_has_a_reason(raw, reason):
    assert read_line(raw) == ("", reason)


def test_the_longest_sentence_has_2048_characters():
    assert read_line("好".encode() * MAX_CHARACTERS) == ("好" * MAX_CHARACTERS, None)


@pytest.mark.parametrize("raw", ["\ud83d好", "好\udc00"])
def test_lone_surrogates_are_not_text(raw):
    assert admit(raw) == ("", Reason.INVALID_UTF8)


def test_a_sentence_is_named_by_its_content():
    assert sentence_id("你好") == "7a1609d4239c3f99b54c41fc87bd9f91"
    assert sentence_id("你好吗") != sentence_id("你好")
