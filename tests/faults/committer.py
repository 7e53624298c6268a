"""A program that writes one part and commits it: small enough to be stopped at every system call.

python -m tests.faults.committer --out STORE --run r2 --text 乙
"""

import dataclasses
import sys
from collections.abc import Sequence

import pyarrow as pa

from schemas import parts, store, tables
from schemas.command import run_job
from schemas.text import sentence_id

FINGERPRINT = {"tokenizer": "a1", "teacher": "t1"}
COLUMNS = tables.teacher_schema(("idf",), 2)
SCHEMA = COLUMNS.append(tables.INGEST_DATE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommitConfig:
    """Commit one sentence, as a job commits its parts."""

    out: str
    """Folder of the store."""
    run: str
    """Run id."""
    text: str
    """The sentence."""


def commit_sentence(config: CommitConfig) -> dict[str, object]:
    """What a job does around its work: look whether it can write, write, commit, tidy up."""
    parts.check_writable(config.out)
    part = write_part(config.out, config.run, config.text)
    version = commit_part(config.out, config.run, part)
    parts.tidy(config.out)
    return {"version": version}


def write_part(out: str, run: str, text: str) -> parts.Part:
    """Write the sentence's part."""
    path = f"ingest_date=2026-01-01/part-{run}.parquet"
    return parts.write(table_of(text), out, path)


def commit_part(out: str, run: str, part: parts.Part, after: int | None = None) -> int:
    """Commit the part; returns the version."""
    about = {"fingerprint": FINGERPRINT, "summary": {"run": run}}
    return store.commit(out, SCHEMA, [part], run_id=run, after=after, **about)


def table_of(*texts: str) -> pa.Table:
    """Rows of a teacher part, sorted by id."""
    rows = [
        {
            "sentence_id": sentence_id(text),
            "text": text,
            "source": "test",
            "n_tokens": 3,
            "token_ids": [2, 7, 3],
            "weights": [0.0, 1.0, 0.0],
            "vector_idf": [1.0, float(len(text))],
            "norm": 1.0,
        }
        for text in texts
    ]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["sentence_id"]), schema=COLUMNS)


def main(argv: Sequence[str]) -> None:
    """Read the flags and commit."""
    run_job(CommitConfig, argv, commit_sentence)


if __name__ == "__main__":
    main(sys.argv[1:])
