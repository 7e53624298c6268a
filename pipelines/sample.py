"""The bundled sample: templates come in; a corpus and its labelled evaluation sets go out.

    out/corpus.txt               one sentence a line
    out/eval/intents/*.tsv       text, label              train and test
    out/eval/pairs/test.tsv      sentence1, sentence2, label (1: the same, said differently)
    out/eval/retrieval/test.tsv  query, document          the document is a paraphrase of the query

No sentence of a test file is in the corpus. A fifth of each intent's templates is held out: they
are met in test files only, so that a good score is more than a memory of templates.
"""

import dataclasses
import itertools
import os
import random
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.sample_grammar import (
    INTENTS,
    Grammar,
    Template,
    read_grammar,
    sentence_key,
)
from schemas.command import run_job

TRAIN_PER_INTENT, TEST_PER_INTENT = 40, 25
PAIRS, RETRIEVALS = 3000, 1000
DRAWS_PER_ROW = 50  # then there is little left to find

Row = tuple[str, ...]
Key = Hashable  # rows of one key are the same row
ByIntent = Mapping[str, Sequence[Template]]
DrawPair = Callable[[Grammar, random.Random], tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """Write a corpus of everyday Chinese requests, and labelled sets to evaluate a student on."""

    out: Path
    """Folder to write into."""
    sentences: int = 24000
    """Sentences of the corpus, all different."""
    seed: int = 7
    """Another seed gives another sample."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.sentences < 1:
            raise ValueError(f"sentences must be at least 1, got {self.sentences}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and write the sample."""
    run_job(SampleConfig, argv, write_sample)


def write_sample(config: SampleConfig) -> dict[str, int]:
    """Write the corpus and the evaluation sets; the same config gives the same bytes.

    Returns:
        The number of intents, and of rows in each file.

    Raises:
        ValueError: if the templates cannot give that many different sentences.
    """
    rng = random.Random(config.seed)
    grammar = read_grammar(INTENTS)
    seen, held_out = hold_out(grammar, rng)
    test = intent_rows(grammar, held_out, TEST_PER_INTENT // 2, set(), rng)
    used: set[Key] = {sentence_key(text) for text, _ in test}
    test += intent_rows(grammar, seen, TEST_PER_INTENT - TEST_PER_INTENT // 2, used, rng)
    pairs = pair_rows(grammar, rng)
    retrieval = retrieval_rows(grammar, rng)
    used |= {sentence_key(text) for row in pairs + retrieval for text in row[:2]}
    train = intent_rows(grammar, seen, TRAIN_PER_INTENT, set(used), rng)
    corpus = corpus_rows(grammar, seen, config.sentences, used, rng)

    evaluation = config.out / "eval"
    _write(config.out / "corpus.txt", corpus)
    _write(evaluation / "intents" / "train.tsv", [("text", "label"), *train])
    _write(evaluation / "intents" / "test.tsv", [("text", "label"), *test])
    _write(evaluation / "pairs" / "test.tsv", [("sentence1", "sentence2", "label"), *pairs])
    _write(evaluation / "retrieval" / "test.tsv", [("query", "document"), *retrieval])
    return {
        "intents": len(grammar.templates),
        "corpus": len(corpus),
        "intents_train": len(train),
        "intents_test": len(test),
        "pairs_test": len(pairs),
        "retrieval_test": len(retrieval),
    }


def hold_out(grammar: Grammar, rng: random.Random) -> tuple[ByIntent, ByIntent]:
    """Split each intent's templates into (seen, held out): a fifth and at least one held out."""
    seen, held_out = {}, {}
    for intent, templates in grammar.templates.items():
        shuffled = rng.sample(templates, len(templates))
        held = max(1, len(shuffled) // 5)
        held_out[intent], seen[intent] = shuffled[:held], shuffled[held:]
    return seen, held_out


def intent_rows(
    grammar: Grammar, templates: ByIntent, count: int, used: set[Key], rng: random.Random
) -> list[Row]:
    """Draw `count` rows (text, intent) of every intent, avoiding and extending the used keys."""
    rows: list[Row] = []
    for intent, phrasings in templates.items():
        rows += _different(_sentences(grammar, {intent: phrasings}, rng), count, used)
    return rows


def corpus_rows(
    grammar: Grammar, templates: ByIntent, count: int, used: set[Key], rng: random.Random
) -> list[Row]:
    """Draw `count` rows (text,); shuffled, as an intent with little to say is used up early."""
    rows = _different(_sentences(grammar, templates, rng), count, used)
    rng.shuffle(rows)
    return [(text,) for text, _ in rows]


def pair_rows(grammar: Grammar, rng: random.Random) -> list[Row]:
    """Draw rows (sentence1, sentence2, label): half of them the same thing, said differently.

    Of the others, half have nothing in common; half look alike, because one slot differs or because
    the intents are of one domain.
    """
    quarter, eighth = PAIRS // 4, PAIRS // 8
    used: set[Key] = set()
    rows = _different(_pairs(_paraphrase, "1", grammar, rng), 2 * quarter, used)
    rows += _different(_pairs(_strangers, "0", grammar, rng), quarter, used)
    rows += _different(_pairs(_one_slot_apart, "0", grammar, rng), eighth, used)
    rows += _different(_pairs(_siblings, "0", grammar, rng), eighth, used)
    rng.shuffle(rows)
    return rows


def retrieval_rows(grammar: Grammar, rng: random.Random) -> list[Row]:
    """Draw rows (query, document), each of another meaning, so that one document is right."""
    return _different(_questions(grammar, rng), RETRIEVALS, set())


def _different(drawn: Iterator[tuple[Key, Row]], count: int, used: set[Key]) -> list[Row]:
    """Take `count` rows whose keys are not used yet, and add their keys to the used ones."""
    rows: list[Row] = []
    for key, row in itertools.islice(drawn, count * DRAWS_PER_ROW):
        if len(rows) == count:
            break
        if key not in used:
            used.add(key)
            rows.append(row)
    if len(rows) < count:
        raise ValueError(f"the templates gave only {len(rows)} different rows of {count}")
    return rows


def _sentences(
    grammar: Grammar, templates: ByIntent, rng: random.Random
) -> Iterator[tuple[Key, Row]]:
    intents = list(templates)
    while True:
        intent = rng.choice(intents)
        text = _say(grammar, rng.choice(templates[intent]), rng)
        yield sentence_key(text), (text, intent)


def _pairs(
    draw: DrawPair, label: str, grammar: Grammar, rng: random.Random
) -> Iterator[tuple[Key, Row]]:
    while True:
        first, second = draw(grammar, rng)
        key = frozenset({sentence_key(first), sentence_key(second)})
        if len(key) == 2:
            yield key, (first, second, label)


def _questions(grammar: Grammar, rng: random.Random) -> Iterator[tuple[Key, Row]]:
    while True:
        first, second = _rewording(grammar, rng)
        values = grammar.fill(first.slots, rng)
        row = grammar.say(first, values, rng), grammar.say(second, values, rng)
        yield (first.intent, *sorted(values.items())), row


def _paraphrase(grammar: Grammar, rng: random.Random) -> tuple[str, str]:
    first, second = _rewording(grammar, rng)
    values = grammar.fill(first.slots, rng)
    return grammar.say(first, values, rng), grammar.say(second, values, rng)


def _one_slot_apart(grammar: Grammar, rng: random.Random) -> tuple[str, str]:
    first, second = _rewording(grammar, rng)
    while not first.slots:
        first, second = _rewording(grammar, rng)
    values = grammar.fill(first.slots, rng)
    return grammar.say(first, values, rng), grammar.say(second, grammar.refill(values, rng), rng)


def _siblings(grammar: Grammar, rng: random.Random) -> tuple[str, str]:
    domain = rng.choice([intents for intents in grammar.domains.values() if len(intents) > 1])
    first, second = (rng.choice(grammar.templates[intent]) for intent in rng.sample(domain, 2))
    values = grammar.fill(sorted({*first.slots, *second.slots}), rng)
    return grammar.say(first, values, rng), grammar.say(second, values, rng)


def _strangers(grammar: Grammar, rng: random.Random) -> tuple[str, str]:
    domains = rng.sample(list(grammar.domains.values()), 2)
    first, second = (rng.choice(grammar.templates[rng.choice(intents)]) for intents in domains)
    return _say(grammar, first, rng), _say(grammar, second, rng)


def _rewording(grammar: Grammar, rng: random.Random) -> tuple[Template, Template]:
    return rng.choice(grammar.rewordings[rng.choice(list(grammar.rewordings))])


def _say(grammar: Grammar, template: Template, rng: random.Random) -> str:
    return grammar.say(template, grammar.fill(template.slots, rng), rng)


def _write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as lines of tab-separated fields, whole or not at all.

    A file that says the same already keeps its time of change, by which later jobs know it.
    """
    content = "".join("\t".join(row) + "\n" for row in rows).encode()
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.tmp")
    beside.write_bytes(content)
    os.replace(beside, path)
