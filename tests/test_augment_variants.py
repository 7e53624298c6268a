"""schemas/tags and schemas/variants: tagged words, and what is drawn from them."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tags import Tagger, tagger
from schemas.text import clean, sentence_id
from schemas.variants import LONGEST, Frequencies, Rules, Sentence, draw, variants_of

CHANCES = {"mask": 0.1, "replace": 0.1, "ngram": 0.25}
WORDS = Frequencies(
    [
        *[("ns", "北京", 3), ("ns", "上海", 2), ("ns", "广州", 1)],
        *[("v", "去", 5), ("v", "来", 4), ("x", "，", 9), ("x", "？", 1), ("y", "吗", 2)],
    ]
)
TAG_OF = {
    "北京": "ns",
    "上海": "ns",
    "广州": "ns",
    "去": "v",
    "来": "v",
    "，": "x",
    "？": "x",
    "吗": "y",
}

# Of 我想去上海，不去北京: number, text, methods; variant 0 is as its parent.
GOLDEN = [
    (1, "[MASK]想去上海，不[MASK]北京", "mask"),
    (2, "我想去上海？不去北京", "replace"),
    (3, "我想去上海，", "ngram"),
    (4, "我想去北京，不去北京", "replace"),
    (5, "[MASK]想去上海", "mask,ngram"),
    (6, "[MASK]想去[MASK][MASK]不去[MASK]", "mask"),
    (7, "去上海，不", "ngram"),
]

plain_words = st.lists(st.sampled_from(sorted(TAG_OF)), min_size=1, max_size=20)
seeds = st.integers(0, 2**32)


def rules(**changes) -> Rules:
    return Rules(**{"seed": 0, "variants": 20, "mask_token": "[MASK]", **CHANCES, **changes})


def only(**changes) -> Rules:
    return rules(**{"mask": 0, "replace": 0, "ngram": 0, **changes})


def tags_of(words):
    return [TAG_OF[word] for word in words]


def sentence(text: str) -> Sentence:
    return Sentence(sentence_id(text), text, *tagger().tag(text))


def test_golden_the_variants_of_a_sentence():
    words = ["我", "想", "去", "上海", "，", "不", "去", "北京"]
    tags = ["r", "v", "v", "ns", "x", "d", "v", "ns"]
    text = "".join(words)
    parent = Sentence(sentence_id(text), text, words, tags)
    found, counts = variants_of(parent, WORDS, rules(variants=8))
    assert [(one.number, one.text, one.methods) for one in found] == GOLDEN
    assert counts == {"drawn": 8, "equal_to_parent": 1, "repeated": 0, "no_text": 0}
    assert all(one.sentence_id == sentence_id(one.text) for one in found)


def test_words_and_tags_of_a_sentence():
    words, tags = tagger().tag("他用WiFi上网，3.5元")
    assert words == ["他", "用", "WiFi", "上网", "，", "3.5", "元"]
    assert tags == ["r", "p", "eng", "v", "x", "m", "m"]


@given(st.text(max_size=40))
def test_tagged_words_joined_give_the_sentence(raw):
    text = clean(raw)
    words, tags = tagger().tag(text)
    assert "".join(words) == text
    assert len(words) == len(tags)


def test_a_word_of_the_user_dictionary_is_cut_as_one_and_has_its_tag(tmp_path):
    (tmp_path / "user.txt").write_text("清华大学东门 1000 ns\n", encoding="utf-8")
    assert Tagger(tmp_path / "user.txt").tag("去清华大学东门") == (
        ["去", "清华大学东门"],
        ["v", "ns"],
    )
    assert Tagger().tag("去清华大学东门")[0] == ["去", "清华大学", "东门"]


@given(plain_words, seeds)
def test_a_replaced_word_is_another_of_the_same_part_of_speech(words, seed):
    always = only(replace=1)
    text, methods = draw(words, tags_of(words), WORDS, always, np.random.default_rng(seed))
    # 吗 is the only one of its kind, and stays.
    assert methods == ("replace" if set(words) != {"吗"} else "")
    for before in words:
        after = next(word for word in TAG_OF if text.startswith(word))
        assert TAG_OF[after] == TAG_OF[before]
        assert (after != before) == (before != "吗")
        text = text.removeprefix(after)
    assert text == ""


@given(plain_words, seeds)
def test_an_ngram_is_a_run_of_at_most_five_words(words, seed):
    text, methods = draw(words, tags_of(words), WORDS, only(ngram=1), np.random.default_rng(seed))
    n = len(words)
    runs = {"".join(words[i:j]) for i in range(n) for j in range(i + 1, min(i + LONGEST, n) + 1)}
    assert text in runs
    assert methods in ("ngram", "") if n <= LONGEST else methods == "ngram"


def test_every_length_and_every_place_of_an_ngram_comes_up_as_often_as_it_should():
    words = [str(n) for n in range(6)]
    rng = np.random.default_rng(1)
    found = collections.Counter(
        draw(words, words, WORDS, only(ngram=1), rng)[0] for _ in range(9000)
    )
    lengths = collections.Counter()
    for text, count in found.items():
        lengths[len(text)] += count
    assert {n: round(count / 9000, 1) for n, count in lengths.items()} == dict.fromkeys(
        range(1, 6), 0.2
    )
    assert {n: sum(len(text) == n for text in found) for n in lengths} == {
        1: 6,
        2: 5,
        3: 4,
        4: 3,
        5: 2,
    }


@pytest.mark.parametrize("chance", [0.1, 0.35])
def test_as_many_words_are_masked_and_replaced_as_the_chances_say(chance):
    words = ["北京"] * 100
    rng = np.random.default_rng(3)
    masked = replaced = 0
    for _ in range(300):
        text, _ = draw(words, ["ns"] * 100, WORDS, only(mask=chance, replace=0.2), rng)
        masked += text.count("[MASK]")
        replaced += text.count("上海") + text.count("广州")
    # Three standard deviations of a share among 30,000 words.
    assert masked / 30_000 == pytest.approx(chance, abs=3 * (chance * (1 - chance) / 30_000) ** 0.5)
    assert replaced / 30_000 == pytest.approx(0.2, abs=3 * (0.16 / 30_000) ** 0.5)


def test_a_word_is_replaced_by_the_others_in_proportion_to_their_frequency():
    rng = np.random.default_rng(4)
    for word, others in {
        "上海": {"北京": 0.75, "广州": 0.25},
        "云南": {"北京": 3 / 6, "上海": 2 / 6},
    }.items():
        drawn = collections.Counter(WORDS.other(word, "ns", rng.random()) for _ in range(8000))
        assert word not in drawn
        for other, share in others.items():
            assert drawn[other] / 8000 == pytest.approx(share, abs=0.02)


@given(plain_words, st.floats(0, 1, exclude_max=True))
def test_every_draw_falls_on_another_word_or_there_is_none(words, at):
    for word in words:
        other = WORDS.other(word, TAG_OF[word], at)
        assert other is None if word == "吗" else TAG_OF[other] == TAG_OF[word]
    assert WORDS.other("哇", "e", at) is None


def test_the_methods_are_those_that_show_in_the_variant():
    rng = np.random.default_rng(5)
    words = ["北京", "上海", "去", "来", "，", "广州", "北京", "上海"]
    seen = set()
    for _ in range(2000):
        text, methods = draw(words, tags_of(words), WORDS, rules(), rng)
        seen.add(methods)
        assert ("mask" in methods) == ("[MASK]" in text)
        assert bool(methods) == (text != "".join(words))
    assert seen == {
        *("", "mask", "replace", "ngram", "mask,replace"),
        *("mask,ngram", "replace,ngram", "mask,replace,ngram"),
    }


def test_a_variant_depends_on_seed_parent_and_number_alone():
    one, other = sentence("周末上海有什么好吃的"), sentence("从广州去机场要多久")
    table = Frequencies(
        (tag, word, 1) for s in (one, other) for word, tag in zip(*s[2:], strict=True)
    )
    twenty, _ = variants_of(one, table, rules(variants=20))
    five, _ = variants_of(one, table, rules(variants=5))
    assert five == [variant for variant in twenty if variant.number < 5]
    assert variants_of(one, table, rules(seed=1))[0] != twenty
    assert {v.text for v in variants_of(other, table, rules())[0]}.isdisjoint(
        v.text for v in twenty
    )


def test_what_says_nothing_new_is_dropped_and_counted():
    parent = Sentence(sentence_id("好 好"), "好 好", ["好", " ", "好"], ["a", "x", "a"])
    found, counts = variants_of(parent, WORDS, only(ngram=1, variants=200))
    # 好 好 whole, blank, and of the rest "好" once: "好 " and " 好" are the same when clean.
    assert [one.text for one in found] == ["好"]
    assert counts["drawn"] == 200 == 1 + sum(counts.values()) - counts["drawn"]
    assert min(counts.values()) > 0


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"variants": 0}, "variants must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"mask": 1.1}, "mask must be 0 to 1, got 1.1"),
        ({"replace": -0.1}, "replace must be 0 to 1, got -0.1"),
        ({"ngram": float("nan")}, "ngram must be 0 to 1, got nan"),
        ({"mask": 0.6, "replace": 0.5}, "together at most 1, got 0.6 and 0.5"),
        ({"mask": 0, "replace": 0, "ngram": 0}, "all 0: no variant would differ"),
        ({"mask_token": " [MASK]"}, "mask_token must be a text that stays as it is, got ' .MASK.'"),
        ({"mask_token": ""}, "mask_token must be"),
    ],
)
def test_rules_that_cannot_work_are_refused(change, rule):
    with pytest.raises(ValueError, match=rule):
        rules(**change)
