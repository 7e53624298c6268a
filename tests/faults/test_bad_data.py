"""A teacher that gives nonsense, and text that is none: what is in no other test of bad input."""

import functools
import re
import resource
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from distill_jobs.preflight import sample
from distill_jobs.reader import row_groups
from pipelines import teacher
from pipelines.embedding import Teacher
from schemas import parts, store
from schemas.store import open_store
from schemas.text import sentence_id
from schemas.vectors import open_decoder
from tests.faults.kit import Child, Job, summary_of

pytestmark = pytest.mark.faults

NONSENSE = {
    "NaN": lambda vectors: vectors * np.float32("nan"),
    "infinity": lambda vectors: vectors * np.float32("inf"),
    "zero": lambda vectors: vectors * 0,
    "one row of zeros": lambda vectors: np.concatenate([vectors[:-1], vectors[-1:] * 0]),
    "too wide": lambda vectors: np.concatenate([vectors, vectors[:, :1]], axis=1),
    "too narrow": lambda vectors: vectors[:, :-1],
    "constant": lambda vectors: vectors * 0 + 1,
}


def spoil_vectors(kind: str) -> None:
    """In a child: let the teacher give other vectors than it should."""
    vectors = Teacher.vectors

    def spoiled(self, *batch):
        found = vectors(self, *batch)
        return {pooling: NONSENSE[kind](one) for pooling, one in found.items()}

    Teacher.vectors = spoiled


@pytest.mark.parametrize("kind", [one for one in NONSENSE if one != "constant"])
def test_vectors_that_cannot_be_right_end_the_job_before_anything_is_written(
    kind, job_flags, matrix, tmp_path
):
    matrix.rows(13)
    flags = job_flags("teacher", tmp_path / "out")
    ended = Job(tmp_path, "teacher", flags, first=functools.partial(spoil_vectors, kind)).end()
    assert ended.status == 65, ended.told
    told = "its config.json says 16" if kind.startswith("too") else "NaN, infinite or zero"
    assert told in ended.told
    assert not store.exists(tmp_path / "out")
    assert not list(tmp_path.glob("out/**/*.parquet"))


def test_vectors_that_are_all_the_same_are_found_before_a_training(job_flags, matrix, tmp_path):
    matrix.rows(13)
    flags = job_flags("teacher", tmp_path / "out")
    first = functools.partial(spoil_vectors, "constant")
    assert Job(tmp_path, "teacher", flags, first=first).end().status == 0
    opened = open_store(tmp_path / "out")
    with pytest.raises(ValueError, match="all 12 idf vectors sampled are the same"):
        sample(row_groups(opened), open_decoder(opened, "idf"))


@pytest.mark.parametrize("content", [b"", b"\n\n \t\n"], ids=["empty", "blank lines"])
@pytest.mark.parametrize("job", ["idf", "teacher"])
def test_a_corpus_without_a_sentence_is_an_error_and_leaves_no_table(
    content, job, job_flags, matrix, tmp_path
):
    matrix.rows(14)
    (tmp_path / "none.txt").write_bytes(content)
    flags = [*job_flags(job, tmp_path / "out"), "--corpus", tmp_path / "none.txt"]
    ended = Job(tmp_path, job, flags).end()
    assert ended.status == 65, ended.told
    assert "the corpus is empty: no sentence in it" in ended.told
    assert not store.exists(tmp_path / "out")
    assert not list(tmp_path.glob("out/**/*.parquet"))


def embed_and_measure(flags: list[str]) -> None:
    """In a child: run the teacher job, and print by how many MiB the memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    teacher.main(flags)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(f"\ngrown by {grown // 1024} MiB\n")


LONG = {
    "10 MB in a line": "好" * 3_500_000,
    "a million words in a line": "天气 " * 1_000_000,
    "a million tokens without a space": "hongkong" * 125_000,
    "2,048 characters": "好" * 2048,
}


@pytest.mark.parametrize("what", LONG)
def test_a_line_of_any_length_is_cut_or_quarantined_in_little_memory(
    what, job_flags, matrix, tmp_path
):
    matrix.rows(15)
    (tmp_path / "long.txt").write_text(f"{LONG[what]}\n今天天气怎么样\n", encoding="utf-8")
    flags = job_flags("teacher", tmp_path / "out")
    flags += ["--corpus", tmp_path / "long.txt", "--max-bad-fraction", 1]
    ended = Child(tmp_path, embed_and_measure, list(map(str, flags))).end()
    assert ended.status == 0, ended.told
    (grown,) = map(int, re.findall(r"grown by (\d+) MiB", ended.told))
    assert grown < 250
    rows = rows_of(tmp_path / "out")
    kept = what == "2,048 characters"
    assert len(rows) == 1 + kept
    assert max(row["n_tokens"] for row in rows) == (64 if kept else 9)
    assert len(rows_of(tmp_path / "out.quarantine")) == 1 - kept
    matrix.count(most_mebibytes_grown=grown)


def rows_of(location: Path) -> list[dict[str, object]]:
    if not store.exists(location):
        return []
    opened = open_store(location)
    return [row for part in opened.parts for row in parts.read(opened.path_of(part)).to_pylist()]


ENCODINGS = {
    "UTF-16": "今天天气怎么样\n明天会下雨吗\n".encode("utf-16"),
    "overlong": b"\xc0\xaf\xe0\x80\xaf\n" * 3,
    "surrogates as CESU-8": b"\xed\xa0\xbd\xed\xb8\x8a\n" * 3,
    "latin-1": "caf\xe9 cr\xe8me\n".encode("latin-1") * 3,
    "beyond Unicode": b"\xf4\x90\x80\x80\n" * 3,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("job", ["idf", "teacher"])
def test_a_file_that_is_no_utf8_ends_the_job_and_is_in_the_quarantine(
    encoding, job, job_flags, matrix, tmp_path
):
    matrix.rows(16)
    (tmp_path / "other.txt").write_bytes(ENCODINGS[encoding])
    flags = [*job_flags(job, tmp_path / "out"), "--corpus", tmp_path / "other.txt"]
    ended = Job(tmp_path, job, flags).end()
    assert ended.status == 65, ended.told
    assert "records are bad" in ended.told
    assert not store.exists(tmp_path / "out")
    rows = rows_of(tmp_path / "out.quarantine")
    assert len(rows) >= 2
    assert {row["reason"] for row in rows} <= {"invalid_utf8", "nul", "blank"}


ODD = [
    *("今天\u2028天气", "今天\u2029天气", "今天\u0085天气", "今天\u000b天气", "今天\u000c天气"),
    *("\u202e今天天气", "今\u200b天天气", "👨\u200d👩\u200d👧今天", "今天\t天气", "\ufeff今天气"),
    *(
        "\u0007今天天气",
        "今天\x1b[31m天气",
        "今天\ufffd",
        "𠮷野家",
        "e\u0301cole",
        "＇ｏｒ＇１＝１",
    ),
]


def test_a_line_with_odd_characters_is_one_sentence_with_a_stable_id(job_flags, matrix, tmp_path):
    matrix.rows(17)
    (tmp_path / "odd.txt").write_bytes(b"\r\n".join(one.encode() for one in ODD))
    runs = []
    for name in ("once", "again"):
        flags = [*job_flags("teacher", tmp_path / name), "--corpus", tmp_path / "odd.txt"]
        ended = Job(tmp_path, "teacher", flags).end()
        assert ended.status == 0, ended.told
        summary = summary_of(ended)
        assert summary["sentences"] == len(ODD)
        rows = rows_of(tmp_path / name)
        assert len(rows) == summary["distinct"] == summary["new"]
        assert all(row["sentence_id"] == sentence_id(row["text"]) for row in rows)
        assert not [
            row["text"] for row in rows if set("\r\n\x0b\x0c\x85\u2028\u2029") & set(row["text"])
        ]
        runs.append({row["sentence_id"]: row["text"] for row in rows})
    assert runs[0] == runs[1]
    matrix.count(odd_lines=len(ODD))


def test_a_file_that_is_given_twice_or_is_there_twice_counts_once(
    job_flags, corpus, matrix, tmp_path
):
    matrix.rows(18)
    shutil.copy(corpus, tmp_path / "copy.txt")
    given = {
        "once": [corpus],
        "named twice": [corpus, corpus],
        "by name and pattern": [corpus, corpus.parent / "*.txt"],
        "as a copy": [corpus, tmp_path / "copy.txt"],
    }
    found = {}
    for name, files in given.items():
        flags = [*job_flags("teacher", tmp_path / name), "--corpus", *files]
        ended = Job(tmp_path, "teacher", flags).end()
        assert ended.status == 0, ended.told
        summary = summary_of(ended)
        assert (summary["distinct"], summary["new"]) == (12, 12)
        assert summary["sentences"] == (26 if name == "as a copy" else 13)
        rows = sorted(rows_of(tmp_path / name), key=lambda row: row["sentence_id"])
        found[name] = [(row["sentence_id"], row["text"]) for row in rows]
    assert len({str(rows) for rows in found.values()}) == 1


def test_a_store_of_another_tokenizer_is_refused_naming_it(
    job_flags, tiny_teacher, matrix, tmp_path
):
    matrix.rows(22)
    assert Job(tmp_path, "teacher", job_flags("teacher", tmp_path / "out")).end().status == 0
    before = open_store(tmp_path / "out")
    other = shutil.copytree(tiny_teacher, tmp_path / "other")
    path = other / "tokenizer.json"
    text = path.read_text(encoding="utf-8")
    assert '"lowercase": true' in text
    path.write_text(text.replace('"lowercase": true', '"lowercase": false'), encoding="utf-8")
    flags = [*job_flags("teacher", tmp_path / "out"), "--teacher", other, "--date", "2026-01-02"]
    ended = Job(tmp_path, "teacher", flags).end()
    assert ended.status == 65, ended.told
    assert "was made under other conditions: tokenizer is " in ended.told
    assert open_store(tmp_path / "out") == before
