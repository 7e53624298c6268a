"""What the tests of compression share: small students with random weights, and their exports."""

import dataclasses
import json

import numpy as np
import torch

from distill_jobs.checkpoint import save_tensors
from distill_jobs.compress.fidelity import random_sentences
from distill_jobs.onnx_export import write_onnx
from distill_jobs.student import Student, parameters
from distill_jobs.student_config import StudentConfig
from distill_jobs.tokens import TokenPreparer
from schemas.fingerprint import file_digest, seal
from schemas.idf import IdfTable
from schemas.prepare import Preparer
from schemas.words import segmenter

WIDTH = 16
KINDS = {
    "bilstm": {"kind": "bilstm", "embedding": 8},
    "bilstm, projected": {"kind": "bilstm", "embedding": 8, "hidden": 6},
    "bilstm, learned": {"kind": "bilstm", "embedding": 8, "hidden": 6, "pooling": "learned"},
    "bilstm, pruned": {"kind": "bilstm", "embedding": 8, "kept": 60, "pooling": "mean"},
    "static": {"kind": "static", "embedding": 0},
    "static, learned": {"kind": "static", "embedding": 12, "pooling": "learned"},
    "transformer": {
        **{"kind": "mini-transformer", "embedding": 8, "hidden": 16, "layers": 2},
        **{"pooling": "mean"},
    },
}


def make_student(kind="bilstm", vocabulary=130, **changed) -> Student:
    """One of `KINDS` with random weights, offset and scale."""
    torch.manual_seed(0)
    shape = {**KINDS[kind], "vocabulary": vocabulary, "width": WIDTH, **changed}
    student = Student(StudentConfig(**shape)).eval()
    student.offset.normal_()
    student.scale.fill_(2.0)
    if student.rows is not None:
        student.keep(range(10, 10 + student.config.kept))
    return student


def vectors(student, batches=None):
    """Of sentences of random tokens."""
    with torch.inference_mode():
        found = [
            student.vectors(one.ids_BT, one.weights_BT).numpy()
            for one in batches or random_sentences(student.config)
        ]
    return np.concatenate(found)


def idf_table(texts) -> IdfTable:
    """A table of the words of some texts."""
    words = segmenter(None)
    counts: dict[str, int] = {}
    for text in texts:
        for word in set(words.words(text)):
            counts[word] = counts.get(word, 0) + 1
    return IdfTable.from_counts(counts, len(texts), segmenter=words.name)


def write_export(folder, student, tokenizer_json, texts):
    """What ``python -m distill_jobs export`` would write for a student."""
    folder.mkdir()
    if student.config.pooling == "idf":
        Preparer(tokenizer_json, segmenter(None), idf_table(texts)).save(folder)
    else:
        TokenPreparer(tokenizer_json, 128).save(folder)
    weights = folder / "model.safetensors"
    save_tensors(student.state_dict(), weights)
    about = {
        **{"model_type": "ltd_student", "export_id": "0", "sha256": file_digest(weights)},
        **{"student_config": dataclasses.asdict(student.config), "student": student.config.kind},
        **{"hidden": student.config.width, "pooling": "idf", "objective": "mse"},
        **{"parameters": parameters(student), "file_bytes": weights.stat().st_size},
        "backends": write_onnx(student, folder, random_sentences(student.config)),
        "validation": {"spearman": 0.9, "cosine": 0.9, "unexplained": 0.2},
        **{"idf_words": 1, "idf_sentences": 1, "unknown_rate": 0.0},
        **{"store": str(folder / "no store"), "store_version": 0, "store_rows": 300},
        **{"teacher_name": "t", "teacher_bytes": 1, "teacher_parameters": 1},
    }
    (folder / "config.json").write_text(json.dumps(seal(about)), encoding="utf-8")
    return folder
