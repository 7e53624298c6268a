"""distill_jobs/evaluation/holdout.py: sentences that a student has seen are left out."""

import pyarrow as pa
import pytest

from distill_jobs.evaluation.holdout import held_ids, without_overlaps
from distill_jobs.evaluation.tasks import Kind, LabelledSet, Row
from schemas import parts, store
from schemas.text import sentence_id

SCHEMA = pa.schema([pa.field("sentence_id", pa.string(), nullable=False)])


def put(location: str, run_id: str, texts: list[str]) -> None:
    table = pa.table({"sentence_id": sorted(map(sentence_id, texts))}, schema=SCHEMA)
    part = parts.write(table, location, f"{run_id}.parquet", row_group=16)
    store.commit(location, SCHEMA, [part], run_id=run_id, fingerprint={}, summary={})


ROWS = (Row(("甲", "乙"), "1"), Row(("丙", "丁"), "0"), Row(("戊", "己"), "1"))
PAIRS = LabelledSet("x", Kind.PAIRS, "test", ROWS)


def test_a_row_goes_if_either_sentence_was_trained_on(tmp_path):
    put(str(tmp_path / "s"), "a", ["乙", "戊", "别的"])
    left = without_overlaps([PAIRS], [store.open_store(tmp_path / "s")])[0]
    assert left.test == (Row(("丙", "丁"), "0"),)
    assert left.overlaps == 2


def test_only_the_version_trained_on_counts(tmp_path):
    put(str(tmp_path / "s"), "a", ["乙"])
    put(str(tmp_path / "s"), "b", ["丙"])
    counted = [
        without_overlaps([PAIRS], [store.open_store(tmp_path / "s", version)])[0].overlaps
        for version in (0, 1)
    ]
    assert counted == [1, 2]


def test_every_store_of_several_students_counts(tmp_path):
    put(str(tmp_path / "s"), "a", ["乙"])
    put(str(tmp_path / "t"), "a", ["丁"])
    both = [store.open_store(tmp_path / name) for name in "st"]
    assert without_overlaps([PAIRS], both)[0].overlaps == 2


def test_ids_are_found_in_any_part_and_row_group(tmp_path):
    texts = [f"句子{number}" for number in range(400)]
    for number in range(4):
        put(str(tmp_path / "s"), f"r{number}", texts[number * 50 : (number + 1) * 50])
    wanted = {sentence_id(text) for text in texts[100:300]}
    found = held_ids(store.open_store(tmp_path / "s"), sorted(wanted))
    assert found == {sentence_id(text) for text in texts[100:200]}


def test_nothing_is_left_out_without_a_store():
    assert without_overlaps([PAIRS], []) == [PAIRS]


def test_a_set_that_was_trained_on_whole_is_refused(tmp_path):
    put(str(tmp_path / "s"), "a", ["甲", "丙", "己"])
    with pytest.raises(ValueError, match="every row of the set x has a sentence in the training"):
        without_overlaps([PAIRS], [store.open_store(tmp_path / "s")])
