"""The Beam steps of the augmentation job: thin carriers of `schemas.tags` and `schemas.variants`.

sentences of a range of ids -> tagged block, counts of tagged words -> variants by range of their
ids -> part. A sentence is tagged once: that is nearly all of the work.
"""

import collections
import functools
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import AsSingleton, PCollection, TaggedOutput
from apache_beam.transforms.combiners import ToList

from pipelines import signs
from pipelines.blocks import id_partition, pack, unpack
from pipelines.counting import count_blocks, merge_counts
from pipelines.sentences import Counts, distinct
from schemas import parts, tables
from schemas.parts import Part
from schemas.tags import tagger
from schemas.variants import Frequencies, Rules, Sentence, variants_of

WORDS_A_TAG = 10_000  # the most frequent ones, which replace others
TAGGED = pa.schema(
    {
        "sentence_id": pa.string(),
        "text": pa.string(),
        "source": pa.string(),
        "words": pa.list_(pa.string()),
        "tags": pa.list_(pa.string()),
    }
)
FREQUENT = pa.schema({"tag": pa.string(), "word": pa.string(), "count": pa.int64()})


@beam.typehints.with_output_types(tuple[int, bytes])
class TagSentences(beam.DoFn):
    """From a partition of sentences to the distinct ones, tagged, and counts of their words."""

    def __init__(self, user_dictionary: Path | None, staging: str) -> None:
        self._user_dictionary = user_dictionary
        self._staging = staging

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterator[object]:
        """Yield main: (partition, block of counts); tagged: counts, and the block of sentences."""
        signs.work_for(self._staging)
        table = tag_sentences(distinct(group[1]), self._user_dictionary)
        yield from count_blocks(tagged_words(table))
        yield TaggedOutput("tagged", pack(table))
        yield TaggedOutput("counts", {"distinct": table.num_rows})


def keep_frequent(
    words: PCollection[tuple[int, bytes]], judged: PCollection[Counts]
) -> PCollection[bytes]:
    """What words are replaced by, in one block."""
    frequent: PCollection[bytes] = (
        words
        | "ToWordPartitions" >> beam.GroupByKey()
        | "MergeCounts" >> beam.MapTuple(lambda _, blocks: pack(merge_counts(blocks)))
        | "Merged" >> ToList()
        | "KeepFrequent" >> beam.Map(_pack_frequent, AsSingleton(judged))
    )
    return frequent


def _pack_frequent(merged: list[bytes], judged: Counts) -> bytes:
    """The frequent words, packed; `judged` is only waited for."""
    return pack(frequent_words(merged))


@beam.typehints.with_output_types(tuple[int, bytes])
class DrawVariants(beam.DoFn):
    """From a block of tagged sentences to blocks of their variants by partition of their id."""

    def __init__(self, rules: Rules, partitions: int, staging: str) -> None:
        self._rules = rules
        self._partitions = partitions
        self._staging = staging

    def process(self, block: bytes, frequent: bytes) -> Iterator[object]:
        """Yield main: (partition, block of variants); tagged: counts."""
        signs.work_for(self._staging)
        signs.show()
        table, counts = draw_block(block, _frequencies(frequent), self._rules)
        ids = table["sentence_id"].to_pylist()
        places = pa.array([id_partition(bytes.fromhex(id), self._partitions) for id in ids])
        for place in sorted(set(places.to_pylist())):
            yield place, pack(table.filter(pc.equal(places, place)))
        yield TaggedOutput("counts", counts)


@beam.typehints.with_output_types(Part)
class WriteVariants(beam.DoFn):
    """From the blocks of a partition of variants to its part, equal variants kept once."""

    def __init__(self, location: str) -> None:
        self._location = location

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterator[object]:
        """Yield main: the part; tagged: counts."""
        partition, blocks = group
        held = list(blocks)
        rows = distinct(held, ("parent_id", "variant"))
        drawn = sum(unpack([block]).num_rows for block in held)
        yield parts.write(rows, self._location, f"part-{partition:05d}-*.parquet")
        yield TaggedOutput("counts", {"repeated": drawn - rows.num_rows, "rows": rows.num_rows})


def tag_sentences(rows: pa.Table, user_dictionary: Path | None = None) -> pa.Table:
    """Tag sentences, given in the schema `SENTENCES`; returns them in the schema `TAGGED`."""
    tag = tagger(user_dictionary).tag
    ids = [one.hex() for one in rows["sentence_id"].to_pylist()]
    texts = rows["text"].to_pylist()
    pairs = []
    for text in texts:
        pairs.append(tag(text))
        signs.show()
    words, tags = [words for words, _ in pairs], [tags for _, tags in pairs]
    return pa.table([ids, texts, rows["source"], words, tags], schema=TAGGED)


def tagged_words(table: pa.Table) -> collections.Counter[str]:
    """How often each tagged word occurs, written as corpora do: 北京/ns."""
    words, tags = (table[name].combine_chunks().flatten().to_pylist() for name in ("words", "tags"))
    return collections.Counter(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))


def frequent_words(merged: Iterable[bytes], most: int = WORDS_A_TAG) -> pa.Table:
    """The most frequent words of each tag.

    Args:
        merged: counts of tagged words, each in one block; `pipelines.counting.COUNTS`.
        most: words of a tag.

    Returns:
        In the schema `FREQUENT`, by tag, the most frequent first.
    """
    counts = unpack(merged)
    rows = []
    for tagged, count in zip(
        *(counts[name].to_pylist() for name in counts.schema.names), strict=True
    ):
        word, _, tag = tagged.rpartition("/")
        rows.append((tag, -count, word))
    kept = [
        (tag, word, -less)
        for _, group in groupby(sorted(rows), itemgetter(0))
        for tag, less, word in islice(group, most)
    ]
    return pa.table([list(column) for column in zip(*kept, strict=True)], schema=FREQUENT)


@functools.lru_cache(maxsize=1)
def _frequencies(frequent: bytes) -> Frequencies:
    """What a process draws from, built once for all of its blocks."""
    columns = unpack([frequent]).to_pydict().values()
    return Frequencies(zip(*columns, strict=True))


def draw_block(block: bytes, frequencies: Frequencies, rules: Rules) -> tuple[pa.Table, Counts]:
    """Draw the variants of a block of tagged sentences.

    Returns:
        Rows of the table of variants in no order, equal ones of different parents still in it; and
        counts.
    """
    columns: list[list[object]] = [[] for _ in tables.VARIANTS]
    counts: Counts = collections.Counter()
    for id, text, source, words, tags in zip(*unpack([block]).to_pydict().values(), strict=True):
        found, told = variants_of(Sentence(id, text, words, tags), frequencies, rules)
        counts.update(told)
        for one in found:
            row = one.sentence_id, one.text, id, source, one.number, one.methods
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    return pa.table(columns, schema=tables.VARIANTS), dict(counts)
