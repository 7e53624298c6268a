"""Counting words: document frequencies, cut into blocks and added up again."""

import collections
import random

import pyarrow as pa

from pipelines.blocks import pack, unpack, word_partitions
from pipelines.counting import (
    COUNTS,
    count_blocks,
    document_frequencies,
    merge_counts,
    top_words,
)
from schemas.idf import IdfTable


def test_a_word_counts_once_per_sentence():
    assert document_frequencies(["北京北京好", "北京", ""]) == {"北京": 2, "好": 1}


def test_counts_are_cut_by_word_into_one_block_for_each_partition():
    counts = collections.Counter({f"词{n}": n for n in range(1, 100)})
    blocks = dict(count_blocks(counts))
    assert set(blocks) == set(range(16))
    for partition, block in blocks.items():
        words = unpack([block])["word"].to_pylist()
        assert set(word_partitions(words, 16).tolist()) <= {partition}
    merged = merge_counts(blocks.values())
    assert dict(zip(*merged.to_pydict().values(), strict=True)) == counts


def test_merging_adds_up_whatever_the_order():
    rng = random.Random(4)
    counters = [collections.Counter(rng.choices("北京上海天气", k=9)) for _ in range(6)]
    blocks = [pack(pa.table([list(c), list(c.values())], schema=COUNTS)) for c in counters]
    expected = sum(counters, collections.Counter())
    for _ in range(3):
        rng.shuffle(blocks)
        merged = merge_counts(blocks)
        assert merged.schema == COUNTS
        assert dict(zip(*merged.to_pydict().values(), strict=True)) == expected


def test_top_words_are_the_most_frequent_ones_with_a_letter():
    counts = {"，": 9, "好": 5, "北京": 7, " ": 8, "C++": 6, "吗": 1}
    table = IdfTable.from_counts(counts, 9, segmenter="s")
    assert list(top_words(table, 3).items()) == [("北京", 7), ("C++", 6), ("好", 5)]
    assert len(top_words(table, 99)) == 4
