"""The Beam steps of the teacher job: thin carriers of `shards` and `embedding`."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.shared import Shared

from pipelines import monitoring, plan, signs
from pipelines.blocks import pack
from pipelines.embedding import Teacher, TeacherFiles, token_budget
from pipelines.inputs import InputFile, check_unchanged, provenance
from pipelines.known import new_sentences
from pipelines.sentences import Counts, Quarantine, reject, rejects_table
from pipelines.shards import (
    Record,
    Shard,
    Target,
    embed_shard,
    part_of,
    prepare_shard,
    record_of,
)
from schemas import store, tables
from schemas.command import RetryLater
from schemas.delta import NOT_THERE
from schemas.idf import IdfTable
from schemas.prepare import Preparer, read_tokenizer
from schemas.text import Reason
from schemas.words import segmenter


@dataclasses.dataclass(frozen=True)
class Tools:
    """What workers load, by path: small enough to travel, rebuilt once per process."""

    files: TeacherFiles
    idf: str
    idf_version: int
    user_dictionary: Path | None
    max_tokens: int
    dtype: str

    @functools.lru_cache(maxsize=1)  # noqa: B019 - lives as long as the process, on purpose
    def preparer(self) -> Preparer:
        """The tokenizer, segmenter and IDF table."""
        table = IdfTable.load(self.idf, self.idf_version)
        tokenizer = read_tokenizer(self.files.folder)
        words = segmenter(self.user_dictionary)
        return Preparer(tokenizer, words, table, max_tokens=self.max_tokens)

    def load_teacher(self) -> Teacher:
        """The model, anew; workers share one per process."""
        return Teacher(self.files, self.dtype)


def judge(counts: Counts, held: int, quarantine: Quarantine) -> Counts:
    """Let a run with few bad records pass, once its rejects are safe; adds their number."""
    return {**quarantine.judge(counts), "quarantined": held}


@beam.typehints.with_output_types(Shard)
class PrepareShards(beam.DoFn):
    """From the sentences of a range of ids to a prepared shard of the new ones."""

    def __init__(self, tools: Tools, target: Target, partitions: int, limit: int | None) -> None:
        self._tools = tools
        self._target = target
        self._partitions = partitions
        self._limit = limit

    def process(self, group: tuple[int, Iterable[bytes]]) -> Iterator[object]:
        """Yield main: the shard, if any; tagged: counts and rejected rows."""
        partition, blocks = group
        signs.work_for(self._target.staging)
        signs.show()
        rows, counts = new_sentences(blocks, partition, self._partitions, self._target.known)
        allowed = self._quota(partition, rows.num_rows)
        counts = {**counts, "new": allowed, "left": rows.num_rows - allowed}
        rows = rows.slice(0, allowed)
        if allowed:
            preparer = self._tools.preparer()
            shard, fewer, empty = prepare_shard(rows, partition, preparer, self._target)
            if shard:
                yield shard
            if empty:
                yield TaggedOutput("rejected", pack(self._rejects(rows, empty)))
                counts |= {"rejected_no_tokens": len(empty), "new": allowed + fewer["new"]}
            monitoring.RECORDS_REJECTED.inc(len(empty))
            monitoring.SENTENCES_NEW.inc(counts["new"])
        yield TaggedOutput("counts", counts)

    def _quota(self, partition: int, rows: int) -> int:
        """This partition's share of the limit: partitions are equal ranges of a hash."""
        if self._limit is None:
            return rows
        upto = [self._limit * (partition + step) // self._partitions for step in (0, 1)]
        return min(rows, upto[1] - upto[0])

    def _rejects(self, rows: pa.Table, empty: list[int]) -> pa.Table:
        texts, sources = rows["text"], rows["source"]
        return rejects_table(
            [
                reject(
                    (-1, texts[index].as_py()),
                    sources[index].as_py(),
                    Reason.NO_TOKENS,
                    self._target.run_id,
                )
                for index in empty
            ]
        )


@beam.typehints.with_output_types(dict)
class EmbedShards(beam.DoFn):
    """From a prepared shard to its part; a part that an earlier try finished is left alone."""

    def __init__(self, tools: Tools, target: Target, token_budget: int) -> None:
        self._tools = tools
        self._target = target
        self._token_budget = token_budget
        self._shared = Shared()

    def process(self, shard: Shard, judged: Counts) -> Iterator[Record]:
        """Yield the part's record; `judged` is only waited for."""
        signs.work_for(self._target.staging)
        record = record_of(shard, self._target)
        if record is not None:
            yield {**record, "kept": True}
            return
        teacher = self._shared.acquire(self._tools.load_teacher, tag=self._tools.files.digest)
        budget = token_budget(teacher, self._token_budget)
        record = embed_shard(shard, teacher, self._target, budget)
        monitoring.SENTENCES_EMBEDDED.inc(shard.rows)
        monitoring.TOKENS.inc(record["tokens"])
        monitoring.PADDED_TOKENS.inc(record["padded_tokens"])
        monitoring.SHARD_ROWS.update(shard.rows)
        monitoring.SHARD_MILLISECONDS.update(round(1000 * record["seconds"]))
        yield {**record, "kept": False}


def commit_run(
    counts: Counts,
    records: list[Record],
    tools: Tools,
    target: Target,
    inputs: Sequence[InputFile],
) -> int:
    """Make all parts of a run visible in one commit; returns the version.

    Raises:
        ValueError: if an input file changed during the run.
        RetryLater: if another run committed meanwhile, since it may have had the same sentences.
    """
    schema = target.schema(tools.files.width)
    base = target.base_version
    check_unchanged(inputs)
    try:
        return store.commit(
            target.location,
            schema.append(tables.INGEST_DATE),
            sorted((part_of(record) for record in records), key=lambda part: part.path),
            run_id=target.run_id,
            fingerprint=target.fingerprint,
            summary={**_summary(counts, records, tools, target), **provenance(inputs)},
            after=NOT_THERE if base is None else base,
        )
    except store.Overtaken as error:
        raise RetryLater(
            f"{error}; run it again, it will only do what the other run did not"
        ) from error


def _summary(
    counts: Counts, records: list[Record], tools: Tools, target: Target
) -> dict[str, object]:
    """What a run says of itself, in numbers."""
    tokens, padded, seconds = (
        sum(record[name] for record in records) for name in ("tokens", "padded_tokens", "seconds")
    )
    size = sum(part_of(record).size for record in records)
    kept = {name: round(one.explained, 4) for name, one in target.projections().items()}
    return {
        "job": "teacher",
        "teacher": tools.files.name,
        "teacher_bytes": tools.files.size,
        "teacher_parameters": tools.files.parameters,
        "date": target.date,
        **{
            name: counts.get(name, 0)
            for name in ("sentences", "distinct", "new", "reused", "forgotten", "left")
        },
        **{name: number for name, number in counts.items() if name.startswith("rejected_")},
        "quarantined": counts["quarantined"],
        "parts": len(records),
        "parts_kept_from_earlier_try": sum(bool(record["kept"]) for record in records),
        "bytes": size,
        "tokens": tokens,
        "teacher_seconds": round(seconds, 1),
        "tokens_per_second": round(tokens / max(seconds, 1e-9)),
        "padding_share": round(1 - tokens / max(padded, 1), 4),
        **({"variance_kept": kept} if kept else {}),
        **plan.rest(counts.get("left", 0), counts.get("new", 0), seconds, size),
    }
