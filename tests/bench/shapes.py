"""Models of given shapes with random weights, in folders: size and speed depend on nothing else."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import transformers
from onnxruntime.quantization import quantize_dynamic

from distill_jobs.backends import FILES
from distill_jobs.checkpoint import save_tensors
from distill_jobs.onnx_export import write_onnx
from distill_jobs.reader import Batch
from distill_jobs.student import Student
from distill_jobs.student_config import preset
from distill_jobs.tokens import TokenPreparer
from schemas.fingerprint import file_digest, seal
from schemas.weights import weighted_pool

VOCABULARY, WIDTH = 21_128, 768
TEACHERS = {
    "BERT-base": {},
    "6 layers": {"num_hidden_layers": 6},
    "rbt3": {"num_hidden_layers": 3},
    "TinyBERT-4": {"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200},
}
"""What differs from BERT-base: DistilBERT's 6 layers, HFL's rbt3, TinyBERT's small one."""


def write_teacher(folder: Path, name: str, preparer) -> Path:
    """A teacher with the students' tokenizer, for torch and ONNX Runtime."""
    torch.manual_seed(0)
    shape = transformers.BertConfig(vocab_size=VOCABULARY, **TEACHERS[name])
    transformers.BertModel(shape).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(preparer.tokenizer_json, encoding="utf-8")
    some = torch.ones(2, 5, dtype=torch.int64)
    names = {"input_names": ["ids", "mask"], "output_names": ["states"]}
    axes = {name: {0: "B", 1: "T"} for name in ("ids", "mask")}
    states = States(folder).eval()
    exact = folder / FILES["onnx"]
    torch.onnx.export(states, (some, some), exact, **names, dynamic_axes=axes, dynamo=False)
    quantize_dynamic(exact, folder / FILES["onnx-int8"])
    return folder


class States(torch.nn.Module):
    """Token states of a BERT: what is exported to ONNX."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.bert = transformers.BertModel.from_pretrained(folder, attn_implementation="eager")

    def forward(self, ids, mask):
        return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state


def write_student(folder: Path, kind: str, pooling: str, preparer) -> Path:
    """A student as `distill_jobs.export` writes it, for a teacher of BERT-base's shape."""
    shape = preset(kind, vocabulary=VOCABULARY, width=WIDTH, pooling=pooling)
    student = Student(shape).eval()
    folder.mkdir()
    if pooling == "idf":
        preparer.save(folder.absolute())
    else:
        TokenPreparer(preparer.tokenizer_json, preparer.max_tokens).save(folder)
    save_tensors(student.state_dict(), folder / FILES["torch"])
    card = {
        "model_type": "ltd_student",
        "student_config": dataclasses.asdict(shape),
        "backends": write_onnx(student, folder, [two_sentences()]),
        "sha256": file_digest(folder / FILES["torch"]),
    }
    (folder / "config.json").write_text(json.dumps(seal(card)))
    return folder


def two_sentences() -> Batch:
    """For `write_onnx`, which compares its files on some."""
    weights_BT = torch.full((2, 4), 0.25)
    return Batch(torch.arange(8).reshape(2, 4), weights_BT, torch.zeros(2, 1), 2, 2)


def torch_teacher(teacher, preparer):
    """Function from texts and batch size to vectors, as the teacher job makes them."""

    def encode(texts, size):
        for batch in _batches(preparer.prepare(texts), size):
            ids = [one.token_ids for one in batch]
            teacher.vectors(ids, [one.weights for one in batch], ["idf"])

    return encode


def onnx_teacher(path: Path, preparer, threads: int):
    """The same by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def encode(texts, size):
        for batch in _batches(preparer.prepare(texts), size):
            shape = (len(batch), len(batch[0].token_ids))
            ids_BT, mask_BT = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            weights_BT = np.zeros(shape, np.float32)
            for row, one in enumerate(batch):
                length = len(one.token_ids)
                ids_BT[row, :length], weights_BT[row, :length] = one.token_ids, one.weights
                mask_BT[row, :length] = 1
            weighted_pool(session.run(None, {"ids": ids_BT, "mask": mask_BT})[0], weights_BT)

    return encode


def _batches(prepared, size):
    longest_first = sorted(prepared, key=lambda one: -len(one.token_ids))
    return [longest_first[at : at + size] for at in range(0, len(prepared), size)]
