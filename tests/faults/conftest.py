"""What a fault test tells the table of docs/reliability.md, by way of the JUnit report."""

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
