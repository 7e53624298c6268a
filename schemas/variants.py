"""Tagged sentences -> variants of them: masked, with other words, cut to n-grams.

The rules of Distilled BiLSTM (Tang et al. 2019, arXiv 1903.12136, section 3.2). What a variant says
depends on the seed, its parent and its number, and on nothing else that is drawn.
"""

import collections
import dataclasses
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from schemas.text import admit, sentence_id

LONGEST = 5  # words of an n-gram
METHODS = ("mask", "replace", "ngram")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """How variants are drawn.

    Attributes:
        seed: of all draws.
        variants: of each sentence, before those that say nothing new are dropped.
        mask: chance of a word to become the mask token.
        replace: chance of a word to become another one of its part of speech.
        ngram: chance of a variant to be cut to 1 to `LONGEST` words that stand together.
        mask_token: as the teacher's tokenizer writes it.
    """

    seed: int
    variants: int
    mask: float
    replace: float
    ngram: float
    mask_token: str

    def __post_init__(self) -> None:
        """Reject rules that cannot work."""
        if self.variants < 1:
            raise ValueError(f"variants must be at least 1, got {self.variants}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        for name in METHODS:
            chance = getattr(self, name)
            if not 0 <= chance <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {chance}")
        if self.mask + self.replace > 1:
            raise ValueError(
                f"mask and replace are chances of one draw: together at most 1, got {self.mask} "
                f"and {self.replace}"
            )
        if not any(getattr(self, name) for name in METHODS):
            raise ValueError("mask, replace and ngram are all 0: no variant would differ")
        if admit(self.mask_token) != (self.mask_token, None):
            raise ValueError(
                f"mask_token must be a text that stays as it is, got {self.mask_token!r}"
            )


class Sentence(NamedTuple):
    """A sentence of the corpus, tagged."""

    sentence_id: str
    text: str
    words: list[str]
    tags: list[str]


class Variant(NamedTuple):
    """What became of a sentence: its own id, text and number, and the rules that show in it."""

    sentence_id: str
    text: str
    number: int
    methods: str


class Frequencies:
    """Holds how often words of each tag occur in a corpus."""

    def __init__(self, counts: Iterable[tuple[str, str, int]]) -> None:
        """Gather (tag, word, count), each pair of tag and word once."""
        held: dict[str, list[tuple[str, int]]] = collections.defaultdict(list)
        for tag, word, count in counts:
            held[tag].append((word, count))
        self._words = {tag: [word for word, _ in pairs] for tag, pairs in held.items()}
        self._ends = {tag: [*accumulate(n for _, n in pairs)] for tag, pairs in held.items()}
        self._places = {
            tag: {word: place for place, word in enumerate(words)}
            for tag, words in self._words.items()
        }

    def other(self, word: str, tag: str, at: float) -> str | None:
        """Another word of a tag: the one in whose share of all the others' occurrences `at` falls.

        Args:
            word: that is not to be drawn.
            tag: its part of speech.
            at: from 0 to below 1; drawn evenly, words come by their frequency.

        Returns:
            None if the corpus has no other.

        >>> words = Frequencies([("ns", "北京", 2), ("ns", "上海", 5), ("ns", "广州", 1)])
        >>> [words.other("上海", "ns", at) for at in (0.0, 0.6, 0.7)]
        ['北京', '北京', '广州']
        """
        ends = self._ends.get(tag, [0])
        place = self._places.get(tag, {}).get(word)
        before = ends[place - 1] if place else 0
        own = 0 if place is None else ends[place] - before
        others = ends[-1] - own
        if not others:
            return None
        point = int(at * others)
        if point >= before:
            point += own
        return self._words[tag][bisect_right(ends, point)]


def draw(
    words: Sequence[str],
    tags: Sequence[str],
    frequencies: Frequencies,
    rules: Rules,
    rng: np.random.Generator,
) -> tuple[str, str]:
    """Draw one variant of a tagged sentence.

    Args:
        words: of the sentence, N.
        tags: their parts of speech, N.
        frequencies: of the corpus.
        rules: how.
        rng: what is drawn from: N numbers, one more for each word replaced, one for the n-gram,
            and for an n-gram its length and its place.

    Returns:
        The text, not yet cleaned, and those of `METHODS` that show in it, joined by commas.

    >>> places = Frequencies([("ns", "北京", 2), ("ns", "上海", 5)])
    >>> always = Rules(seed=0, variants=1, mask=0, replace=1, ngram=0, mask_token="[MASK]")
    >>> draw(["去", "北京"], ["v", "ns"], places, always, np.random.default_rng(0))
    ('去上海', 'replace')
    """
    drawn, marks = list(words), [""] * len(words)
    for place, chance in enumerate(rng.random(len(words)).tolist()):
        if chance < rules.mask:
            drawn[place], marks[place] = rules.mask_token, "mask"
        elif chance < rules.mask + rules.replace:
            other = frequencies.other(words[place], tags[place], rng.random())
            if other is not None:
                drawn[place], marks[place] = other, "replace"
    if rng.random() < rules.ngram:
        length, start = 1 + int(LONGEST * rng.random()), rng.random()
        if length < len(words):
            first = int(start * (len(words) - length + 1))
            kept = slice(first, first + length)
            drawn, marks = drawn[kept], [*marks[kept], "ngram"]
    return "".join(drawn), ",".join(method for method in METHODS if method in marks)


def variants_of(
    sentence: Sentence, frequencies: Frequencies, rules: Rules
) -> tuple[list[Variant], dict[str, int]]:
    """Draw the variants of a sentence, and drop those that say nothing new.

    Returns:
        The variants, cleaned; and how many were drawn, equal to their parent, repeated, or no text.
    """
    found: dict[str, Variant] = {}
    counts = dict.fromkeys(("drawn", "equal_to_parent", "repeated", "no_text"), 0)
    for number in range(rules.variants):
        rng = np.random.default_rng([rules.seed, number, int(sentence.sentence_id, 16)])
        raw, methods = draw(sentence.words, sentence.tags, frequencies, rules, rng)
        text, reason = admit(raw)
        counts["drawn"] += 1
        if reason is not None:
            counts["no_text"] += 1
        elif text == sentence.text:
            counts["equal_to_parent"] += 1
        elif text in found:
            counts["repeated"] += 1
        else:
            found[text] = Variant(sentence_id(text), text, number, methods)
    return list(found.values()), counts
