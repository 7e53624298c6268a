"""Job: corpus -> teacher store. Only sentences that the store does not have are embedded.

ranges -> sentences by range of id -> distinct, new, prepared shards (CPU) -> parts (GPU) -> commit.
"""

import collections
import dataclasses
import datetime
import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import apache_beam as beam
import pyarrow as pa
import tyro
from apache_beam.utils.shared import Shared

from pipelines import plan
from pipelines.blocks import pack
from pipelines.embedding import Teacher, TeacherFiles, find_teacher, resolve_dtype
from pipelines.progress import Progress
from pipelines.reading import Inputs, plan_ranges
from pipelines.running import beam_options, run
from pipelines.sentences import (
    Counts,
    Quarantine,
    ReadSentences,
    reject,
    rejects_table,
    total,
)
from pipelines.shards import (
    Shard,
    Target,
    embed_shard,
    new_sentences,
    part_of,
    prepare_shard,
    record_of,
)
from schemas import parts, store, tables
from schemas.command import RetryLater, run_job
from schemas.fingerprint import digest
from schemas.idf import IdfTable
from schemas.prepare import Preparer, read_tokenizer
from schemas.text import Reason
from schemas.words import segmenter


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Write the teacher's vectors of a corpus into a store; sentences already there are skipped."""

    corpus: tuple[str, ...]
    """Files: paths, globs or URLs; .txt, .jsonl, .tsv or .parquet, compressed or not."""
    idf: str
    """Folder of the IDF table."""
    teacher: str
    """A Hugging Face encoder: its folder, or its name on the hub."""
    out: str
    """Folder of the store; created, or added to."""
    date: str
    """Logical date of this run, YYYY-MM-DD; the store is partitioned by it."""
    fields: tuple[str, ...] = ("text",)
    """Text fields of jsonl, tsv and Parquet records."""
    pooling: tuple[str, ...] = ("idf",)
    """Vectors to keep, from one pass: idf, mean, cls."""
    max_tokens: int = 128
    """Longer sentences are cut; special tokens count."""
    dtype: str = "auto"
    """What the teacher computes in: auto, float32 or bfloat16."""
    vector_dtype: str = "float32"
    """What the store holds: float32, or float16 for stores that only training reads."""
    token_budget: int = 0
    """Tokens in a batch, padding included; 0 for 2,048 on a CPU and 32,768 on a GPU."""
    rows_per_part: int = 32_768
    """About how many sentences of this corpus go into one part."""
    limit: int | None = None
    """Embed at most this many new sentences; the rest waits for the next run."""
    keep_text: bool = True
    """Store the sentences beside their vectors."""
    user_dictionary: Path | None = None
    """The user dictionary that the IDF table was made with."""
    max_bad_fraction: float = 0.01
    """Fail when a larger share of the records is not text."""
    accelerator: str | None = None
    """Beam resource hint of the embedding step, such as type:nvidia-l4;count:1;install-nvidia-driver."""
    min_ram: str | None = None
    """Beam resource hint of the embedding step, such as 16GB."""
    plan: bool = False
    """Only print what the run would cost, from a probe of 1,000 sentences."""
    runner_options: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        datetime.date.fromisoformat(self.date)
        tables.teacher_schema(self.pooling, 1, self.vector_dtype)
        for name in ("max_tokens", "rows_per_part"):
            if getattr(self, name) < 3:
                raise ValueError(f"{name} must be at least 3, got {getattr(self, name)}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and embed."""
    run_job(TeacherConfig, argv, embed_corpus)


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


def embed_corpus(config: TeacherConfig) -> dict[str, object]:
    """Run the job, or find that it has been run.

    Returns:
        The summary: new, reused and rejected rows, tokens per second, padding, what is left.

    Raises:
        ValueError: on bad data, or if the store was made under other conditions.
    """
    options = beam_options(config.runner_options)
    tools = load_tools(config)
    inputs = plan_ranges(config.corpus, config.fields)
    fingerprint = {
        **tools.preparer().fingerprint,
        "teacher": tools.files.digest,
        "poolings": ",".join(config.pooling),
        "dtype": tools.dtype,
        "vector_dtype": config.vector_dtype,
        "keep_text": str(config.keep_text),
    }
    if config.plan:
        return plan.estimate(inputs, tools.preparer(), _load(tools), config, tools.dtype)
    base = None
    if store.exists(config.out):
        base = store.open_store(config.out, expected=fingerprint).version
    run_id = digest([fingerprint, inputs.identity, config.fields, config.date, config.limit])
    if config.limit is not None:
        # A limited run goes on where the last one stopped, so each one is another run.
        run_id = digest([run_id, base])
    done = store.committed(config.out, run_id)
    if done is not None:
        return {**done.summary, "store": config.out, "version": done.version, "already_done": True}
    parts.check_writable(config.out)
    target = Target(
        location=config.out,
        run_id=run_id,
        date=config.date,
        base_version=base,
        fingerprint=fingerprint,
        poolings=config.pooling,
        vector_dtype=config.vector_dtype,
        keep_text=config.keep_text,
    )
    tools.preparer().save(f"{config.out}.preparer")
    with Progress(target.staging, "sentences"):
        run(build(config, inputs, tools, target, options))
    done = store.committed(config.out, run_id)
    assert done is not None
    parts.remove_folder(target.staging)
    parts.tidy(config.out)
    parts.tidy(f"{config.out}.quarantine")
    return {**done.summary, "store": config.out, "version": done.version, "already_done": False}


def load_tools(config: TeacherConfig) -> Tools:
    """Find the teacher and pin the IDF table's version.

    Raises:
        FileNotFoundError: if there is no such teacher or IDF table.
        ValueError: if they do not fit each other.
    """
    files = find_teacher(config.teacher)
    version = store.open_store(config.idf).version
    tokens = min(config.max_tokens, files.max_tokens)
    dtype = resolve_dtype(config.dtype)
    return Tools(files, config.idf, version, config.user_dictionary, tokens, dtype)


def build(
    config: TeacherConfig,
    inputs: Inputs,
    tools: Tools,
    target: Target,
    options: beam.options.pipeline_options.PipelineOptions,
) -> beam.Pipeline:
    """Wire the pipeline."""
    quarantine = Quarantine(f"{config.out}.quarantine", target.run_id, config.max_bad_fraction)
    expected = min(inputs.sentences, config.limit or inputs.sentences)
    partitions = max(1, round(expected / config.rows_per_part))
    pipeline = beam.Pipeline(options=options)
    read = (
        pipeline
        | "Ranges" >> beam.Create(inputs.ranges)
        | "Spread" >> beam.Reshuffle()
        | "ReadSentences"
        >> beam.ParDo(ReadSentences(partitions, target.run_id)).with_outputs(
            "counts", "rejected", main="sentences"
        )
    )
    prepared = (
        read.sentences
        | "ToPartitions" >> beam.GroupByKey()
        | "PrepareShards"
        >> beam.ParDo(PrepareShards(tools, target, partitions, config.limit)).with_outputs(
            "counts", "rejected", main="shards"
        )
    )
    held = (
        (read.rejected, prepared.rejected)
        | "AllRejected" >> beam.Flatten()
        | "Rejected" >> beam.combiners.ToList()
        | "CommitQuarantine" >> beam.Map(quarantine.commit)
    )
    counts = (
        (read.counts, prepared.counts)
        | "AllCounts" >> beam.Flatten()
        | "Total" >> beam.CombineGlobally(total)
        | "Judge" >> beam.Map(_judge, beam.pvalue.AsSingleton(held), quarantine)
    )
    embed_step = beam.ParDo(
        EmbedShards(tools, target, config.token_budget), beam.pvalue.AsSingleton(counts)
    )
    records = (
        prepared.shards
        | "SpreadShards" >> beam.Reshuffle()
        | "EmbedShards" >> embed_step.with_resource_hints(**resource_hints(config))
        | "Records" >> beam.combiners.ToList()
    )
    _ = counts | "Commit" >> beam.Map(commit_run, beam.pvalue.AsSingleton(records), tools, target)
    return pipeline


def resource_hints(config: TeacherConfig) -> dict[str, str]:
    """Beam's resource hints for the step that needs the accelerator."""
    hints = {"accelerator": config.accelerator, "min_ram": config.min_ram}
    return {name: value for name, value in hints.items() if value}


def _judge(counts: Counts, held: int, quarantine: Quarantine) -> Counts:
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
        rows, counts = new_sentences(blocks, partition, self._partitions, self._target)
        allowed = self._quota(partition, rows.num_rows)
        counts = {**counts, "new": allowed, "left": rows.num_rows - allowed}
        rows = rows.slice(0, allowed)
        if allowed:
            preparer = self._tools.preparer()
            shard, fewer, empty = prepare_shard(rows, partition, preparer, self._target)
            if shard:
                yield shard
            if empty:
                yield beam.pvalue.TaggedOutput("rejected", pack(self._rejects(rows, empty)))
                counts |= {"rejected_no_tokens": len(empty), "new": allowed + fewer["new"]}
        yield beam.pvalue.TaggedOutput("counts", counts)

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

    def process(self, shard: Shard, judged: Counts) -> Iterator[dict[str, object]]:
        """Yield the part's record; `judged` is only waited for."""
        record = record_of(shard, self._target)
        if record is not None:
            yield {**record, "kept": True}
            return
        teacher = self._shared.acquire(lambda: _load(self._tools), tag=self._tools.files.digest)
        budget = self._token_budget or (2048 if teacher.device.type == "cpu" else 32_768)
        yield {**embed_shard(shard, teacher, self._target, budget), "kept": False}


def _load(tools: Tools) -> Teacher:
    return Teacher(tools.files, tools.dtype)


def commit_run(
    counts: Counts, records: list[dict[str, object]], tools: Tools, target: Target
) -> int:
    """Make all parts of a run visible in one commit; returns the version.

    Raises:
        RetryLater: if another run committed meanwhile, since it may have had the same sentences.
    """
    if store.committed(target.location, target.run_id) is None:
        now = store.open_store(target.location).version if store.exists(target.location) else None
        if now != target.base_version:
            raise RetryLater(
                f"{target.location} went from version {target.base_version} to {now} during this "
                "run; run it again, it will only do what the other run did not"
            )
    sums: collections.Counter[str] = collections.Counter()
    for record in records:
        for name in ("tokens", "padded_tokens", "seconds"):
            sums[name] += record[name]  # type: ignore[assignment, arg-type]
    added = sorted((part_of(record) for record in records), key=lambda part: part.path)
    size = sum(part.size for part in added)
    summary: dict[str, object] = {
        "teacher": tools.files.name,
        "teacher_bytes": tools.files.size,
        "teacher_parameters": tools.files.parameters,
        "date": target.date,
        **{name: counts.get(name, 0) for name in ("sentences", "distinct", "new", "reused", "left")},
        **{name: number for name, number in counts.items() if name.startswith("rejected_")},
        "quarantined": counts["quarantined"],
        "parts": len(added),
        "parts_kept_from_earlier_try": sum(bool(record["kept"]) for record in records),
        "bytes": size,
        "teacher_seconds": round(sums["seconds"], 1),
        "tokens_per_second": round(sums["tokens"] / max(sums["seconds"], 1e-9)),
        "padding_share": round(1 - sums["tokens"] / max(sums["padded_tokens"], 1), 4),
        **plan.rest(counts.get("left", 0), counts.get("new", 0), sums["seconds"], size),
    }
    schema = tables.teacher_schema(
        target.poolings, tools.files.width, target.vector_dtype, text=target.keep_text
    )
    return store.commit(
        target.location,
        schema.append(tables.INGEST_DATE),
        added,
        run_id=target.run_id,
        fingerprint=target.fingerprint,
        summary=summary,
    )
