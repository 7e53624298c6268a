"""Words: jieba is the reference, and jieba-rs serves only lines on which it is the same."""

import itertools
import random
from pathlib import Path

import jieba
import pytest
import rjieba

from schemas.text import clean
from schemas.words import _UNSAFE, Segmenter, segmenter

# What people type, and what lies at the borders of jieba's rules.
HAN = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要"
    "就出会可也你对生能而子那得于着下自之年天气北京"
)
TRADITIONAL = "館開嗎請問臺灣氣麼樣龘靐齉爩"
RARE = "㐀㒨䶵䶿鿕\u9fd6\u9fff\ufa0e\ufa11\U00020bb7\U0002a6d6\U00030000一龥"
ASCII = "".join(map(chr, range(0x20, 0x7F)))
PUNCTUATION = "，。！？、；：“”‘’（）《》【】…—～·「」￥％＋－＃＆．＿＠"
FULL_WIDTH = "ＡＢｘｙ０１２９"
OTHERS = "éüñßПриあいカキ한글ไทยعربⅣ①℃½²㈱"
EMOJI = "😊👍🏽👨\u200d👩❤\ufe0f🇨🇳"
MIXED = [HAN, HAN, HAN, TRADITIONAL, RARE, ASCII, ASCII, PUNCTUATION, FULL_WIDTH, OTHERS, EMOJI]


@pytest.fixture(scope="module")
def reference():
    return jieba.Tokenizer()


def fuzzed(rng: random.Random) -> str:
    """Runs of one kind of character, joined; then cleaned, as every sentence is."""
    runs = []
    for _ in range(rng.randrange(1, 9)):
        kind = rng.choice(MIXED)
        runs.append("".join(rng.choices(kind, k=rng.randrange(1, 7))))
    return clean("".join(runs))


def test_4000_fuzzed_lines_are_cut_as_jieba_cuts_them(reference):
    rng = random.Random(11)
    ours = segmenter()
    lines = [line for line in (fuzzed(rng) for _ in range(4000)) if line]
    different = [line for line in lines if ours.words(line) != reference.lcut(line)]
    assert different == []
    fast = sum(not _UNSAFE.search(line) for line in lines)
    assert fast > 1000, "the guard sends nearly every line to jieba: the fuzz proves nothing"


def test_every_character_of_the_basic_plane_is_cut_as_jieba_cuts_it(reference):
    ours = segmenter()
    characters = [chr(code) for code in range(0x20, 0x10000) if not 0xD800 <= code < 0xE000]
    lines = ["".join(characters[at : at + 4]) for at in range(0, len(characters), 4)]
    lines += [f"北京{c}好{c}a{c}1" for c in characters[::7]]
    lines = [line for line in map(clean, lines) if line]
    different = [line for line in lines if ours.words(line) != reference.lcut(line)]
    assert different == []


def test_1500_lines_of_dictionary_words_are_cut_as_jieba_cuts_them(reference):
    dictionary = Path(jieba.__file__).with_name("dict.txt").read_text("utf-8").splitlines()
    words, frequencies, _ = zip(*(line.split(" ") for line in dictionary), strict=True)
    rng = random.Random(13)
    common = itertools.accumulate(map(int, frequencies))
    weighted = {"cum_weights": list(common)}
    draws = [weighted, {}] * 750
    lines = ["".join(rng.choices(words, k=rng.randrange(1, 7), **how)) for how in draws]
    ours = segmenter()
    assert [line for line in lines if ours.words(line) != reference.lcut(line)] == []
    assert sum(not ours._is_unsafe(line) for line in lines) > 1200


def test_real_sentences_are_cut_as_jieba_cuts_them(reference, sentences):
    ours = segmenter()
    assert [ours.words(text) for text in sentences] == [reference.lcut(text) for text in sentences]


@pytest.mark.parametrize(
    "line", ["LTD-BERT", "v1.2.3", "a_b", "50%", "C++", "㐀㒨", "𠮷野家", "\u9fff", "\ufa0e"]
)
def test_the_lines_on_which_the_two_may_differ_go_to_jieba(reference, line):
    assert _UNSAFE.search(line)
    assert segmenter().words(line) == reference.lcut(line)


def test_the_guard_is_needed(reference):
    fast = rjieba.Jieba()
    assert list(fast.cut("LTD-BERT", True)) != reference.lcut("LTD-BERT")


def test_words_joined_are_the_sentence():
    rng = random.Random(12)
    for _ in range(500):
        line = fuzzed(rng)
        assert "".join(segmenter().words(line)) == line


def test_no_text_has_no_words():
    assert segmenter().words("") == []


def test_a_user_dictionary_changes_the_words_and_the_name(tmp_path):
    (tmp_path / "user.txt").write_text("天气怎么样 1000 n\n", encoding="utf-8")
    theirs = Segmenter(tmp_path / "user.txt")
    assert theirs.words("北京天气怎么样") == ["北京", "天气怎么样"]
    assert segmenter().words("北京天气怎么样") == ["北京", "天气", "怎么样"]
    assert theirs.name.startswith(f"{segmenter().name} user:")


def test_another_user_dictionary_has_another_name(tmp_path):
    for word in ("天气怎么样", "北京天气"):
        (tmp_path / f"{word}.txt").write_text(f"{word} 1000 n\n", encoding="utf-8")
    names = {Segmenter(path).name for path in tmp_path.iterdir()}
    assert len(names) == 2


def test_a_user_dictionary_does_not_leak_into_other_segmenters(tmp_path):
    (tmp_path / "user.txt").write_text("天气怎么样 1000 n\n", encoding="utf-8")
    Segmenter(tmp_path / "user.txt")
    assert Segmenter().words("北京天气怎么样") == ["北京", "天气", "怎么样"]
    assert jieba.lcut("北京天气怎么样") == ["北京", "天气", "怎么样"]


def test_a_user_dictionary_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Segmenter(tmp_path / "none.txt")


def test_a_process_loads_the_dictionary_once():
    assert segmenter() is segmenter()
