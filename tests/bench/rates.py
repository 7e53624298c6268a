"""What a sentence costs in a shuffle and in a part: the rates that docs/scale.md multiplies.

    python -m tests.bench.rates --corpus 'corpus/*.txt.gz' --store work/teacher --out work/rates

The shuffle's bytes are those of the blocks that the jobs' own steps give, by number of partitions;
Beam's own envelope is not counted. A part's bytes are added up by column from the footers of a
store. Prints Markdown tables.
"""

import collections
import dataclasses
import glob
import sys
import time
from pathlib import Path

import tyro
from apache_beam.pvalue import TaggedOutput

from distill_jobs.reader import row_groups
from pipelines.counting import count_blocks, document_frequencies
from pipelines.reading import plan_ranges
from pipelines.sentences import ReadSentences, distinct
from schemas import parts
from schemas.store import Store, open_store
from tests.bench.scale import write_corpus

PARTITIONS = (10, 31, 1000, 3052, 100_000, 305_176)
"""Of the idf and the teacher job for 1 M, 100 M and 10 B sentences."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatesConfig:
    """Measure."""

    corpus: str
    """Glob of gzipped text files."""
    store: str
    """A teacher store."""
    out: Path
    """Folder to work in."""
    lines: int = 400_000
    """Of the corpus."""


def main(config: RatesConfig) -> None:
    """Measure and print."""
    corpus = config.out / f"corpus-{config.lines}.txt"
    if not corpus.exists():
        assert glob.glob(config.corpus), f"no file matches {config.corpus}"
        write_corpus(config.corpus, config.lines, corpus)
    sys.stdout.write(
        "| partitions | sentences | a block | bytes a sentence | us a sentence, with reading |\n"
        "|---|---|---|---|---|\n"
    )
    for partitions in PARTITIONS:
        sys.stdout.write(shuffle(corpus, partitions) + "\n")
        sys.stdout.flush()
    sys.stdout.write(f"\n{words(corpus)}\n\n| column | bytes a row |\n|---|---|\n")
    opened = open_store(config.store)
    for name, size in columns(opened).items():
        sys.stdout.write(f"| {name} | {size:.1f} |\n")
    sys.stdout.write(f"\n{digests(opened)}\n{footers(opened)}\n")


def shuffle(corpus: Path, partitions: int) -> str:
    """What readers send on to the partitions of the ids."""
    read = ReadSentences(partitions, "rates", f"{corpus}.staging")
    inputs = plan_ranges([str(corpus)], ["text"])
    began, sizes, sentences = time.perf_counter(), [], 0
    for piece in inputs.ranges:
        for one in read.process(piece):
            if isinstance(one, tuple):
                sizes.append(len(one[1]))
            elif isinstance(one, TaggedOutput) and one.tag == "counts":
                sentences += one.value["sentences"]
    each = (time.perf_counter() - began) / sentences
    return (
        f"| {partitions:,} | {sentences:,} | {sentences / len(sizes):,.1f} | "
        f"{sum(sizes) / sentences:,.0f} | {1e6 * each:.1f} |"
    )


def words(corpus: Path) -> str:
    """What a partition of 100,000 sentences sends on to the partitions of the words."""
    blocks = [
        one[1]
        for piece in plan_ranges([str(corpus)], ["text"]).ranges
        for one in ReadSentences(1, "rates", f"{corpus}.staging").process(piece)
        if isinstance(one, tuple)
    ]
    texts = distinct(blocks)["text"].slice(0, 100_000).to_pylist()
    df = document_frequencies(iter(texts), None)
    size = sum(len(block) for _, block in count_blocks(df))
    return (
        f"Counts of {len(texts):,} distinct sentences: {len(df):,} words, "
        f"{size / len(texts):.1f} bytes a sentence."
    )


def columns(opened: Store) -> dict[str, float]:
    """Bytes a row of each column on disk, and of the footer."""
    sizes: collections.Counter[str] = collections.Counter()
    for part in opened.parts:
        with parts.open_part(opened.path_of(part)) as file:
            sizes["footer"] += file.metadata.serialized_size
            for group in map(file.metadata.row_group, range(file.num_row_groups)):
                for column in map(group.column, range(group.num_columns)):
                    name = column.path_in_schema.partition(".")[0]
                    sizes[name] += column.total_compressed_size
    return {name: size / opened.rows for name, size in sizes.items()}


def digests(opened: Store) -> str:
    """How fast parts are digested, as before a run and before a training."""
    began = time.perf_counter()
    opened.verify()
    seconds = time.perf_counter() - began
    size = sum(part.size for part in opened.parts)
    return f"{size / 1e6:,.0f} MB verified at {size / 1e6 / seconds:,.0f} MB a second."


def footers(opened: Store) -> str:
    """What a training does first: it opens every part."""
    began = time.perf_counter()
    groups = row_groups(opened)
    each = (time.perf_counter() - began) / len(opened.parts)
    return f"{len(opened.parts)} parts with {len(groups)} row groups: {1e3 * each:.1f} ms a part."


if __name__ == "__main__":
    main(tyro.cli(RatesConfig))
