"""Blocks: tables that travel as bytes, and the partitions that they go to."""

import itertools

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocks import id_partition, id_range, pack, unpack, word_partitions


def test_packed_tables_unpack_into_one():
    table = pa.table({"word": ["好", "😊"], "df": [1, 2]})
    assert unpack([pack(table), pack(table.slice(1))]).to_pydict() == {
        "word": ["好", "😊", "😊"],
        "df": [1, 2, 2],
    }


def test_an_empty_table_travels_with_its_schema():
    table = pa.table({"word": pa.array([], pa.string())})
    assert unpack([pack(table)]).schema == table.schema


@given(st.binary(min_size=16, max_size=16), st.integers(1, 100_000))
def test_an_id_lies_in_the_range_of_its_partition_and_of_no_other(sentence_id, partitions):
    partition = id_partition(sentence_id, partitions)
    assert 0 <= partition < partitions
    low, high = id_range(partition, partitions)
    assert low <= sentence_id.hex() <= high
    for neighbour in (partition - 1, partition + 1):
        if 0 <= neighbour < partitions:
            low, high = id_range(neighbour, partitions)
            assert not low <= sentence_id.hex() <= high


@given(st.integers(1, 3000))
def test_ranges_touch_and_cover_every_id(partitions):
    ranges = [id_range(partition, partitions) for partition in range(partitions)]
    assert ranges[0][0] == "0" * 32
    assert ranges[-1][1] == "f" * 32
    for (_, end), (start, _) in itertools.pairwise(ranges):
        assert int(end, 16) + 1 == int(start, 16)


def test_words_go_to_the_same_partition_in_every_process():
    assert word_partitions(["北京", "好", "WiFi", "😊"], 16).tolist() == [1, 4, 7, 10]


@pytest.mark.parametrize("partitions", [1, 16, 1000])
def test_a_word_s_partition_is_one_of_them(partitions):
    found = word_partitions([f"词{n}" for n in range(500)], partitions)
    assert found.min() >= 0
    assert found.max() < partitions
