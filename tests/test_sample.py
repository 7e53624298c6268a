"""The bundled sample: what it promises about its corpus, its labels and its held-out phrasings."""

import itertools
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipelines.sample import SampleConfig, hold_out, intent_rows, write_sample
from pipelines.sample_grammar import INTENTS, Grammar, Template, read_grammar, sentence_key

FILES = (
    "corpus.txt",
    "eval/intents/train.tsv",
    "eval/intents/test.tsv",
    "eval/pairs/test.tsv",
    "eval/retrieval/test.tsv",
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample")
    write_sample(SampleConfig(out=out))
    return out


@pytest.fixture(scope="module")
def grammar():
    return read_grammar(INTENTS)


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    header, *rows = (line.split("\t") for line in path.read_text("utf-8").splitlines())
    assert all(len(row) == len(header) and all(row) for row in rows)
    return header, rows


def corpus_of(folder: Path) -> list[str]:
    return (folder / "corpus.txt").read_text("utf-8").splitlines()


def test_the_corpus_has_24000_sentences_that_differ_in_more_than_punctuation(sample):
    corpus = corpus_of(sample)
    assert len(corpus) == 24000
    assert len({sentence_key(text) for text in corpus}) == 24000


def test_a_corpus_sentence_is_clean_and_short(sample):
    for text in corpus_of(sample):
        assert text == text.strip()
        assert not set("{}[]|\t") & set(text)
        assert 2 <= len(text) <= 60


@pytest.mark.parametrize("some", ["WiFi", "PM2.5", "2", "？", "《", "😊", "ＣＴ", "請問"])
def test_the_corpus_has_some_of_what_real_text_has(sample, some):
    assert any(some in text for text in corpus_of(sample))


def test_there_are_over_60_intents_of_at_least_8_phrasings(grammar):
    assert len(grammar.templates) >= 64
    for templates in grammar.templates.values():
        assert len({template.text for template in templates}) >= 8


def test_every_slot_has_fillers_that_differ_and_every_filler_a_template(grammar):
    templates = itertools.chain.from_iterable(grammar.templates.values())
    assert {slot for template in templates for slot in template.slots} == set(grammar.fillers)
    for fillers in grammar.fillers.values():
        assert len({sentence_key(filler) for filler in fillers}) == len(fillers) >= 5


def test_every_template_has_a_frame_of_its_kind_and_choices_hold_no_slots(grammar):
    for template in itertools.chain.from_iterable(grammar.templates.values()):
        assert grammar.frames[template.kind]
        said = grammar.say(template, dict.fromkeys(template.slots, "甲"), random.Random(1))
        assert not set("{}[]|") & set(said), template.text


def test_the_same_seed_gives_the_same_bytes_in_another_process(sample, tmp_path):
    code = "import sys; from pipelines import sample; sample.main(sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", code, "--out", str(tmp_path)],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (sample / name).read_bytes(), name
    assert not list(tmp_path.rglob("*.tmp"))


def test_another_seed_gives_another_corpus(tmp_path):
    for seed in (1, 2):
        write_sample(SampleConfig(out=tmp_path / str(seed), sentences=50, seed=seed))
    first, second = (set(corpus_of(tmp_path / seed)) for seed in "12")
    assert len(first) == len(second) == 50
    assert first != second


def test_no_test_sentence_is_in_the_corpus_or_in_train(sample):
    tested = [row[0] for row in table(sample / "eval/intents/test.tsv")[1]]
    for name in ("pairs", "retrieval"):
        for row in table(sample / f"eval/{name}/test.tsv")[1]:
            tested += row[:2]
    train = [row[0] for row in table(sample / "eval/intents/train.tsv")[1]]
    met = {sentence_key(text) for text in corpus_of(sample) + train}
    assert met.isdisjoint(map(sentence_key, tested))


def test_every_intent_has_40_train_and_25_test_rows(sample, grammar):
    for name, count in (("train", 40), ("test", 25)):
        header, rows = table(sample / f"eval/intents/{name}.tsv")
        assert header == ["text", "label"]
        assert Counter(label for _, label in rows) == dict.fromkeys(grammar.templates, count)
        assert len({text for text, _ in rows}) == len(rows)


def test_half_of_the_pairs_are_paraphrases(sample):
    header, rows = table(sample / "eval/pairs/test.tsv")
    assert header == ["sentence1", "sentence2", "label"]
    assert Counter(label for *_, label in rows) == {"1": 1500, "0": 1500}
    assert len({frozenset(pair) for *pair, _ in rows}) == 3000
    assert all(sentence_key(first) != sentence_key(second) for first, second, _ in rows)


def test_every_query_has_a_document_of_its_own(sample):
    header, rows = table(sample / "eval/retrieval/test.tsv")
    assert header == ["query", "document"]
    assert len(rows) == 1000
    assert len({sentence_key(document) for _, document in rows}) == 1000
    assert all(sentence_key(query) != sentence_key(document) for query, document in rows)


def test_every_intent_holds_out_about_a_fifth_of_its_templates(grammar):
    seen, held_out = hold_out(grammar, random.Random(7))
    for intent, templates in grammar.templates.items():
        assert set(seen[intent]).isdisjoint(held_out[intent])
        assert set(seen[intent]) | set(held_out[intent]) == set(templates)
        assert 1 <= len(held_out[intent]) <= len(templates) / 4


def test_templates_that_cannot_give_so_many_rows_are_an_error():
    template = Template("human_agent", "verbatim", "[我要|我想]转人工")
    grammar = Grammar({"human_agent": [template]}, {}, {}, {"verbatim": ["{}"]}, ["！"])
    rows = intent_rows(grammar, grammar.templates, 2, set(), random.Random(7))
    assert sorted(sentence_key(text) for text, _ in rows) == ["我想转人工", "我要转人工"]
    with pytest.raises(ValueError, match="only 2 different rows of 3"):
        intent_rows(grammar, grammar.templates, 3, set(), random.Random(7))


def test_a_corpus_of_no_sentences_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        SampleConfig(out=tmp_path, sentences=0)


def test_writing_the_sample_again_leaves_its_files_untouched(sample):
    before = {name: (sample / name).stat().st_mtime_ns for name in FILES}
    write_sample(SampleConfig(out=sample))
    assert {name: (sample / name).stat().st_mtime_ns for name in FILES} == before
