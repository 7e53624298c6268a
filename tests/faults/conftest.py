"""What a fault test tells the table of docs/reliability.md, by way of the JUnit report."""

from pathlib import Path

import pytest


class Matrix:
    """Rows of the matrix that a test is about, and what it counted."""

    def __init__(self, record) -> None:
        self._record = record

    def rows(self, *numbers: int) -> None:
        """Say first of all which rows these are, so that a failure is seen in them."""
        for number in numbers:
            self._record("matrix_row", number)

    def count(self, **counts: int) -> None:
        """What was tried: crash_points=34."""
        for name, number in counts.items():
            self._record(f"count: {name.replace('_', ' ')}", number)


@pytest.fixture
def matrix(record_property) -> Matrix:
    return Matrix(record_property)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, sentences) -> Path:
    """Twelve sentences, one of them twice, and a line that is none."""
    path = tmp_path_factory.mktemp("corpus") / "twelve.txt"
    lines = [*sentences[:12], sentences[0]]
    path.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    return path


@pytest.fixture(scope="session")
def job_flags(corpus, small_idf, tiny_teacher):
    """Function (job, out) -> flags of a job on that corpus, in four shards."""

    def flags(job: str, out: Path) -> list[object]:
        common = ["--corpus", corpus, "--out", out, "--max-bad-fraction", 0.1]
        if job == "idf":
            return common
        of_teacher = ["--idf", small_idf, "--teacher", tiny_teacher, "--date", "2026-01-01"]
        return [*common, *of_teacher, "--dtype", "float32", "--rows-per-part", 3]

    return flags
