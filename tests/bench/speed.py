"""Size and speed of students beside teachers of several shapes, text in -> vector out.

    make bench-speed

Teachers and students have random weights (`tests.bench.shapes`), the sentences are real. Teachers
are timed as the teacher job runs them: same preparation, sorted batches, no padding to a fixed
length. Each cell is of calls in rounds taken in turn, so that a noisy neighbour hits all models
alike. With one thread processor time is taken: by the clock a neighbour stretches the long calls
most, which flatters the students.

Writes speed.md, speed.json and speed.png.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import tyro

from distill_jobs.backends import FILES
from distill_jobs.encoder import SentenceEncoder
from distill_jobs.student_config import KINDS
from pipelines.embedding import Teacher, find_teacher
from schemas.prepare import load_preparer
from tests.bench.picture import draw, qualities
from tests.bench.shapes import TEACHERS, onnx_teacher, torch_teacher, write_student, write_teacher
from tests.bench.timing import Contestant, markdown, measure

# Every kind as LTD-BERT pools, by each backend; without words, where they differ, as served.
STUDENTS = (
    *((kind, "idf", backend) for kind in KINDS for backend in FILES),
    *((kind, "learned", "onnx-int8") for kind in KINDS),
    ("static", "mean", "onnx-int8"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """Measure students against teachers of BERT-base's and smaller shapes."""

    preparer: Path
    """Folder of an exported student that pools by IDF: its tokenizer and IDF table are used."""
    sentences: Path
    """Text file with a sentence a line."""
    out: Path
    """Folder for the table, the rows and the picture."""
    evaluation: str | None = None
    """Table "evaluation" of a report: students named KIND or KIND-POOLING give the quality."""
    threads: tuple[int, ...] = (1, 2)
    """Processor threads."""
    rounds: int = 3
    """Times that each measurement is taken."""
    calls: int = 64
    """Sentences for a teacher in each round; students get 16 times as many."""


def teachers(folder: Path, preparer, threads: int) -> list[Contestant]:
    found = []
    for name in TEACHERS:
        place = folder / name
        if not place.exists():
            write_teacher(place, name, preparer)
        files = find_teacher(str(place))
        for dtype, size in (("float32", files.size), ("bfloat16", files.size // 2)):
            encode = torch_teacher(Teacher(files, dtype), preparer)
            found.append(Contestant(name, "", f"torch {dtype}", size, encode))
        for backend in ("onnx", "onnx-int8"):
            path = place / FILES[backend]
            encode = onnx_teacher(path, preparer, threads)
            found.append(Contestant(name, "", backend, path.stat().st_size, encode))
    return found


def students(folder: Path, preparer, threads: int) -> list[Contestant]:
    found = []
    for kind, pooling, backend in STUDENTS:
        place = folder / f"{kind} {pooling}"
        if not place.exists():
            write_student(place, kind, pooling, preparer)
        encoder = SentenceEncoder.load(place, backend, threads)
        size = encoder.card["file_bytes"]
        found.append(Contestant(kind, pooling, backend, size, encoder.encode, times=16))
    return found


def run(config: SpeedConfig) -> list[dict[str, object]]:
    """One row per model, batch size and number of threads."""
    lines = config.sentences.read_text(encoding="utf-8").splitlines()
    texts = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]
    preparer = load_preparer(config.preparer)
    with tempfile.TemporaryDirectory() as folder:
        found = [run_with(one, Path(folder), preparer, texts, config) for one in config.threads]
    return [row for rows in found for row in rows]


def run_with(threads: int, folder: Path, preparer, texts, config) -> list[dict[str, object]]:
    """All models are in memory at once, so that they take turns: 6 GB."""
    models = teachers(folder, preparer, threads) + students(folder, preparer, threads)
    torch.set_num_threads(threads)
    amount = config.rounds, config.calls
    return [row for batch in (1, 64) for row in measure(models, texts, (threads, batch), amount)]


def main(config: SpeedConfig) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    rows = run(config)
    (config.out / "speed.json").write_text(json.dumps(rows, indent=1))
    (config.out / "speed.md").write_text(markdown(rows))
    draw(rows, qualities(config.evaluation), config.out / "speed.png")
    sys.stdout.write(markdown(rows))


if __name__ == "__main__":
    main(tyro.cli(SpeedConfig))
