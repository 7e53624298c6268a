"""How the sample's sentences are made: from templates, fillers and frames to a sentence.

`sample_intents.json` holds what people ask for (intents), how they phrase it (templates with
`{slots}` and `[one|of|these]`), and what they put around it (frames, by kind of phrasing).
"""

import dataclasses
import functools
import itertools
import json
import random
import re
import string
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

INTENTS = Path(__file__).with_name("sample_intents.json")
KINDS = (
    "open_questions",  # a final particle fits: some frames add one
    "closed_questions",  # end in a particle already
    "requests",  # one asks another to do it: "help me" fits in front
    "commands",  # one tells a device
    "statements",
    "verbatim",  # complete as they are, among them those in traditional script
)
# Shares of the sentences that stay without a frame, get an ending such as an emoji, and have their
# Latin letters and digits in full width. Chosen by reading the result, not measured on traffic.
BARE, ENDED, FULL_WIDTH = 0.4, 0.03, 0.03

_SLOT = re.compile(r"\{([^{}]*)\}")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_TO_FULL_WIDTH = {ord(c): ord(c) + 0xFEE0 for c in string.ascii_letters + string.digits}


@dataclasses.dataclass(frozen=True)
class Template:
    """One phrasing of one intent."""

    intent: str
    kind: str
    text: str

    @functools.cached_property
    def slots(self) -> tuple[str, ...]:
        """The names of its slots, sorted."""
        return tuple(sorted(set(_SLOT.findall(self.text))))


@dataclasses.dataclass(frozen=True)
class Grammar:
    """Templates by intent, intents by domain, slot fillers, frames by kind, and endings."""

    templates: Mapping[str, Sequence[Template]]
    domains: Mapping[str, Sequence[str]]
    fillers: Mapping[str, Sequence[str]]
    frames: Mapping[str, Sequence[str]]
    endings: Sequence[str]

    @functools.cached_property
    def rewordings(self) -> Mapping[str, Sequence[tuple[Template, Template]]]:
        """Pairs of templates of one intent that take the same slots."""
        return {
            intent: [(a, b) for a, b in itertools.permutations(templates, 2) if a.slots == b.slots]
            for intent, templates in self.templates.items()
        }

    def fill(self, slots: Iterable[str], rng: random.Random) -> dict[str, str]:
        """Draw a filler for each slot."""
        return {slot: rng.choice(self.fillers[slot]) for slot in slots}

    def refill(self, values: Mapping[str, str], rng: random.Random) -> dict[str, str]:
        """Draw another filler for one of the slots."""
        slot = rng.choice(sorted(values))
        others = [filler for filler in self.fillers[slot] if filler != values[slot]]
        return {**values, slot: rng.choice(others)}

    def say(self, template: Template, values: Mapping[str, str], rng: random.Random) -> str:
        """Say a template with these slot values, in a frame of its kind.

        >>> grammar = Grammar({}, {}, {}, {"requests": ["麻烦帮我{}，谢谢"]}, [])
        >>> template = Template("weather", "requests", "[查一下]{城市}的天气")
        >>> grammar.say(template, {"城市": "北京"}, random.Random(7))
        '麻烦帮我查一下北京的天气，谢谢'
        """
        text = _CHOICE.sub(lambda choice: rng.choice(choice[1].split("|")), template.text)
        text = _SLOT.sub(lambda slot: values[slot[1]], text)
        if rng.random() >= BARE:
            text = rng.choice(self.frames[template.kind]).replace("{}", text)
        if rng.random() < ENDED and text[-1].isalnum():
            text += rng.choice(self.endings)
        if rng.random() < FULL_WIDTH:
            text = text.translate(_TO_FULL_WIDTH)
        return text


def read_grammar(path: Path) -> Grammar:
    """Read a grammar as `sample_intents.json` holds it."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    templates = {
        intent["id"]: [
            Template(intent["id"], kind, text) for kind in KINDS for text in intent.get(kind, ())
        ]
        for intent in stored["intents"]
    }
    domains: dict[str, list[str]] = defaultdict(list)
    for intent in stored["intents"]:
        domains[intent["domain"]].append(intent["id"])
    return Grammar(templates, domains, stored["slots"], stored["frames"], stored["endings"])


def sentence_key(text: str) -> str:
    """Reduce a sentence to its letters and digits: two with one key count as the same sentence.

    >>> sentence_key("明天 ＷｉＦｉ 会修好吗？～")
    '明天wifi会修好吗'
    """
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))
