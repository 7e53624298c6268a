"""Size and speed of students beside a BERT-base-shaped teacher, text in -> vector out.

    python -m tests.bench.speed --preparer work/demo/bilstm \\
        --sentences work/demo/sample/corpus.txt

Teacher and students have random weights: size and speed depend on the shape only. The teacher is
timed as the teacher job runs it: same preparation, sorted batches, no padding to a fixed length.
Each cell is of calls in rounds taken in turn, so that a noisy neighbour hits all models alike. With
one thread processor time is taken: by the clock a neighbour stretches the long calls most, which
flatters the students.
"""

import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import transformers
import tyro
from onnxruntime.quantization import quantize_dynamic

from distill_jobs.backends import FILES, open_backend
from distill_jobs.checkpoint import save_tensors
from distill_jobs.encoder import BATCH_SIZE, SentenceEncoder
from distill_jobs.onnx_export import write_onnx
from distill_jobs.reader import Batch
from distill_jobs.student import Student, preset
from distill_jobs.tokens import TokenPreparer
from pipelines.embedding import Teacher, find_teacher
from schemas.prepare import load_preparer
from schemas.weights import weighted_pool

STUDENTS = (
    *(("bilstm", "idf"), ("bilstm-22m", "idf"), ("bilstm-small", "idf"), ("static", "idf")),
    *(("bilstm", "mean"), ("bilstm", "learned"), ("bilstm-small", "learned"), ("static", "mean")),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """Measure students against a BERT-base-shaped teacher."""

    preparer: Path
    """Folder of an exported student that pools by IDF: its tokenizer and IDF table are used."""
    sentences: Path
    """Text file with a sentence a line."""
    threads: tuple[int, ...] = (1,)
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


class States(torch.nn.Module):
    """Token states of a BERT: what is exported to ONNX."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.bert = transformers.BertModel.from_pretrained(folder, attn_implementation="eager")

    def forward(self, ids, mask):
        return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state


def export_teacher(folder: Path) -> None:
    """The teacher in ONNX, float32 and int8, beside its other files."""
    some = torch.ones(2, 5, dtype=torch.int64)
    names = {"input_names": ["ids", "mask"], "output_names": ["states"]}
    axes = {name: {0: "B", 1: "T"} for name in ("ids", "mask")}
    exact, small = folder / "model.onnx", folder / "model.int8.onnx"
    torch.onnx.export(
        States(folder).eval(), (some, some), exact, **names, dynamic_axes=axes, dynamo=False
    )
    quantize_dynamic(exact, small)


def onnx_teacher(path: Path, preparer, threads: int):
    """Function from texts and batch size to vectors, as the teacher job pools them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def encode(texts, size):
        prepared = sorted(preparer.prepare(texts), key=lambda one: len(one.token_ids))
        for start in range(0, len(prepared), size):
            batch = prepared[start : start + size]
            shape = (len(batch), len(batch[-1].token_ids))
            ids_BT, weights_BT = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
            mask_BT = np.zeros(shape, np.int64)
            for row, one in enumerate(batch):
                length = len(one.token_ids)
                ids_BT[row, :length], weights_BT[row, :length] = one.token_ids, one.weights
                mask_BT[row, :length] = 1
            weighted_pool(session.run(None, {"ids": ids_BT, "mask": mask_BT})[0], weights_BT)

    return encode


def make_students(folder: Path, preparer, threads: int) -> dict[str, SentenceEncoder]:
    """Students for a teacher of BERT-base's shape, with random weights, by each backend."""
    lean = TokenPreparer(preparer.tokenizer_json, preparer.max_tokens)
    found = {}
    for kind, pooling in STUDENTS:
        student = Student(preset(kind, vocabulary=21_128, width=768, pooling=pooling)).eval()
        place = folder / f"{kind} {pooling}"
        if not place.exists():
            place.mkdir()
            save_tensors(student.state_dict(), place / FILES["torch"])
            write_onnx(student, place, [two_sentences()])
        card = {"student_config": dataclasses.asdict(student.config)}
        for backend, name in list(FILES.items())[: None if pooling == "idf" else 1]:
            about = {**card, "file_bytes": (place / name).stat().st_size}
            encode = open_backend(place, card, backend, threads)
            used = preparer if pooling == "idf" else lean
            found[f"{kind}, {pooling}, {backend}"] = SentenceEncoder(encode, used, about)
    return found


def two_sentences() -> Batch:
    """For `write_onnx`, which compares its files on some."""
    weights_BT = torch.full((2, 4), 0.25)
    return Batch(torch.arange(8).reshape(2, 4), weights_BT, torch.zeros(2, 1), 2, 2)


def teacher_encode(teacher, preparer, texts, size):
    """Texts to vectors, as the teacher job does it, in batches of `size` sentences."""
    prepared = preparer.prepare(texts)
    lengths = np.array([len(one.token_ids) for one in prepared])
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        ids = [prepared[i].token_ids for i in batch]
        teacher.vectors(ids, [prepared[i].weights for i in batch], ["idf"])


def seconds_of(encode, texts, size, clock):
    """Seconds per sentence, of each call with `size` texts; all models batch them alike."""
    taken = []
    for start in range(0, len(texts) - size + 1, size):
        began = clock()
        encode(texts[start : start + size], min(size, BATCH_SIZE))
        taken.append((clock() - began) / size)
    return taken


def measure(config: SpeedConfig) -> list[dict[str, object]]:
    """One row per model, batch size and number of threads."""
    lines = config.sentences.read_text(encoding="utf-8").splitlines()
    texts = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]
    preparer = load_preparer(config.preparer)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = find_teacher(str(make_teacher(Path(folder) / "teacher", config.preparer)))
        export_teacher(Path(folder) / "teacher")
        teachers = {f"BERT-base {kind}": Teacher(files, kind) for kind in ("float32", "bfloat16")}
        for threads in config.threads:
            torch.set_num_threads(threads)
            models = {
                name: (lambda t, size, one=one: teacher_encode(one, preparer, t, size), files.size)
                for name, one in teachers.items()
            }
            for name in ("model.onnx", "model.int8.onnx"):
                path = Path(folder) / "teacher" / name
                label = "onnx-int8" if "int8" in name else "onnx"
                encode = onnx_teacher(path, preparer, threads)
                models[f"BERT-base {label}"] = (encode, path.stat().st_size)
            for name, encoder in make_students(Path(folder), preparer, threads).items():
                models[name] = (encoder.encode, encoder.card["file_bytes"])
            for batch in (1, 64):
                rows += _cells(models, texts, (threads, batch), config)
    return rows


def _cells(models, texts, setting, config):
    threads, batch = setting
    clock = time.process_time if threads == 1 else time.perf_counter
    taken = {name: [] for name in models}
    for turn in range(config.rounds + 1):
        for name, (encode, _) in models.items():
            times = 1 if name.startswith("BERT") else 16
            some = texts[: config.teacher_sentences * times]
            found = seconds_of(encode, some if turn else some[:64], batch, clock)
            if turn:
                taken[name] += found
    base = statistics.median(taken["BERT-base float32"])
    return [
        {
            "model": name,
            "MB": round(size / 1e6, 1),
            "threads": threads,
            "texts a call": batch,
            "p50, us a sentence": round(statistics.median(taken[name]) * 1e6),
            "p99": round(float(np.percentile(taken[name], 99)) * 1e6) if batch == 1 else "",
            "sentences/s": round(1 / statistics.median(taken[name])),
            "times BERT-base float32": round(base / statistics.median(taken[name]), 1),
        }
        for name, (_, size) in models.items()
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
