"""What both jobs share: ids, deduplication, counts, and the quarantine's judgement."""

import collections
import random

import pytest

from pipelines.blocks import pack, unpack
from pipelines.reading import Broken, Range
from pipelines.sentences import (
    Quarantine,
    ReadSentences,
    clean_records,
    content_id,
    distinct,
    reject,
    rejects_table,
    sentences_table,
    total,
)
from schemas import parts, store
from schemas.text import MAX_LINE_BYTES, Reason, sentence_id


def rows(*texts_and_places):
    return [(content_id(text), text, source, at) for text, source, at in texts_and_places]


def test_the_bytes_of_an_id_are_those_of_the_contract():
    assert content_id("你好").hex() == sentence_id("你好")


@pytest.mark.parametrize(
    ("raw", "text", "reason"),
    [
        ("你好\r\n".encode(), "你好", None),
        (" 你好 ", "你好", None),
        (b"\n", "", Reason.BLANK),
        ("\ud800", "", Reason.INVALID_UTF8),
        (Broken(b"{\n"), "", Reason.MALFORMED),
        (Broken(b"{" * 5000), "", Reason.MALFORMED),
        (Broken(b"{" * (MAX_LINE_BYTES + 1)), "", Reason.TOO_LONG),
        (Broken(b"\xff{"), "", Reason.INVALID_UTF8),
        (Broken(b" \n"), "", Reason.BLANK),
    ],
)
def test_a_record_becomes_a_text_or_a_reason(raw, text, reason):
    assert list(clean_records([(7, raw)])) == [(text, reason, (7, raw))]


def test_a_range_becomes_blocks_by_id_counts_and_rejects(tmp_path):
    lines = [f"第{n}句".encode() for n in range(50)] + [b"", b"\xff"]
    (tmp_path / "c.txt").write_bytes(b"\n".join(lines))
    size = (tmp_path / "c.txt").stat().st_size
    piece = Range(str(tmp_path / "c.txt"), "text", 0, size, ())
    found = list(ReadSentences(4, "run", "staging").process(piece))
    blocks = dict(one for one in found if isinstance(one, tuple))
    tagged = {one.tag: one.value for one in found if not isinstance(one, tuple)}
    assert set(blocks) == {0, 1, 2, 3}
    for partition, block in blocks.items():
        for row in unpack([block]).to_pylist():
            assert int(row["sentence_id"].hex()[0], 16) // 4 == partition
            assert row["sentence_id"].hex() == sentence_id(row["text"])
    texts = sorted(
        text for block in blocks.values() for text in unpack([block])["text"].to_pylist()
    )
    assert texts == sorted(line.decode() for line in lines[:50])
    assert tagged["counts"] == {"sentences": 50, "rejected_blank": 1, "rejected_invalid_utf8": 1}
    assert unpack([tagged["rejected"]])["reason"].to_pylist() == ["blank", "invalid_utf8"]


def test_distinct_keeps_the_first_place_of_each_sentence_in_order_of_id():
    places = rows(("甲", "b", 0), ("乙", "a", 9), ("甲", "a", 5), ("甲", "a", 2), ("丙", "c", 1))
    found = distinct([pack(sentences_table(places[:2])), pack(sentences_table(places[2:]))])
    ids = found["sentence_id"].to_pylist()
    assert ids == sorted(ids)
    kept = {row["text"]: (row["source"], row["offset"]) for row in found.to_pylist()}
    assert kept == {"甲": ("a", 2), "乙": ("a", 9), "丙": ("c", 1)}


def test_distinct_does_not_depend_on_the_order_of_delivery():
    rng = random.Random(1)
    places = rows(*((f"{rng.randrange(20)}", rng.choice("ab"), at) for at in range(200)))
    outcomes = []
    for _ in range(5):
        rng.shuffle(places)
        cut = rng.randrange(1, 199)
        blocks = [pack(sentences_table(places[:cut])), pack(sentences_table(places[cut:]))]
        outcomes.append(distinct(blocks))
    assert all(outcome.equals(outcomes[0]) for outcome in outcomes)
    assert outcomes[0].num_rows == len({row[1] for row in places})


def test_a_single_sentence_is_distinct():
    assert distinct([pack(sentences_table(rows(("甲", "a", 0))))]).num_rows == 1


def test_a_reject_tells_where_and_why_but_not_what():
    row = reject((12, b"\xff secret"), "file", Reason.INVALID_UTF8, "run")
    assert row[:4] == ("file", 12, "invalid_utf8", 8)
    assert len(row[4]) == 64
    assert not any("secret" in str(value) for value in row)


def test_the_digest_of_a_surrogate_can_be_taken():
    assert reject((0, "\ud800"), "f", Reason.INVALID_UTF8, "run")[3] == 3


def test_totals_add_up_by_name():
    counts = [{"b": 1, "a": 2}, {}, {"b": 3}, collections.Counter(c=1)]
    assert total(counts) == {"a": 2, "b": 4, "c": 1}
    assert list(total(counts)) == ["a", "b", "c"]
    assert total([]) == {}
    assert total([total(counts[:2]), total(counts[2:])]) == total(counts)


@pytest.fixture
def quarantine(tmp_path):
    return Quarantine(str(tmp_path / "q"), "run", 0.1)


def test_no_rejects_make_no_table(quarantine):
    assert quarantine.commit([]) == 0
    assert not store.exists(quarantine.location)


def test_rejects_are_committed_sorted_and_once(quarantine):
    made = [
        reject((at, b"\xff"), source, Reason.INVALID_UTF8, "run")
        for source, at in [("b", 3), ("a", 9), ("a", 1)]
    ]
    blocks = [pack(rejects_table(made[:1])), pack(rejects_table(made[1:]))]
    assert quarantine.commit(blocks) == 3
    assert quarantine.commit(blocks[::-1]) == 3
    opened = store.open_store(quarantine.location)
    opened.verify()
    assert len(opened.commits) == 1
    found = parts.read(opened.path_of(opened.parts[0]))
    places = list(zip(found["source"].to_pylist(), found["offset"].to_pylist(), strict=True))
    assert places == [("a", 1), ("a", 9), ("b", 3)]


@pytest.mark.parametrize(
    "counts",
    [
        {"sentences": 9, "rejected_nul": 1},
        {"sentences": 90, "rejected_nul": 5, "rejected_too_long": 5},
        {"sentences": 1, "rejected_blank": 1000},
    ],
)
def test_a_share_of_bad_records_up_to_the_allowed_one_passes(quarantine, counts):
    assert quarantine.judge(counts) == counts


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"sentences": 8, "rejected_nul": 1}, r"1 of 9 records are bad \(rejected_nul 1\)"),
        ({"rejected_nul": 4}, "4 of 4 records are bad"),
        ({"rejected_blank": 4}, r"the corpus is empty: no sentence in it \(rejected_blank 4\)"),
        ({}, r"the corpus is empty: no sentence in it \(no other lines\)"),
    ],
)
def test_a_run_with_too_many_bad_records_or_no_sentence_fails(quarantine, counts, told):
    with pytest.raises(ValueError, match=told):
        quarantine.judge(counts)
