"""How long a process takes until its first vector, and how much memory it then holds.

    python -m tests.bench.start --preparer work/demo/bilstm

Every measurement is a process of its own, the kinds in turn; medians. The first turn, which reads
the files from the disk, does not count.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from schemas.prepare import load_preparer

_REPORT = """
import json, resource, time
with open("/proc/self/status") as file:
    held = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
print(json.dumps({"at": time.time(), "processor": time.process_time(), "MB": held / 1e3}))
"""
_STUDENT = """
from distill_jobs.encoder import SentenceEncoder
SentenceEncoder.load(FOLDER, BACKEND, threads=1).encode(["今天天气怎么样？"])
"""
_TEACHER = """
import torch, transformers
torch.set_num_threads(1)
model = transformers.AutoModel.from_pretrained(FOLDER).eval()
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=FOLDER + "/tokenizer.json")
with torch.inference_mode():
    ids = torch.tensor([tokenizer("今天天气怎么样？")["input_ids"]])
    model(ids).last_hidden_state.mean(dim=1)
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartConfig:
    """Measure how encoders start."""

    preparer: Path
    """Folder of an exported student that pools by IDF: its tokenizer and IDF table are used."""
    kind: str = "bilstm-small"
    """Of the student."""
    rounds: int = 5
    """Processes of each."""


def programs(folder: Path, config: StartConfig) -> dict[str, str]:
    """Name -> code that makes one vector; the models are written first."""
    from tests.bench.shapes import write_student, write_teacher

    preparer = load_preparer(config.preparer)
    found = {"nothing but NumPy": "import numpy"}
    for pooling in ("learned", "idf"):
        place = write_student(folder / pooling, config.kind, pooling, preparer)
        for backend in ("onnx-int8", "torch"):
            code = _STUDENT.replace("FOLDER", repr(str(place))).replace("BACKEND", repr(backend))
            found[f"{config.kind}, {pooling}, {backend}"] = code
    teacher = write_teacher(folder / "teacher", "BERT-base", preparer)
    return {**found, "BERT-base, torch": _TEACHER.replace("FOLDER", repr(str(teacher)))}


def start(code: str) -> tuple[float, float, float]:
    """Seconds by the clock, seconds of processor time, MB held."""
    began = time.time()
    command = [sys.executable, "-c", code + _REPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    return told["at"] - began, told["processor"], told["MB"]


def main(config: StartConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        codes = programs(Path(folder), config)
        taken = {name: [] for name in codes}
        for turn in range(config.rounds + 1):
            for name, code in codes.items():
                found = start(code)
                if turn:
                    taken[name].append(found)
    sys.stdout.write(
        "| process | s to the first vector | s of processor time | MB |\n|---|---|---|---|\n"
    )
    for name, rows in taken.items():
        clock, processor, held = (statistics.median(column) for column in zip(*rows, strict=True))
        sys.stdout.write(f"| {name} | {clock:.2f} | {processor:.2f} | {held:.0f} |\n")


if __name__ == "__main__":
    main(tyro.cli(StartConfig))
