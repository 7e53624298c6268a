"""The augmentation job as a whole, against a plain loop, and its variants as sentences."""

import collections
import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipelines import augment as job
from pipelines.__main__ import main
from pipelines.augment import AugmentConfig, augment
from pipelines.augment_steps import frequent_words, tag_sentences, tagged_words
from pipelines.blocks import pack
from pipelines.counting import COUNTS
from pipelines.sentences import content_id, sentences_table
from schemas import parts, tables
from schemas.prepare import load_preparer, preparer_folder
from schemas.store import open_store
from schemas.tags import tagger
from schemas.text import clean, sentence_id
from schemas.variants import Frequencies, Rules, Sentence, variants_of

RULES = Rules(seed=7, variants=6, mask=0.2, replace=0.2, ngram=0.3, mask_token="[MASK]")


def run(*corpus, out, **settings):
    given = {"seed": 7, "variants": 6, "mask": 0.2, "replace": 0.2, "ngram": 0.3, **settings}
    return augment(AugmentConfig(corpus=tuple(map(str, corpus)), out=str(out), **given))


def rows_of(location) -> pa.Table:
    opened = open_store(location)
    opened.verify()
    return pa.concat_tables([parts.read(opened.path_of(part)) for part in opened.parts])


def part_digests(location) -> list[tuple[str, str]]:
    opened = open_store(location)
    opened.verify()
    return [(part.path, part.sha256) for part in opened.parts]


def reference(texts, source) -> list[tuple]:
    """The rows of the table, in the most obvious way."""
    texts = sorted(set(texts))
    tagged = {text: tagger().tag(text) for text in texts}
    counts = collections.Counter()
    for words, tags in tagged.values():
        counts.update(zip(tags, words, strict=True))
    order = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    table = Frequencies((tag, word, n) for (tag, word), n in order)
    found = []
    for text in texts:
        sentence = Sentence(sentence_id(text), text, *tagged[text])
        for one in variants_of(sentence, table, RULES)[0]:
            parent = sentence.sentence_id
            found.append((one.sentence_id, one.text, parent, source, one.number, one.methods))
    first = {}
    for row in sorted(found, key=lambda row: (row[0], row[2], row[4])):
        first.setdefault(row[0], row)
    return list(first.values())


@pytest.fixture(scope="module")
def variants(tmp_path_factory, small_corpus):
    out = tmp_path_factory.mktemp("augmented") / "variants"
    return out, run(small_corpus, out=out)


def test_the_table_equals_a_plain_loop(variants, sentences):
    table = rows_of(variants[0])
    assert table.schema == tables.VARIANTS
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert rows == reference(map(clean, sentences), "small")
    assert len(rows) > 3 * len(sentences)


def test_the_summary_tells_what_was_drawn_dropped_and_written(variants, sentences):
    _, told = variants
    assert told["distinct"] == len(sentences)
    assert told["drawn"] == 6 * len(sentences)
    dropped = told["equal_to_parent"] + told["repeated"] + told["no_text"]
    assert told["rows"] + dropped == told["drawn"]
    assert min(told["equal_to_parent"], told["repeated"]) > 0


@pytest.mark.parametrize(
    "options",
    [
        ("--direct_runner_bundle_repeat=3",),
        ("--direct_num_workers=2", "--direct_running_mode=multi_threading"),
        pytest.param(
            ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
            marks=pytest.mark.cluster,
        ),
    ],
)
def test_however_beam_runs_it_the_parts_have_the_same_bytes(
    tmp_path, small_corpus, variants, options
):
    run(small_corpus, out=tmp_path / "variants", runner_options=options)
    assert part_digests(tmp_path / "variants") == part_digests(variants[0])


def test_in_more_parts_the_rows_are_the_same(tmp_path, small_corpus, variants, monkeypatch):
    monkeypatch.setattr(job, "_SENTENCES_A_PARTITION", 40)
    told = run(small_corpus, out=tmp_path / "variants")
    assert told["parts"] > 3
    assert rows_of(tmp_path / "variants").equals(rows_of(variants[0]))
    assert {name: told[name] for name in ("repeated", "rows")} == {
        name: variants[1][name] for name in ("repeated", "rows")
    }


def test_a_sentence_s_order_and_files_do_not_matter(tmp_path, sentences, variants):
    (tmp_path / "small.txt").write_text("\n".join([*sentences[200:], *sentences]), encoding="utf-8")
    told = run(tmp_path / "small.txt", out=tmp_path / "variants")
    assert told["duplicates"] == len(sentences) - 200
    assert part_digests(tmp_path / "variants") == part_digests(variants[0])


def test_a_rerun_reuses_the_table_and_another_seed_or_corpus_is_refused(
    tmp_path, small_corpus, variants
):
    out, first = variants
    assert run(small_corpus, out=out) == {**first, "reused": True}
    (tmp_path / "other.txt").write_text("你好吗\n", encoding="utf-8")
    for corpus, changes in ((small_corpus, {"seed": 8}), (tmp_path / "other.txt", {})):
        with pytest.raises(FileExistsError, match="holds variants of other files or settings"):
            run(corpus, out=out, **changes)
    assert len(open_store(out).commits) == 1


def test_the_fingerprint_has_every_rule_the_segmenter_and_the_tagger(variants):
    fingerprint = open_store(variants[0]).fingerprint
    assert fingerprint["segmenter"].startswith("jieba-")
    assert " dictionary:" in fingerprint["segmenter"]
    assert fingerprint["tagger"] == "jieba.posseg hmm"
    wanted = {"seed": "7", "variants": "6", "mask": "0.2", "replace": "0.2", "ngram": "0.3"}
    wanted |= {"mask_token": "[MASK]", "words_a_tag": "10000", "longest_ngram": "5"}
    assert wanted.items() <= fingerprint.items()


def test_bad_records_are_quarantined_and_too_many_fail_the_run_before_a_variant_is_written(
    tmp_path,
):
    corpus = tmp_path / "c.txt"
    corpus.write_bytes("今天北京天气怎么样\n".encode() * 3 + b"\xff\xfe\n\n")
    with pytest.raises(ValueError, match="1 of 4 records are bad"):
        run(corpus, out=tmp_path / "variants")
    assert not (tmp_path / "variants").exists()
    told = run(corpus, out=tmp_path / "variants", max_bad_fraction=0.5)
    assert (told["quarantined"], told["distinct"]) == (2, 1)
    assert set(rows_of(tmp_path / "variants.quarantine")["reason"].to_pylist()) == {
        *("invalid_utf8", "blank"),
    }


def test_an_empty_corpus_is_refused(tmp_path):
    (tmp_path / "c.txt").write_bytes(b"\n")
    with pytest.raises(ValueError, match="the corpus is empty"):
        run(tmp_path / "c.txt", out=tmp_path / "variants")


def test_a_corpus_whose_variants_all_say_the_same_is_refused(tmp_path):
    (tmp_path / "c.txt").write_text("好\n", encoding="utf-8")
    with pytest.raises(ValueError, match="none of 6 variants says what its sentence does not"):
        run(tmp_path / "c.txt", out=tmp_path / "variants", mask=0, ngram=1)
    assert not (tmp_path / "variants").exists()


def test_the_most_frequent_words_of_a_tag_are_kept():
    counts = {"好/a": 3, "美/a": 5, "冷/a": 3, "//x": 1, "北京/ns": 2}
    block = pack(pa.table([list(counts), list(counts.values())], schema=COUNTS))
    assert [tuple(row.values()) for row in frequent_words([block], most=2).to_pylist()] == [
        *(("a", "美", 5), ("a", "冷", 3), ("ns", "北京", 2), ("x", "/", 1)),
    ]


def test_tagged_words_are_counted_by_occurrence():
    rows = sentences_table([(content_id("北京北京/去"), "北京北京/去", "s", 0)])
    assert tagged_words(tag_sentences(rows)) == {"北京/ns": 2, "//x": 1, "去/v": 1}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory, variants, embed):
    out = tmp_path_factory.mktemp("embedded") / "store"
    embed(f"{variants[0]}/*.parquet", out=out)
    return out


def test_variants_are_embedded_like_any_sentence_and_lead_back_to_their_parents(
    variants, embedded, small_store
):
    found = duckdb.sql(f"""
        SELECT variant.parent_id, parent.text AS parent, variant.text, made.text AS embedded
        FROM read_parquet('{variants[0]}/*.parquet') AS variant
        JOIN read_parquet('{embedded}/*/*.parquet') AS made USING (sentence_id)
        JOIN read_parquet('{small_store}/*/*.parquet') AS parent
          ON parent.sentence_id = variant.parent_id
    """).fetchall()
    assert len(found) == variants[1]["rows"]
    assert all(id == sentence_id(parent) for id, parent, _, _ in found)
    assert all(text == embedded for _, _, text, embedded in found)
    assert len({id for id, *_ in found}) == variants[1]["distinct"]


def test_the_mask_token_becomes_the_tokenizer_s_mask(embedded):
    opened = open_store(embedded)
    preparer = load_preparer(Path(preparer_folder(opened.location, opened.fingerprint)))
    mask = next(id for id in range(10) if preparer.tokens([id]) == ["[MASK]"])
    rows = rows_of(embedded).select(["text", "token_ids"]).to_pylist()
    counted = [(row["text"].count("[MASK]"), row["token_ids"].count(mask)) for row in rows]
    assert all(written == read for written, read in counted)
    assert max(counted) >= (2, 2)
    assert clean("[MASK]去[MASK][MASK]") == "[MASK]去[MASK][MASK]"


def test_the_job_runs_from_the_command_line(tmp_path, small_corpus, variants, capsys):
    flags = ["--variants", "6", "--seed", "7", "--mask", "0.2", "--replace", "0.2"]
    flags += ["--ngram", "0.3", "--corpus", str(small_corpus)]
    main(["augment", *flags, "--out", str(variants[0])])
    assert json.loads(capsys.readouterr().out)["reused"] is True
    with pytest.raises(SystemExit) as ended:
        main(["augment", "--mask", "0.8", "--replace", "0.3", "--corpus", "x", "--out", "y"])
    assert ended.value.code == 64
    assert "together at most 1, got 0.8 and 0.3" in capsys.readouterr().err


def test_a_share_of_bad_records_that_is_none_is_refused():
    with pytest.raises(ValueError, match="max_bad_fraction must be 0 to 1, got 2"):
        AugmentConfig(corpus=("x",), out="y", max_bad_fraction=2)
