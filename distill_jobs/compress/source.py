"""An export folder, and perhaps a file of sentences -> what the verbs compress."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_jobs.compress.fidelity import Sentences, read_sentences
from distill_jobs.encoder import preparer_of
from distill_jobs.student import Student
from distill_jobs.vocabulary import Counts, token_counts
from schemas.idf import IdfTable


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
        return read_sentences(self.path, preparer_of(self.folder, self.card).prepare)

    def counts(self, idf: str | None) -> Counts | None:
        """How often each token occurs, by a given IDF table or else the export's own, if any."""
        own = self.folder / "idf.parquet"
        if idf is None and not own.exists():
            return None
        tokenizer_json = (self.folder / "tokenizer.json").read_text(encoding="utf-8")
        return token_counts(tokenizer_json, IdfTable.load(idf or own))
