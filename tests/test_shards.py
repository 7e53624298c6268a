"""Shards: prepared, embedded and recorded by content, so that doing one twice does no harm."""

import json

import numpy as np
import pyarrow as pa
import pytest

from pipelines.blocks import id_partition, pack
from pipelines.embedding import Teacher, find_teacher
from pipelines.known import new_sentences
from pipelines.sentences import content_id, sentences_table
from pipelines.shards import (
    Shard,
    Target,
    embed_shard,
    join_small,
    part_of,
    prepare_shard,
    record_of,
)
from schemas import parts, store, tables
from schemas.idf import IdfTable
from schemas.prepare import Preparer, read_tokenizer
from schemas.words import segmenter

TEXTS = ["今天天气怎么样？", "北京", "可以坐地铁ABC吗", "明天会下雨吗", "有地铁吗"]


@pytest.fixture(scope="module")
def preparer(tiny_teacher, small_idf):
    table = IdfTable.load(small_idf)
    return Preparer(read_tokenizer(tiny_teacher), segmenter(), table, max_tokens=64)


@pytest.fixture(scope="module")
def teacher(tiny_teacher):
    return Teacher(find_teacher(str(tiny_teacher)), "float32")


@pytest.fixture
def target(tmp_path):
    return target_in(tmp_path)


def target_in(folder, **changes) -> Target:
    settings = {
        "location": str(folder / "store"),
        "run_id": "run1",
        "date": "2026-01-01",
        "base_version": None,
        "fingerprint": {"made": "so"},
        "poolings": ("idf", "cls"),
        "vector_dtype": "float32",
        "keep_text": True,
    }
    return Target(**{**settings, **changes})


def blocks_of(texts, source="s") -> list[bytes]:
    rows = [(content_id(text), text, source, at) for at, text in enumerate(texts)]
    return [pack(sentences_table([row])) for row in rows]


def prepared(texts, preparer, target) -> Shard:
    rows, _ = new_sentences(blocks_of(texts), 0, 1, target.known)
    shard, _, _ = prepare_shard(rows, 0, preparer, target)
    return shard


def commit(record, target) -> None:
    schema = tables.teacher_schema(target.poolings, 16).append(tables.INGEST_DATE)
    about = {"run_id": target.run_id, "fingerprint": target.fingerprint, "summary": {}}
    store.commit(target.location, schema, [part_of(record)], **about)


def test_in_a_new_store_every_distinct_sentence_is_new(target):
    rows, counts = new_sentences(blocks_of([*TEXTS, *TEXTS[:2]]), 0, 1, target.known)
    assert sorted(rows["text"].to_pylist()) == sorted(TEXTS)
    assert counts == {"distinct": 5, "new": 5, "reused": 0, "forgotten": 0}


def test_sentences_that_the_store_has_are_not_new(tmp_path, target, preparer, teacher):
    commit(embed_shard(prepared(TEXTS[:3], preparer, target), teacher, target, 512), target)
    later = target_in(tmp_path, run_id="run2", base_version=0)
    rows, counts = new_sentences(blocks_of(TEXTS), 0, 1, later.known)
    assert sorted(rows["text"].to_pylist()) == sorted(TEXTS[3:])
    assert counts == {"distinct": 5, "new": 2, "reused": 3, "forgotten": 0}


def test_sentences_of_a_version_after_the_base_still_count_as_new(
    tmp_path, target, preparer, teacher
):
    for number, texts in enumerate([TEXTS[:1], TEXTS[1:2]], 1):
        one = target_in(tmp_path, run_id=f"run{number}")
        commit(embed_shard(prepared(texts, preparer, one), teacher, one, 512), one)
    _, counts = new_sentences(blocks_of(TEXTS), 0, 1, target_in(tmp_path, base_version=0).known)
    assert counts["reused"] == 1


def test_a_shard_is_named_by_partition_and_content(tmp_path, preparer, target):
    shard = prepared(TEXTS, preparer, target)
    assert shard.name.startswith("part-00000-")
    assert (shard.rows, shard.partition, shard.prepared) == (5, 0, (shard.name,))
    assert prepared(TEXTS[::-1], preparer, target) == shard
    assert prepared(TEXTS[:4], preparer, target).name != shard.name
    other = target_in(tmp_path, fingerprint={"made": "otherwise"})
    assert prepared(TEXTS, preparer, other).name != shard.name


def test_a_part_of_joined_shards_holds_the_rows_of_all_in_order(preparer, teacher, target):
    shards = []
    for partition in range(4):
        of_range = [text for text in TEXTS if id_partition(content_id(text), 4) == partition]
        if of_range:
            rows, _ = new_sentences(blocks_of(of_range), partition, 4, target.known)
            shards.append(prepare_shard(rows, partition, preparer, target)[0])
    (joined,) = join_small(shards[::-1], 5)
    part = part_of(embed_shard(joined, teacher, target, 512))
    ids = parts.read(parts.join(target.location, part.path))["sentence_id"].to_pylist()
    assert ids == sorted(content_id(text).hex() for text in TEXTS)
    assert len(shards) > 1
    assert sum(one.rows for one in join_small(shards, 1)) == 5


def test_rows_without_tokens_are_left_out_and_told(preparer, target):
    rows, _ = new_sentences(blocks_of(["北京", "\u0301", "好吃"]), 0, 1, target.known)
    shard, counts, empty = prepare_shard(rows, 0, preparer, target)
    assert (shard.rows, counts) == (2, {"new": -1})
    assert [rows["text"][index].as_py() for index in empty] == ["\u0301"]


def test_a_shard_without_any_tokens_is_none(preparer, target):
    rows, _ = new_sentences(blocks_of(["\u0301"]), 0, 1, target.known)
    assert prepare_shard(rows, 0, preparer, target) == (None, {"new": -1}, [0])


def test_a_part_holds_the_rows_of_its_shard_in_the_store_s_schema(preparer, teacher, target):
    record = embed_shard(prepared(TEXTS, preparer, target), teacher, target, 512)
    part = part_of(record)
    table = parts.read(parts.join(target.location, part.path))
    assert table.schema.equals(tables.teacher_schema(("idf", "cls"), 16))
    assert table.schema.metadata == {b"ltd.made": b"so"}
    by_text = {row["text"]: row for row in table.to_pylist()}
    for one in preparer.prepare(TEXTS):
        row = by_text[one.text]
        assert row["token_ids"] == one.token_ids.tolist()
        assert row["weights"] == one.weights.tolist()
        alone = teacher.vectors([one.token_ids], [one.weights], ("idf", "cls"))
        assert row["vector_idf"] == pytest.approx(alone["idf"][0], abs=2e-6)
        assert row["vector_cls"] == pytest.approx(alone["cls"][0], abs=2e-6)
        assert row["norm"] == pytest.approx(np.linalg.norm(alone["idf"][0]), rel=1e-5)


def test_a_finished_shard_leaves_a_record_and_an_unfinished_one_none(preparer, teacher, target):
    shard = prepared(TEXTS, preparer, target)
    assert record_of(shard, target) is None
    record = embed_shard(shard, teacher, target, 512)
    assert record_of(shard, target) == json.loads(json.dumps(record))
    tokens = sum(len(one.token_ids) for one in preparer.prepare(TEXTS))
    assert record["tokens"] == tokens
    assert record["padded_tokens"] >= tokens
    assert part_of(record_of(shard, target)) == part_of(record)


def test_the_record_is_of_this_run_only(tmp_path, preparer, teacher, target):
    shard = prepared(TEXTS, preparer, target)
    embed_shard(shard, teacher, target, 512)
    assert record_of(shard, target_in(tmp_path, run_id="run2")) is None


def test_embedding_a_shard_twice_writes_the_same_bytes(preparer, teacher, target):
    shard = prepared(TEXTS, preparer, target)
    first = embed_shard(shard, teacher, target, 512)
    second = embed_shard(shard, teacher, target, 512)
    assert first["part"] == second["part"]


def test_an_unusable_vector_stops_the_shard_before_anything_is_written(preparer, target):
    class Spoiled:
        width = 16

        def vectors(self, token_ids, weights, poolings):
            found = np.ones((len(token_ids), 16), np.float32)
            found[:, 3] = [np.nan if len(ids) == 4 else 1 for ids in token_ids]
            return {pooling: found for pooling in poolings}

    shard = prepared(TEXTS, preparer, target)
    with pytest.raises(
        ValueError, match=r"no usable idf vector for sentence [0-9a-f]{32} \('北京'\)"
    ):
        embed_shard(shard, Spoiled(), target, 512)
    assert record_of(shard, target) is None
    assert not parts.exists(target.location)


def test_float16_without_text(tmp_path, preparer, teacher):
    target = target_in(tmp_path, vector_dtype="float16", keep_text=False)
    record = embed_shard(prepared(TEXTS, preparer, target), teacher, target, 512)
    table = parts.read(parts.join(target.location, part_of(record).path))
    assert "text" not in table.column_names
    assert table.schema.field("vector_idf").type.value_type == pa.float16()
