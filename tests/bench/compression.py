"""Post-training compression: what each verb, setting and chain costs and gives, for one student.

    python -m tests.bench.compression --student work/student --sentences texts.txt --out work/small

Every variant is made by its verb, in a folder of its own, and served by the backend that is chosen
unasked. Times are of a text to its vector, processor time of one thread, medians of rounds taken in
turn. Cosines and neighbours are to the uncompressed student in float32; where vectors became
shorter, after the linear map back that fits best.
"""

import dataclasses
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import tyro

from distill_jobs.compress.bits import BitsConfig, store_in_bits
from distill_jobs.compress.dimensions import DimensionsConfig, shorten
from distill_jobs.compress.fidelity import likeness
from distill_jobs.compress.rank import RankConfig, factorise
from distill_jobs.compress.sparsity import SparsityConfig, sparsify
from distill_jobs.compress.static_int8 import StaticInt8Config, quantise
from distill_jobs.compress.units import UnitsConfig, prune
from distill_jobs.compress.vocabulary import VocabularyConfig
from distill_jobs.compress.vocabulary import prune as prune_vocabulary
from distill_jobs.encoder import SentenceEncoder

VARIANTS = (
    *("vocabulary 4000", "vocabulary 2000", "vocabulary 1000"),
    *("rank 96", "rank 64", "rank 32"),
    *("units 96", "units 64", "units 64 random", "units 32"),
    *("dimensions 128", "dimensions 64", "dimensions 64 random", "dimensions 32"),
    *("sparsity 0.5", "sparsity 0.5 random", "sparsity 0.5 tensor", "sparsity 0.8"),
    *("bits 16", "bits 8", "bits 4", "bits 2", "bits 2 128", "bits auto", "bits auto 0.99"),
    *("static-int8 minmax", "static-int8 entropy", "static-int8 percentile"),
    *("vocabulary 4000, dimensions 64, bits 4", "vocabulary 4000, rank 96, bits 4"),
    *("vocabulary 4000, units 64, bits 4", "vocabulary 4000, bits auto 0.99"),
    *("vocabulary 4000, rank 96, units 64, dimensions 64, bits 4", "vocabulary 4000, bits 2 128"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompressionBench:
    """Measure every verb on one export."""

    student: Path
    """Folder of the exported student."""
    sentences: Path
    """Text file with a sentence a line."""
    out: Path
    """Folder for the compressed exports; those that are there are used again."""
    idf: str | None = None
    """IDF table for vocabulary and rank, if the export has none."""
    variants: tuple[str, ...] = VARIANTS
    """Steps, joined by commas."""
    rounds: int = 5
    """Times that each is measured."""
    tasks: Path | None = None
    """Labelled sets, and with it --teacher-store: print the command that scores all variants."""
    teacher_store: str | None = None


def make(config: CompressionBench, steps: tuple[str, ...]) -> Path:
    """The folder of a chain of steps, each made from the one before."""
    if not steps:
        return config.student
    before = make(config, steps[:-1])
    out = config.out / "+".join(step.replace(" ", "-") for step in steps)
    about = {"student": before, "out": out, "sentences": config.sentences}
    verb, *words = steps[-1].split()
    _do(verb, words, about, {} if config.idf is None else {"idf": config.idf})
    return out


def _do(verb, words, about, idf):
    how = {"random": {"by": "random"}, "tensor": {"scope": "tensor"}}.get(words[-1], {})
    match verb:
        case "vocabulary":
            prune_vocabulary(VocabularyConfig(**about, **idf, keep=int(words[0])))
        case "rank":
            factorise(RankConfig(**about, **idf, rank=int(words[0])))
        case "units":
            prune(UnitsConfig(**about, **how, keep=int(words[0])))
        case "dimensions":
            shorten(DimensionsConfig(**about, **how, keep=int(words[0])))
        case "sparsity":
            sparsify(SparsityConfig(**about, **how, share=float(words[0])))
        case "bits":
            store_in_bits(BitsConfig(**about, bits=words[0], **_of_bits(words)))
        case "static-int8":
            quantise(StaticInt8Config(**about, calibration=words[0]))


def _of_bits(words):
    if len(words) == 1:
        return {}
    auto = words[0] == "auto"
    return {"least_cosine": float(words[1])} if auto else {"group": int(words[1])}


def encoders(config: CompressionBench) -> dict[str, SentenceEncoder]:
    """Every variant that this kind of student can have, ready to encode."""
    found = {
        f"none, {backend}": SentenceEncoder.load(config.student, backend)
        for backend in ("onnx", "onnx-int8")
    }
    for variant in config.variants:
        steps = tuple(step.strip() for step in variant.split(","))
        try:
            found[variant] = SentenceEncoder.load(make(config, steps))
        except ValueError as error:
            sys.stderr.write(f"left out: {variant}: {error}\n")
    return found


def alike(base: SentenceEncoder, other: SentenceEncoder, texts: list[str]) -> dict[str, float]:
    """Cosines and neighbours, of vectors taken from the mean vector."""
    before_NH, after_NK = base.encode(texts), other.encode(texts)
    offsets = base.encode([""])[0], other.encode([""])[0]
    back_KH = None
    if base.width != other.width:
        back_KH = np.linalg.lstsq(after_NK - offsets[1], before_NH - offsets[0], rcond=None)[0]
    return likeness(before_NH, after_NK, offsets, back_KH)


def times(models: dict[str, SentenceEncoder], texts: list[str], size: int, rounds: int):
    """Microseconds of processor time a sentence, of calls with `size` texts."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name, encoder in models.items():
            for start in range(0, 256, size):
                began = time.process_time()
                encoder.encode(texts[start : start + size], size)
                if turn:  # the first calls also pay for allocations
                    taken[name].append((time.process_time() - began) / size * 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


def measure(config: CompressionBench) -> list[dict[str, object]]:
    """One row per variant."""
    lines = sorted(set(config.sentences.read_text(encoding="utf-8").splitlines()) - {""})
    order = np.random.default_rng(0).permutation(len(lines))
    texts = [lines[i] for i in order[:2048]]
    models = encoders(config)
    base = next(iter(models.values()))
    alone, batched = (times(models, texts, size, config.rounds) for size in (1, 32))
    return [
        {
            "variant": name,
            "served by": encoder.card["backend"],
            "bytes": f"{encoder.card['file_bytes']:,}",
            "times smaller": round(base.card["file_bytes"] / encoder.card["file_bytes"], 1),
            "us alone": round(alone[name]),
            "us in 32": round(batched[name]),
            **alike(base, encoder, texts),
        }
        for name, encoder in models.items()
    ]


def markdown(rows: list[dict[str, object]]) -> str:
    """The rows as a table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def scoring(config: CompressionBench) -> str:
    """The command that scores the student and all its variants on labelled sets."""
    folders = {"none": config.student} | {
        path.name: path for path in sorted(config.out.iterdir()) if (path / "config.json").exists()
    }
    students = " \\\n    ".join(f"--student {name}={path}" for name, path in folders.items())
    return (
        f"python -m distill_jobs evaluate --tasks {config.tasks} "
        f"--teacher-store {config.teacher_store} --out {config.out / 'report'} \\\n    {students}\n"
    )


if __name__ == "__main__":
    asked = tyro.cli(CompressionBench)
    sys.stdout.write(markdown(measure(asked)))
    if asked.tasks and asked.teacher_store:
        sys.stdout.write(scoring(asked))
