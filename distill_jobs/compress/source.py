"""An export folder, and perhaps a file of sentences -> what the verbs compress."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from distill_jobs.backends import FILES
from distill_jobs.compress.fidelity import Sentences, read_sentences
from distill_jobs.student import Student
from distill_jobs.student_config import StudentConfig
from distill_jobs.tokens import load_tokens
from distill_jobs.vocabulary import Counts, token_counts
from schemas.idf import IdfTable
from schemas.prepare import load_preparer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compression:
    """What every verb is told."""

    student: Path
    """Folder of the exported student."""
    out: Path
    """Folder to create."""
    sentences: Path | None = None
    """Text file, a sentence a line, of which up to 2,048 tell how alike the vectors still are."""


@dataclasses.dataclass(frozen=True)
class Source:
    """An export that is to be compressed."""

    folder: Path
    card: Mapping[str, Any]
    student: Student
    path: Path | None
    """Of the sentences."""

    @functools.cached_property
    def sentences(self) -> Sentences:
        """Real sentences.

        Raises:
            ValueError: if none were given.
        """
        if self.path is None:
            raise ValueError("--sentences is needed: a text file, a sentence a line")
        return read_sentences(self.path, prepare_of(self.folder, self.card))

    def counts(self, idf: str | None) -> Counts | None:
        """How often each token occurs, by a given IDF table or else the export's own, if any."""
        own = self.folder / "idf.parquet"
        if idf is None and not own.exists():
            return None
        tokenizer_json = (self.folder / "tokenizer.json").read_text(encoding="utf-8")
        return token_counts(tokenizer_json, IdfTable.load(idf or own))


def load_student(folder: Path, card: Mapping[str, Any]) -> Student:
    """The student of an export.

    Raises:
        FileNotFoundError: if its weights in float32 were left out.
    """
    path = folder / FILES["torch"]
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {path.name}, which compressing needs")
    student = Student(StudentConfig(**card["student_config"])).eval()
    student.load_state_dict(safetensors.torch.load_file(path))
    return student


def prepare_of(folder: Path, card: Mapping[str, Any]) -> Callable[..., Any]:
    """What turns texts into tokens and weights for an export."""
    pooling = card["student_config"].get("pooling", "idf")
    return (load_preparer(folder) if pooling == "idf" else load_tokens(folder)).prepare
