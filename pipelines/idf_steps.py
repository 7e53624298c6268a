"""The Beam steps of the IDF job: thin carriers of `counting`."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from pipelines import monitoring, signs
from pipelines.blocks import unpack
from pipelines.counting import count_blocks, document_frequencies, top_words
from pipelines.inputs import InputFile, check_unchanged, provenance
from pipelines.known import Known, new_sentences
from pipelines.reading import Range, read_records
from pipelines.sentences import Counts, Quarantine, Rejects, clean_records
from schemas import parts, store, tables
from schemas.idf import IdfTable


@dataclasses.dataclass(frozen=True)
class IdfTarget:
    """Where the table goes and under what name."""

    location: str
    quarantine: Quarantine
    fingerprint: dict[str, str]
    min_df: int
    run_id: str
    inputs: tuple[InputFile, ...]
    known: Known | None

    @property
    def staging(self) -> str:
        """Where workers show that they work."""
        return signs.staging_of(self.location, self.run_id)


@beam.typehints.with_output_types(tuple[int, bytes])
class CountLines(beam.DoFn):
    """From a range to the document frequencies of its lines, equal lines counted each time."""

    def __init__(self, user_dictionary: Path | None, target: IdfTarget) -> None:
        self._user_dictionary = user_dictionary
        self._target = target

    def process(self, piece: Range) -> Iterator[object]:
        """Yield main: (partition, block of counts); tagged: counts and rejected blocks."""
        signs.work_for(self._target.staging)
        rejects = Rejects(piece.source, self._target.run_id)
        rejected: list[object] = []
        counts: Counts = collections.Counter()

        def texts() -> Iterator[str]:
            for text, reason, record in clean_records(read_records(piece)):
                if reason is None:
                    counts["sentences"] += 1
                    yield text
                else:
                    counts[f"rejected_{reason}"] += 1
                    rejected.extend(rejects.add(record, reason))

        df = document_frequencies(texts(), self._user_dictionary)
        yield from count_blocks(df)
        n = counts["sentences"]
        monitoring.SENTENCES_READ.inc(n)
        monitoring.RECORDS_REJECTED.inc(rejects.count)
        yield TaggedOutput("counts", {**counts, "n_docs": n, "distinct": n})
        yield from rejected
        yield from rejects.rest()


@beam.typehints.with_output_types(tuple[int, bytes])
class CountDistinct(beam.DoFn):
    """From a partition of sentences to the document frequencies of the distinct, new ones."""

    def __init__(self, user_dictionary: Path | None, partitions: int, target: IdfTarget) -> None:
        self._user_dictionary = user_dictionary
        self._partitions = partitions
        self._target = target

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterator[object]:
        """Yield main: (partition, block of counts); tagged: counts."""
        signs.work_for(self._target.staging)
        rows, counts = new_sentences(group[1], group[0], self._partitions, self._target.known)
        texts = rows["text"]
        lines = (text for chunk in texts.chunks for text in chunk.to_pylist())
        yield from count_blocks(document_frequencies(lines, self._user_dictionary))
        others = {name: counts[name] for name in ("distinct", "reused", "forgotten")}
        yield TaggedOutput("counts", {**others, "n_docs": len(texts)})


def write_table(counts: Counts, merged: list[bytes], held: int, target: IdfTarget) -> None:
    """Judge the run, then write and commit its one part."""
    target.quarantine.judge(counts)
    words = unpack(merged).sort_by("word")
    df = words["df"].to_numpy()
    table = IdfTable(
        words=words["word"].combine_chunks().filter(pa.array(df >= target.min_df)),
        df=df[df >= target.min_df],
        n_docs=counts["n_docs"],
        segmenter=target.fingerprint["segmenter"],
        min_df=target.min_df,
    )
    check_unchanged(target.inputs)
    part = parts.write(table.to_arrow(), target.location, "part-*.parquet", row_group=65_536)
    summary = {
        "job": "idf",
        **counts,
        "duplicates": counts["sentences"] - counts["distinct"],
        "quarantined": held,
        "words": len(table.df),
        "words_dropped": len(df) - len(table.df),
        "top_words": top_words(table, 20),
        **provenance(target.inputs),
    }
    store.commit(
        target.location,
        tables.IDF,
        [part],
        run_id=target.run_id,
        fingerprint={**target.fingerprint, "idf": table.digest()},
        summary=summary,
    )
