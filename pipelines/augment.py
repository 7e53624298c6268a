"""Job: corpus -> table of variants of its sentences, each with the id of the one it came from.

ranges -> distinct sentences, tagged -> frequent words of each part of speech -> variants -> parts.
The steps are in `augment_steps`, what they draw is in `schemas.variants`. A core tags 500 to 700
sentences of 30 characters a second, and draws 10 variants of 2,000 (2026-11-21).
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import apache_beam as beam
import tyro
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsSingleton, PCollection
from apache_beam.transforms.combiners import ToList

from pipelines import signs
from pipelines.attempt import Attempt, carry_out
from pipelines.augment_steps import (
    WORDS_A_TAG,
    DrawVariants,
    TagSentences,
    WriteVariants,
    keep_frequent,
)
from pipelines.inputs import InputFile, check_unchanged, provenance
from pipelines.reading import Inputs, plan_ranges
from pipelines.running import beam_options
from pipelines.sentences import Counts, Quarantine, ReadSentences, total
from pipelines.workers import check_workers
from schemas import parts, store, tables
from schemas.command import redact, run_job
from schemas.commits import Commit
from schemas.fingerprint import digest
from schemas.parts import Part
from schemas.tags import TAGGER
from schemas.text import CLEANING
from schemas.variants import LONGEST, Rules
from schemas.words import segmenter

_SENTENCES_A_PARTITION = 10_000  # a quarter of a minute of one core to tag


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Write variants of a corpus's sentences: words masked or replaced, cut to n-grams.

    The rules, and the chances by default, are those of Distilled BiLSTM (arXiv 1903.12136).
    """

    corpus: tuple[str, ...]
    """Files: paths, globs or URLs; .txt, .jsonl, .tsv or .parquet, compressed or not."""
    out: str
    """Folder of the table to create."""
    fields: tuple[str, ...] = ("text",)
    """Text fields of jsonl, tsv and Parquet records."""
    variants: int = 20
    """To draw of each sentence; those equal to it or to each other are dropped."""
    seed: int = 0
    """Of all draws."""
    mask: float = 0.1
    """Chance of a word to become the mask token."""
    replace: float = 0.1
    """Chance of a word to become another of its part of speech, by its frequency in the corpus."""
    ngram: float = 0.25
    """Chance of a variant to be cut to 1 to 5 words that stand together."""
    mask_token: str = "[MASK]"
    """As the teacher's tokenizer writes it."""
    user_dictionary: Path | None = None
    """Words for the segmenter, in jieba's format."""
    max_bad_fraction: float = 0.01
    """Fail when a larger share of the records is not text."""
    stall_minutes: float = 30
    """On a cluster: end with 75 after so long without a sign of the workers, the job cancelled; 0
    waits for ever."""
    runner_options: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        self.rules()
        if not 0 <= self.max_bad_fraction <= 1:
            raise ValueError(f"max_bad_fraction must be 0 to 1, got {self.max_bad_fraction}")

    def rules(self) -> Rules:
        """The part that says how variants are drawn."""
        names = (field.name for field in dataclasses.fields(Rules))
        return Rules(**{name: getattr(self, name) for name in names})


def main(argv: Sequence[str]) -> None:
    """Read the flags and augment."""
    run_job(AugmentConfig, argv, augment)


def augment(config: AugmentConfig) -> dict[str, object]:
    """Run the job, or find that it has been run.

    Returns:
        The summary: sentences, variants drawn, dropped by reason and written; `reused` if nothing
        was done.

    Raises:
        ValueError: on bad data.
        FileExistsError: if the table holds variants of something else.
    """
    options = beam_options(config.runner_options)
    inputs = plan_ranges(config.corpus, config.fields)
    fingerprint = {
        "cleaning": CLEANING,
        "segmenter": segmenter(config.user_dictionary).name,
        "tagger": TAGGER,
        "words_a_tag": f"{WORDS_A_TAG}",
        "longest_ngram": f"{LONGEST}",
        **{name: str(value) for name, value in dataclasses.asdict(config.rules()).items()},
    }
    run_id = digest([fingerprint, inputs.identity, config.fields])
    target = _Target(config.out, fingerprint, run_id, inputs.files)
    done = store.committed(config.out, run_id)
    reused = done is not None
    if done is None:
        done = _write(config, inputs, target, options)
    # Also after a run that was killed between its commit and this.
    parts.remove_folder(target.staging)
    parts.tidy(config.out)
    parts.tidy(f"{config.out}.quarantine")
    return _told(config, done, reused=reused)


def _write(
    config: AugmentConfig, inputs: Inputs, target: "_Target", options: PipelineOptions
) -> Commit:
    """Run the pipeline; returns its commit."""
    if store.exists(config.out):
        raise FileExistsError(
            f"{config.out} holds variants of other files or settings; give another --out"
        )
    parts.check_writable(config.out)
    check_workers(options, [inputs.files[0].path], config.out, config.stall_minutes)
    attempt = Attempt(
        job="augment",
        out=config.out,
        run_id=target.run_id,
        inputs=inputs.files,
        stall_minutes=config.stall_minutes,
    )
    return carry_out(attempt, build(config, inputs, target, options))


def _told(config: AugmentConfig, done: Commit, *, reused: bool) -> dict[str, object]:
    """The summary of a run as it is printed."""
    place = {"table": redact(config.out), "version": done.version}
    return {**done.summary, **place, "reused": reused}


@dataclasses.dataclass(frozen=True)
class _Target:
    """Where the table goes and under what name."""

    location: str
    fingerprint: dict[str, str]
    run_id: str
    inputs: tuple[InputFile, ...]

    @property
    def staging(self) -> str:
        """Where workers show that they work."""
        return signs.staging_of(self.location, self.run_id)


def build(
    config: AugmentConfig, inputs: Inputs, target: _Target, options: PipelineOptions
) -> beam.Pipeline:
    """Wire the pipeline: no variant is drawn before the corpus is judged and counted."""
    partitions = max(1, inputs.sentences // _SENTENCES_A_PARTITION)
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
    judged = _judged(read, target, config.max_bad_fraction)
    tagged = (
        read.sentences
        | "ToPartitions" >> beam.GroupByKey()
        | "TagSentences"
        >> beam.ParDo(TagSentences(config.user_dictionary, target.staging)).with_outputs(
            "counts", "tagged", main="words"
        )
    )
    frequent = keep_frequent(tagged.words, judged)
    drawn = tagged.tagged | "DrawVariants" >> beam.ParDo(
        DrawVariants(config.rules(), partitions, target.staging), AsSingleton(frequent)
    ).with_outputs("counts", main="variants")
    written = (
        drawn.variants
        | "ToParts" >> beam.GroupByKey()
        | "WriteVariants"
        >> beam.ParDo(WriteVariants(target.location)).with_outputs("counts", main="parts")
    )
    records = written.parts | "Parts" >> ToList()
    _ = (
        (judged, tagged.counts, drawn.counts, written.counts)
        | "AllCounts" >> beam.Flatten()
        | "Total" >> beam.CombineGlobally(total)
        | "Commit" >> beam.Map(_commit, AsSingleton(records), target)
    )
    return pipeline


def _judged(read: Any, target: _Target, max_bad_fraction: float) -> PCollection[Counts]:
    """What was read, counted, once the rejects are safe; fails if they are too many."""
    quarantine = Quarantine(f"{target.location}.quarantine", target.run_id, max_bad_fraction)
    held = (
        read.rejected | "Rejected" >> ToList() | "CommitQuarantine" >> beam.Map(quarantine.commit)
    )
    judged: PCollection[Counts] = (
        read.counts
        | "TotalRead" >> beam.CombineGlobally(total)
        | "Judge" >> beam.Map(_judge, AsSingleton(held), quarantine)
    )
    return judged


def _judge(counts: Counts, held: int, quarantine: Quarantine) -> Counts:
    """Let a run with few bad records pass, once its rejects are safe; adds their number."""
    return {**quarantine.judge(counts), "quarantined": held}


def _commit(counts: Counts, written: list[Part], target: _Target) -> int:
    """Make all parts visible in one commit; returns the version.

    Raises:
        ValueError: if there is no variant, or an input file changed during the run.
    """
    if not written:
        raise ValueError(
            f"none of {counts['drawn']} variants says what its sentence does not: the sentences "
            "are too few or too short, or the chances too small"
        )
    check_unchanged(target.inputs)
    summary = {
        "job": "augment",
        **counts,
        "duplicates": counts["sentences"] - counts["distinct"],
        "parts": len(written),
        **provenance(target.inputs),
    }
    return store.commit(
        target.location,
        tables.VARIANTS,
        sorted(written, key=lambda part: part.path),
        run_id=target.run_id,
        fingerprint=target.fingerprint,
        summary=summary,
    )
