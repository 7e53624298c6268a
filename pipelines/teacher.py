"""Job: corpus -> teacher store. Only sentences that the store does not have are embedded.

ranges -> sentences by range of id -> distinct, new, prepared shards (CPU) -> parts (GPU) -> commit.
The steps themselves are in `teacher_steps`, what they do in `shards` and `embedding`.
"""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import apache_beam as beam
import tyro
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms.combiners import ToList

from pipelines import plan
from pipelines.attempt import Attempt, carry_out
from pipelines.embedding import find_teacher, resolve_dtype
from pipelines.fitting import projected
from pipelines.progress import Progress
from pipelines.reading import Inputs, plan_ranges
from pipelines.running import beam_options
from pipelines.sentences import Quarantine, ReadSentences, total
from pipelines.shards import Target, join_small
from pipelines.teacher_steps import EmbedShards, PrepareShards, Tools, commit_run, judge
from pipelines.workers import check_workers
from schemas import parts, store, tables
from schemas.command import redact, run_job
from schemas.commits import Commit
from schemas.fingerprint import digest
from schemas.prepare import preparer_folder


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
    """What the store holds: float32, float16 for stores that only training reads, or int8."""
    pca: int = 0
    """Store this many principal components of each vector, fitted before a store's first run to
    8,192 sentences, by the process that submits it; training restores the vectors. 0: all of it."""
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
    """Beam resource hint of the embedding step: type:nvidia-l4;count:1;install-nvidia-driver."""
    min_ram: str | None = None
    """Beam resource hint of the embedding step, such as 16GB."""
    plan: bool = False
    """Only print what the run would cost, from a probe of 1,000 sentences."""
    stall_minutes: float = 30
    """On a cluster: end with 75 after so long without a sign of the workers, the job cancelled; 0
    waits for ever."""
    runner_options: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if datetime.date.fromisoformat(self.date).isoformat() != self.date:
            raise ValueError(f"date must be written YYYY-MM-DD, got {self.date!r}")
        tables.teacher_schema(self.pooling, 1, self.vector_dtype)
        least = {"max_tokens": 3, "rows_per_part": 3, "limit": 1, "token_budget": 0, "pca": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} must be at least {bound}, got {value}")
        if not 0 <= self.max_bad_fraction <= 1:
            raise ValueError(f"max_bad_fraction must be 0 to 1, got {self.max_bad_fraction}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and embed."""
    run_job(TeacherConfig, argv, embed_corpus)


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
    if config.plan:
        return plan.estimate(inputs, tools.preparer(), tools.load_teacher(), config, tools.dtype)
    target = aim(config, tools, inputs)
    done = store.committed(config.out, target.run_id)
    already_done = done is not None
    if done is None:
        parts.check_writable(config.out)
        seen = inputs.files[0].path, config.idf, str(tools.files.folder)
        check_workers(options, seen, config.out, config.stall_minutes)
        tools.preparer().save(preparer_folder(config.out, target.fingerprint))
        done = _embed(config, inputs, tools, target, options)
    # Also after a run that was killed between its commit and this.
    parts.remove_folder(target.staging)
    beside = preparer_folder(config.out, target.fingerprint)
    for location in (config.out, f"{config.out}.quarantine", beside):
        parts.tidy(location)
    place = {"store": redact(config.out), "version": done.version}
    return {**done.summary, **place, "already_done": already_done}


def _embed(
    config: TeacherConfig, inputs: Inputs, tools: Tools, target: Target, options: PipelineOptions
) -> Commit:
    """Run the pipeline, watched; returns its commit."""
    attempt = Attempt(
        job="teacher",
        out=config.out,
        run_id=target.run_id,
        inputs=inputs.files,
        tables={config.idf: tools.idf_version},
        stall_minutes=config.stall_minutes,
    )
    with Progress(target.staging, "sentences"):
        return carry_out(attempt, build(config, inputs, tools, target, options))


def aim(config: TeacherConfig, tools: Tools, inputs: Inputs) -> Target:
    """What the run writes, on top of which version, and under which id.

    Raises:
        ValueError: if the store was made under other conditions, naming the part that differs.
    """
    fingerprint = {
        **tools.preparer().fingerprint,
        "teacher": tools.files.digest,
        "poolings": ",".join(config.pooling),
        "dtype": tools.dtype,
        "vector_dtype": config.vector_dtype,
        "keep_text": str(config.keep_text),
    }
    fingerprint |= projected(config, tools, inputs, fingerprint)
    base = last = None
    identity = [fingerprint, inputs.identity, config.fields, config.date, config.limit]
    if store.exists(config.out):
        opened = store.open_store(config.out, expected=fingerprint)
        # A damaged footer could hide sentences that are there, and they would be added once more.
        opened.verify()
        base, last = opened.version, opened.commits[-1].version
        # What `store repair` had to give up is missing again, so the same command is another run.
        identity += [c.run_id for c in opened.commits if c.summary.get("given_up_rows")]
    run_id = digest(identity)
    if config.limit is not None:
        # A limited run goes on where the last one stopped, so each one is another run.
        run_id = digest([run_id, last])
    return Target(
        location=config.out,
        run_id=run_id,
        date=config.date,
        base_version=base,
        fingerprint=fingerprint,
        poolings=config.pooling,
        vector_dtype=config.vector_dtype,
        keep_text=config.keep_text,
    )


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
    options: PipelineOptions,
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
        >> beam.ParDo(ReadSentences(partitions, target.run_id, target.staging)).with_outputs(
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
        | "Rejected" >> ToList()
        | "CommitQuarantine" >> beam.Map(quarantine.commit)
    )
    counts = (
        (read.counts, prepared.counts)
        | "AllCounts" >> beam.Flatten()
        | "Total" >> beam.CombineGlobally(total)
        | "Judge" >> beam.Map(judge, AsSingleton(held), quarantine)
    )
    embed_step = beam.ParDo(EmbedShards(tools, target, config.token_budget), AsSingleton(counts))
    records = (
        prepared.shards
        | "AllShards" >> ToList()
        | "JoinSmall" >> beam.FlatMap(join_small, config.rows_per_part)
        | "SpreadShards" >> beam.Reshuffle()
        | "EmbedShards" >> embed_step.with_resource_hints(**resource_hints(config))
        | "Records" >> ToList()
    )
    _ = counts | "Commit" >> beam.Map(commit_run, AsSingleton(records), tools, target, inputs.files)
    return pipeline


def resource_hints(config: TeacherConfig) -> dict[str, str]:
    """Beam's resource hints for the step that needs the accelerator."""
    hints = {"accelerator": config.accelerator, "min_ram": config.min_ram}
    return {name: value for name, value in hints.items() if value}
