"""Time and peak memory of deduplication and of the anti-join with a store, by number of rows.

    python -m tests.bench.scale --corpus 'corpus/*.txt.gz' --out work/scale --rows 300000 3200000

Each cell is a process of its own that runs the steps of the teacher job up to the new sentences, on
the embedded runner, which keeps all that crosses a shuffle in this process's memory. The store has
the ids of all the sentences, in parts as the teacher job writes them; a vector there is one
number, since the anti-join reads the key column alone. Prints a Markdown table.
"""

import contextlib
import dataclasses
import glob
import gzip
import itertools
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tyro

from pipelines.blocks import id_range
from pipelines.known import Known, new_sentences
from pipelines.reading import plan_ranges
from pipelines.running import beam_options
from pipelines.sentences import ReadSentences, total
from schemas import parts, store, tables

ROWS_PER_PART = 32_768


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """Measure."""

    corpus: str
    """Glob of gzipped text files."""
    out: Path
    """Folder to work in."""
    rows: tuple[int, ...] = (300_000, 3_200_000)
    """Lines to take, spread over all files."""
    rounds: int = 1
    """Times that each cell is measured; the medians are not taken, all are printed."""


def main(config: ScaleConfig) -> None:
    """Measure every cell and print the table."""
    context = multiprocessing.get_context("spawn")
    sys.stdout.write(
        "| lines | distinct | step | seconds | peak memory, MB |\n|---|---|---|---|---|\n"
    )
    for rows in config.rows:
        corpus = config.out / f"corpus-{rows}.txt"
        if not corpus.exists():
            write_corpus(config.corpus, rows, corpus)
        for name, known in (("import only", None), ("deduplicate", None), ("anti-join", "store")):
            for _ in range(config.rounds):
                with context.Pool(1) as pool:
                    location = str(config.out / f"store-{rows}")
                    keep = location if name == "deduplicate" else None
                    arguments = (str(corpus), known and location, keep, name == "import only")
                    found = pool.apply(measure, arguments)
                sys.stdout.write(
                    f"| {rows:,} | {found['distinct']:,} | {name} | {found['seconds']:.1f} | "
                    f"{found['peak_mb']:,} |\n"
                )
                sys.stdout.flush()
                assert name != "anti-join" or found["new"] == 0


def write_corpus(pattern: str, rows: int, path: Path) -> None:
    """The first lines of every file, in turn, until there are enough."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(gzip.open(name, "rt", encoding="utf-8"))
            for name in sorted(glob.glob(pattern))
        ]
        mixed = (line for lines in itertools.zip_longest(*files) for line in lines if line)
        out = stack.enter_context(path.open("w", encoding="utf-8"))
        out.writelines(itertools.islice(mixed, rows))


def measure(corpus: str, known: str | None, keep: str | None, nothing: bool) -> dict[str, int]:
    """One cell: how many sentences are new, in what time and memory."""
    began = time.monotonic()
    counts = {"distinct": 0, "new": 0}
    if not nothing:
        compared = Known(known, 0) if known else None
        counts = run(corpus, compared, keep)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if keep and not store.exists(keep):
        commit(keep)
    return {**counts, "seconds": seconds, "peak_mb": peak}


def run(corpus: str, known: Known | None, keep: str | None) -> dict[str, int]:
    """The teacher job's steps up to the new sentences."""
    inputs = plan_ranges([corpus], ["text"])
    partitions = max(1, round(inputs.sentences / ROWS_PER_PART))
    found: list[dict[str, int]] = []
    with beam.Pipeline(options=beam_options([])) as pipeline:
        read = (
            pipeline
            | beam.Create(inputs.ranges)
            | beam.Reshuffle()
            | beam.ParDo(ReadSentences(partitions, "scale", f"{corpus}.staging")).with_outputs(
                "counts", "rejected", main="sentences"
            )
        )
        _ = (
            read.sentences
            | beam.GroupByKey()
            | beam.MapTuple(
                lambda partition, blocks: count_new(partition, blocks, partitions, known, keep)
            )
            | beam.CombineGlobally(total)
            | beam.Map(lambda counts, at: Path(at).write_text(json.dumps(counts)), f"{corpus}.json")
        )
    found.append(json.loads(Path(f"{corpus}.json").read_text()))
    return found[0]


def count_new(
    partition: int, blocks: Iterator[bytes], partitions: int, known: Known | None, keep: str | None
) -> dict[str, int]:
    """The anti-join of one partition; its ids become a part if a store is to be made."""
    rows, counts = new_sentences(blocks, partition, partitions, known)
    if keep and not store.exists(keep):
        write_part(rows, keep, id_range(partition, partitions)[0][:8])
    return counts


def schema() -> pa.Schema:
    """Of the store to compare with."""
    return tables.teacher_schema(("idf",), 1, text=False)


def write_part(rows: pa.Table, location: str, name: str) -> None:
    """Ids as a part, everything else made up."""
    n = rows.num_rows
    one = pa.ListArray.from_arrays(np.arange(n + 1, dtype=np.int32), np.ones(n, np.float32))
    columns = {
        "sentence_id": rows["sentence_id"],
        "source": rows["source"],
        "n_tokens": np.ones(n, np.int32),
        "token_ids": pa.ListArray.from_arrays(one.offsets, np.ones(n, np.int32)),
        "weights": one,
        "vector_idf": one,
        "norm": np.ones(n, np.float32),
    }
    arrays = [pa.array(v) if isinstance(v, np.ndarray) else v for v in columns.values()]
    cast = [
        array.cast(field.type) if isinstance(array, pa.ListArray) else array
        for array, field in zip(arrays, schema(), strict=True)
    ]
    part = parts.write(
        pa.table(cast, schema=schema()), location, f"ingest_date=2026-01-01/{name}.parquet"
    )
    parts.write_bytes(json.dumps(dataclasses.asdict(part)).encode(), f"{location}.parts", name)


def commit(location: str) -> None:
    """Make a store of the parts."""
    written = [
        parts.Part(**json.loads(path.read_text()))
        for path in sorted(Path(f"{location}.parts").iterdir())
    ]
    full = schema().append(tables.INGEST_DATE)
    store.commit(location, full, written, run_id="ids", fingerprint={"made": "up"}, summary={})


if __name__ == "__main__":
    main(tyro.cli(ScaleConfig))
