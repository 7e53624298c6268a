"""Tables: every column says what it means, and the page about them says the same."""

from pathlib import Path

import pyarrow as pa
import pytest

from schemas import tables
from schemas.text import Reason

DOCS = Path(__file__).parents[1] / "docs" / "tables.md"
TEACHER = tables.teacher_schema(tables.POOLINGS, 768)
ALL = {
    "idf": tables.IDF,
    "quarantine": tables.QUARANTINE,
    "evaluation": tables.EVALUATION,
    "variants": tables.VARIANTS,
    "teacher": TEACHER.append(tables.INGEST_DATE),
}


@pytest.mark.parametrize("name", ALL)
def test_every_column_says_what_it_means_and_is_never_null(name):
    for field in ALL[name]:
        assert field.metadata[b"doc"], field.name
        assert b"unit" in field.metadata
        assert not field.nullable


@pytest.mark.parametrize("name", ALL)
def test_a_column_that_counts_or_measures_has_a_unit(name):
    wordless = {"value", "norm"}
    for field in ALL[name]:
        if pa.types.is_integer(field.type) and field.name not in wordless | {"offset"}:
            assert field.metadata[b"unit"], field.name


def test_the_page_about_tables_is_the_generated_one():
    assert DOCS.read_text("utf-8") == tables.tables_markdown(), "run: make docs"


def test_the_page_names_every_column_of_every_table():
    lines = tables.tables_markdown().splitlines()
    for name, schema in ALL.items():
        assert f"## {name}" in lines
        for field in schema:
            assert any(line.startswith(f"| `{field.name}` |") for line in lines), field.name


def test_each_pooling_is_a_vector_column_that_tells_its_width():
    schema = tables.teacher_schema(("mean", "cls"), 768)
    assert [name for name in schema.names if name.startswith("vector")] == [
        "vector_mean",
        "vector_cls",
    ]
    assert schema.field("vector_cls").metadata[b"width"] == b"768"


@pytest.mark.parametrize(("dtype", "type"), [("float32", pa.float32()), ("float16", pa.float16())])
def test_vectors_are_lists_of_numbers_that_are_not_null(dtype, type):
    field = tables.teacher_schema(("idf",), 4, dtype).field("vector_idf")
    assert field.type == pa.list_(pa.field("element", type, nullable=False))


def test_the_key_is_the_first_column():
    assert TEACHER.names[0] == "sentence_id"
    assert tables.IDF.names[0] == "word"


def test_text_can_be_left_out():
    without = tables.teacher_schema(("idf",), 4, text=False)
    assert set(tables.teacher_schema(("idf",), 4).names) - set(without.names) == {"text"}


@pytest.mark.parametrize(
    ("poolings", "dtype", "rule"),
    [
        (("max",), "float32", "poolings must be some of idf, mean, cls, got .'max'."),
        ((), "float32", "poolings must be some of idf, mean, cls, got"),
        (("idf",), "int4", "vector dtype must be one of float32, float16, int8, got 'int4'"),
    ],
)
def test_an_unknown_pooling_or_dtype_is_refused(poolings, dtype, rule):
    with pytest.raises(ValueError, match=rule):
        tables.teacher_schema(poolings, 4, dtype)


def test_reasons_are_words_for_people():
    assert all(reason.replace("_", "").isalnum() and reason.islower() for reason in Reason)
