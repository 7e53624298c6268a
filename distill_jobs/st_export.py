"""Job: exported student -> a folder that sentence-transformers loads without our code.

README.md         the model card, for sentence-transformers
ltd_student.json  the card of the export, and the sha256 of every file
the others        see `distill_jobs.st_folder`
"""

import dataclasses
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_jobs.encoder import SentenceEncoder, read_card
from distill_jobs.export_folder import aside, load_student
from distill_jobs.model_card import model_card
from distill_jobs.st_folder import check_expressible, write_sentence_transformers
from schemas.command import run_job
from schemas.fingerprint import file_digest, read_sealed, seal

CARD = "ltd_student.json"
TOLERANCE = 1e-5
"""Greatest distance of a vector from ours, in shares of its length."""

_SENTENCES = [
    *("今天北京天气怎么样？", "明天會下雨嗎", "帮我订一张iPhone 15 Pro的发货单", "ＡＢＣ　１２３"),
    *("😀👍🏽🎉", "cafe\u0301", "\ufeff 今天\u200b天气\t怎么样\r\n", "[SEP]今天[MASK]"),
    *("", "   ", "今天天气" * 1250),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StExportConfig:
    """Write an exported student as a folder that sentence-transformers loads without our code."""

    student: Path
    """Folder of the exported student; it pools by mean, or is static and pools by learned."""
    out: Path
    """Folder to create."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and write the folder."""
    run_job(StExportConfig, argv, export_st)


def export_st(config: StExportConfig) -> dict[str, object]:
    """Write the folder, and compare its vectors with ours if sentence-transformers is installed.

    Returns:
        The files' sha256; the greatest distance of a vector from ours in shares of its length, None
        if it could not be measured; `reused` if the folder held this very student already.

    Raises:
        FileNotFoundError: if there is no such export.
        FileExistsError: if the output folder holds something else.
        ValueError: if sentence-transformers has no modules for the student, the export has changed,
            or the vectors differ.
    """
    card = read_card(config.student)
    if config.out.exists():
        return {**_held(config.out, card), "reused": True}
    with aside(config.out) as folder:
        summary = _write(config.student, card, folder)
    return {**summary, "reused": False}


def _held(out: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    held = read_sealed(out / CARD) if (out / CARD).is_file() else {}
    if held.get("student", {}).get("export_id") != card["export_id"]:
        raise FileExistsError(f"{out} holds something else; give another --out")
    for name, sha256 in held["sha256"].items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{out / CARD} names {name!r}, which is not in the folder")
        if not (out / name).is_file() or file_digest(out / name) != sha256:
            raise ValueError(f"{out / name} has changed since it was written: delete {out}")
    return {"sha256": held["sha256"], "distance": held["distance"]}


def _write(source: Path, card: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Fill the folder; returns the summary."""
    student = load_student(source, card)
    check_expressible(student)
    ours = SentenceEncoder.load(source, "torch")  # which also finds changed files
    tokenizer_json = (source / "tokenizer.json").read_text(encoding="utf-8")
    max_tokens = read_sealed(source / "preparer.json")["max_tokens"]
    write_sentence_transformers(student, tokenizer_json, max_tokens, folder)
    distance = None
    if importlib.util.find_spec("sentence_transformers"):
        distance = greatest_distance(folder, ours)
        if distance > TOLERANCE:
            raise ValueError(f"vectors differ from ours by {distance:.2g} of their length")
    (folder / "README.md").write_text(st_model_card(card), encoding="utf-8")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    summary = {
        "sha256": {path.relative_to(folder).as_posix(): file_digest(path) for path in paths},
        "distance": distance,
    }
    about = json.dumps(seal({"student": card, **summary}), indent=2, ensure_ascii=False)
    (folder / CARD).write_text(about, encoding="utf-8")
    return summary


def greatest_distance(folder: Path, ours: SentenceEncoder) -> float:
    """How far sentence-transformers' vectors are from ours, in shares of their length, at most.

    Args:
        folder: of `write_sentence_transformers`.
        ours: the same student.
    """
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    expected = ours.encode(_SENTENCES)
    found = model.encode(_SENTENCES, show_progress_bar=False)
    off = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return float(f"{off.max():.2g}")


def st_model_card(card: Mapping[str, Any]) -> str:
    """The README of the folder: the export's, with how to load this one.

    Args:
        card: of the export.

    Raises:
        ValueError: if the export is older than ONNX files.
    """
    if "backends" not in card:
        raise ValueError("the export was made before exports had ONNX files: export again")
    _, front, text = model_card(card).split("---\n", 2)
    front += "library_name: sentence-transformers\ntags:\n- sentence-transformers\n"
    front += "- sentence-similarity\n- feature-extraction\n- distillation\n"
    text = re.sub(r"\| file \|.*?\n\n", "", text, flags=re.DOTALL)
    text = re.sub(r"```python\n.*?```\n", lambda _: _USAGE, text, flags=re.DOTALL)
    return f"---\n{front}---\n{text}"


_USAGE = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("this folder")
vectors = model.encode(["今天天气怎么样", "明天会下雨吗"])
```

It takes sentence-transformers 6.0 or newer, and no code of its own. `ltd_student.json` has the card
of the export that this folder was made from, and the sha256 of its files.
"""
