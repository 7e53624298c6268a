"""What Beam costs: processor time of both pipelines over that of plain loops doing the same.

    python -m tests.bench.overhead --corpus 'data/*.txt.gz' --teacher path/to/teacher

Each figure is the median ratio of rounds in which loop and pipeline take turns in one process.
"""

import contextlib
import dataclasses
import gzip
import io
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from glob import glob
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import tyro

from pipelines.embedding import Teacher, embed, find_teacher, resolve_dtype
from pipelines.idf import IdfConfig, count_idf
from pipelines.teacher import TeacherConfig, embed_corpus
from schemas import parts
from schemas.idf import IdfTable
from schemas.prepare import Preparer, read_tokenizer
from schemas.text import read_line, sentence_id
from schemas.words import segmenter


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverheadConfig:
    """Compare pipelines with plain loops."""

    corpus: tuple[str, ...]
    """Compressed text files."""
    teacher: str
    """Folder of a teacher."""
    sentences: int = 20_000
    """Sentences for the teacher."""
    rounds: int = 3
    """Times that each comparison is made."""


def lines_of(patterns):
    """The cleaned lines of gzip files."""
    for path in sorted(chain.from_iterable(map(glob, patterns))):
        with io.BufferedReader(gzip.open(path), 1 << 20) as file:
            for raw in file:
                text, reason = read_line(raw)
                if reason is None:
                    yield text


def plain_idf(config: OverheadConfig, distinct: bool) -> tuple[int, Counter]:
    """Number of sentences and document frequencies, by one loop."""
    words, counts, seen, number = segmenter().words, Counter(), set(), 0
    for text in lines_of(config.corpus):
        if distinct:
            key = sentence_id(text)
            if key in seen:
                continue
            seen.add(key)
        number += 1
        counts.update(set(words(text)))
    return number, counts


def pipeline_idf(config: OverheadConfig, distinct: bool) -> tuple[int, Counter]:
    """The same by the pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/idf"
        count_idf(IdfConfig(corpus=config.corpus, out=out, deduplicate=distinct))
        table = IdfTable.load(out)
    return table.n_docs, Counter(dict(zip(table.words.to_pylist(), table.df.tolist(), strict=True)))


def plain_teacher(corpus: Path, idf: str, teacher: str) -> int:
    """Prepare everything, sort by length, embed, write one file; returns its rows."""
    files = find_teacher(teacher)
    preparer = Preparer(read_tokenizer(files.folder), segmenter(), IdfTable.load(idf))
    model = Teacher(files, resolve_dtype("auto"))
    texts = sorted({line for line in corpus.read_text(encoding="utf-8").splitlines() if line})
    prepared = preparer.prepare(texts)
    ids, weights = [one.token_ids for one in prepared], [one.weights for one in prepared]
    embedded = embed(model, ids, weights, ["idf"], 2048)
    columns = {
        "sentence_id": [sentence_id(text) for text in texts],
        "text": texts,
        "token_ids": ids,
        "weights": weights,
        "vector": list(embedded.vectors["idf"]),
    }
    with tempfile.TemporaryDirectory() as folder:
        return parts.write(pa.table(columns).sort_by("sentence_id"), folder, "plain.parquet").rows


def pipeline_teacher(corpus: Path, idf: str, teacher: str) -> int:
    """The same by the pipeline; returns the rows committed."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        summary = embed_corpus(
            TeacherConfig(
                corpus=(str(corpus),),
                idf=idf,
                teacher=teacher,
                out=f"{folder}/t",
                date="2026-01-01",
            )
        )
    return int(summary["new"])


def compare(plain: Callable, pipeline: Callable, rounds: int) -> dict[str, float]:
    """Median ratio of processor time; both must give the same."""
    taken = {plain: [], pipeline: []}
    for _ in range(rounds):
        results = []
        for job in (plain, pipeline):
            began = time.process_time()
            results.append(job())
            taken[job].append(time.process_time() - began)
        assert results[0] == results[1]
    ratios = [b / a for a, b in zip(taken[plain], taken[pipeline], strict=True)]
    return {
        "plain_cpu_seconds": round(statistics.median(taken[plain]), 2),
        "pipeline_cpu_seconds": round(statistics.median(taken[pipeline]), 2),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def main(config: OverheadConfig) -> dict[str, object]:
    """Compare all three."""
    found: dict[str, object] = {}
    for name, distinct in (("idf", False), ("idf, distinct sentences", True)):
        found[name] = compare(
            lambda distinct=distinct: plain_idf(config, distinct),
            lambda distinct=distinct: pipeline_idf(config, distinct),
            config.rounds,
        )
    with tempfile.TemporaryDirectory() as folder:
        texts = list(lines_of(config.corpus))
        some = np.random.default_rng(0).permutation(len(texts))[: config.sentences]
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("\n".join(texts[i] for i in some) + "\n", encoding="utf-8")
        idf = f"{folder}/idf"
        count_idf(IdfConfig(corpus=(str(corpus),), out=idf))
        found["teacher"] = compare(
            lambda: plain_teacher(corpus, idf, config.teacher),
            lambda: pipeline_teacher(corpus, idf, config.teacher),
            config.rounds,
        )
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(tyro.cli(OverheadConfig)), indent=2) + "\n")
