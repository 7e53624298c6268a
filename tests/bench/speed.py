"""Size and speed of exported students beside a BERT-base-shaped teacher, text in -> vector out.

    python -m tests.bench.speed --student work/demo/bilstm --sentences work/demo/sample/corpus.txt

The teacher and the students of its width have random weights: size and speed depend on the shape
only. The teacher is timed as the teacher job runs it: same preparation, sorted batches, no padding
to a fixed length. Each cell is the median of rounds taken in turn, so that a noisy neighbour hits
all models alike.
"""

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers
import tyro

from distill_jobs.encoder import SentenceEncoder
from distill_jobs.student import Student, StudentConfig, parameters
from pipelines.embedding import Teacher, find_teacher
from schemas.prepare import load_preparer


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """Measure students against a BERT-base-shaped teacher."""

    student: tuple[Path, ...]
    """Folders of exported students."""
    sentences: Path
    """Text file with a sentence a line."""
    threads: tuple[int, ...] = (1, 2)
    """Processor threads."""
    rounds: int = 3
    """Times that each measurement is taken."""
    teacher_sentences: int = 64
    """Sentences for the teacher in each round; students get 16 times as many."""


def make_teacher(folder: Path, preparer_folder: Path) -> Path:
    """A model of BERT-base-Chinese's shape with random weights and the students' tokenizer."""
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(vocab_size=21_128))
    model.save_pretrained(folder)
    tokenizer = (preparer_folder / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    return folder


def make_student(preparer, kind: str, embedding: int) -> SentenceEncoder:
    """A student for a teacher of BERT-base's shape, with random weights."""
    shape = StudentConfig(kind=kind, vocabulary=21_128, width=768, embedding=embedding)
    student = Student(shape)
    return SentenceEncoder(student, preparer, {"file_bytes": 4 * parameters(student)})


def teacher_encode(teacher, preparer, texts, size):
    """Texts to vectors, as the teacher job does it, in batches of `size` sentences."""
    prepared = preparer.prepare(texts)
    lengths = np.array([len(one.token_ids) for one in prepared])
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        ids = [prepared[i].token_ids for i in batch]
        teacher.vectors(ids, [prepared[i].weights for i in batch], ["idf"])


def seconds_of(encode, texts, size):
    """Seconds per sentence."""
    began = time.perf_counter()
    if size == 1:
        for text in texts:
            encode([text], 1)
    else:
        encode(texts, size)
    return (time.perf_counter() - began) / len(texts)


def measure(config: SpeedConfig) -> list[dict[str, object]]:
    """One row per model, precision, batch size and number of threads."""
    lines = config.sentences.read_text(encoding="utf-8").splitlines()
    texts = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]
    preparer = load_preparer(config.student[0])
    encoders = {
        "bilstm 768, embedding 128": make_student(preparer, "bilstm", 128),
        "bilstm 768, embedding 180": make_student(preparer, "bilstm", 180),
        "static 768": make_student(preparer, "static", 768),
        **{f"demo {path.name}": SentenceEncoder.load(path) for path in config.student},
    }
    with tempfile.TemporaryDirectory() as folder:
        files = find_teacher(str(make_teacher(Path(folder), config.student[0])))
        teachers = {f"BERT-base {kind}": Teacher(files, kind) for kind in ("float32", "bfloat16")}
    models = {
        name: (lambda t, size, one=one: teacher_encode(one, preparer, t, size), files.size, 1)
        for name, one in teachers.items()
    }
    for name, encoder in encoders.items():
        size = encoder.card["file_bytes"]
        models[name] = (lambda t, size, one=encoder: one.encode(t, size), size, 16)
    rows = []
    for threads in config.threads:
        torch.set_num_threads(threads)
        for batch in (1, 64):
            rows += _cells(models, texts, (threads, batch), config)
    return rows


def _cells(models, texts, setting, config):
    threads, batch = setting
    taken = {name: [] for name in models}
    for turn in range(config.rounds + 1):
        for name, (encode, _, times) in models.items():
            some = texts[: config.teacher_sentences * times]
            found = seconds_of(encode, some if turn else some[:batch], batch)
            if turn:
                taken[name].append(found)
    base = statistics.median(taken["BERT-base float32"])
    return [
        {
            "model": name,
            "threads": threads,
            "batch": batch,
            "us_per_sentence": round(statistics.median(taken[name]) * 1e6, 1),
            "sentences_per_second": round(1 / statistics.median(taken[name]), 1),
            "times_faster": round(base / statistics.median(taken[name]), 1),
            "megabytes": round(size / 1e6, 1),
        }
        for name, (_, size, _) in models.items()
    ]


def markdown(rows) -> str:
    """The rows as a table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    found = measure(tyro.cli(SpeedConfig))
    sys.stdout.write(markdown(found))
    sys.stderr.write(json.dumps(found) + "\n")
