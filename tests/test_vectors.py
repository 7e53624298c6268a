"""Vectors as a store keeps them: what comes back, how near it is, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from schemas import parts, tables, vectors
from schemas.projection import Projection
from schemas.store import open_store
from schemas.vectors import Decoder, bytes_per_vector, columns, decode, encode, open_decoder
from tests.vector_store import make_store

ROWS = np.random.default_rng(3).normal(size=(50, 8)).astype(np.float32)
# Below the smallest normal number a scale itself is coarse; no teacher gives such vectors.
NUMBERS = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False).filter(
    lambda number: number == 0 or abs(number) > 2.0**-100
)
MATRICES = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=NUMBERS
)


def table_of(vectors_NK, dtype="float32"):
    encoded = encode(vectors_NK, "idf", dtype)
    schema = tables.teacher_schema(("idf",), vectors_NK.shape[1], dtype)
    return pa.table(encoded, schema=pa.schema([schema.field(name) for name in encoded]))


@given(MATRICES)
def test_int8_is_off_by_half_a_step_of_its_row_at_most(vectors_NK):
    found_NK = decode(table_of(vectors_NK, "int8"), "idf")
    step_N1 = np.abs(vectors_NK.astype(np.float64)).max(axis=1, keepdims=True) / 127
    assert (np.abs(found_NK - vectors_NK) <= step_N1 * 0.50001).all()


@given(MATRICES)
def test_float32_comes_back_to_the_bit(vectors_NK):
    assert np.array_equal(decode(table_of(vectors_NK), "idf"), vectors_NK)


@given(MATRICES)
def test_int8_keeps_signs_and_the_largest_number_of_a_row(vectors_NK):
    found_NK = decode(table_of(vectors_NK, "int8"), "idf")
    assert (np.sign(found_NK) * np.sign(vectors_NK) >= 0).all()
    np.testing.assert_allclose(
        np.abs(found_NK).max(axis=1), np.abs(vectors_NK).max(axis=1), rtol=1e-6
    )
    turned_NK = decode(table_of(-vectors_NK, "int8"), "idf")
    assert np.array_equal(turned_NK, -found_NK)


def test_float16_is_the_nearest_half():
    expected = ROWS.astype(np.float16).astype(np.float32)
    assert np.array_equal(decode(table_of(ROWS, "float16"), "idf"), expected)


def test_a_row_of_int8_does_not_depend_on_the_other_rows():
    together = decode(table_of(ROWS, "int8"), "idf")
    alone = np.concatenate([decode(table_of(row[None], "int8"), "idf") for row in ROWS])
    assert np.array_equal(together, alone)


def test_a_row_of_zeros_stays_zeros():
    table = table_of(np.zeros((2, 3), np.float32), "int8")
    assert table["scale_idf"].to_pylist() == [0, 0]
    assert not decode(table, "idf").any()


@pytest.mark.parametrize("dtype", tables.DTYPES)
def test_slices_chunks_and_parts_decode_alike(tmp_path, dtype):
    table = table_of(ROWS, dtype)
    whole = decode(table, "idf")
    assert np.array_equal(decode(table.slice(7, 9), "idf"), whole[7:16])
    chunked = pa.concat_tables([table.slice(0, 20), table.slice(20)])
    assert np.array_equal(decode(chunked, "idf"), whole)
    assert decode(table.slice(0, 0), "idf").shape == (0, 0)
    keyed = table.add_column(0, "sentence_id", pa.array([f"{i:02}" for i in range(50)]))
    parts.write(keyed, tmp_path / "t", "a.parquet", row_group=16)
    read = parts.read(tmp_path / "t" / "a.parquet", ["sentence_id", *table.column_names])
    assert read.drop_columns("sentence_id").equals(table)
    assert np.array_equal(decode(read, "idf"), whole)


def test_what_is_decoded_may_be_written_to():
    decode(table_of(ROWS), "idf")[0, 0] = 1


def test_a_projection_is_undone():
    flat = Projection.fit(ROWS, 3)
    table = table_of(flat.project(ROWS))
    np.testing.assert_allclose(
        decode(table, "idf", flat), flat.restore(flat.project(ROWS)), rtol=1e-6
    )
    assert Decoder("idf", ("vector_idf",), flat).decode(table).shape == (50, 8)


@pytest.mark.parametrize(
    ("number", "dtype"),
    [(np.nan, "float32"), (np.inf, "int8"), (1e5, "float16"), (-np.inf, "float16")],
)
def test_a_number_that_the_type_cannot_hold_is_refused(number, dtype):
    with pytest.raises(ValueError, match=f"idf vector is NaN, infinite or too large: {dtype}"):
        encode(np.array([[1, number]], np.float32), "idf", dtype)


def test_the_columns_of_a_pooling_are_its_vector_and_its_scale():
    plain = tables.teacher_schema(("idf", "mean"), 4)
    small = tables.teacher_schema(("idf", "mean"), 4, "int8")
    assert columns(plain, "mean") == ["vector_mean"]
    assert columns(small, "mean") == ["vector_mean", "scale_mean"]
    assert vectors.poolings(small) == ["idf", "mean"]
    with pytest.raises(ValueError, match="there are no cls vectors, only idf, mean"):
        columns(small, "cls")


def test_a_store_of_whole_vectors_is_read_as_it_is(tmp_path):
    opened = open_store(make_store(tmp_path / "store"))
    assert open_decoder(opened, "idf") == Decoder("idf", ("vector_idf",))


def test_int8_takes_a_byte_a_number_on_disk(tmp_path):
    rng = np.random.default_rng(0)
    many = rng.normal(size=(4096, 64)).astype(np.float32)
    keys = pa.array([f"{i:05}" for i in range(4096)])
    sizes = {}
    for dtype in ("float32", "int8"):
        table = table_of(many, dtype).add_column(0, "sentence_id", keys)
        parts.write(table, tmp_path / dtype, "a.parquet")
        with parts.open_part(tmp_path / dtype / "a.parquet") as part:
            groups = [part.metadata.row_group(i) for i in range(part.num_row_groups)]
        sizes[dtype] = sum(group.column(1).total_compressed_size for group in groups) / 4096
    assert sizes["int8"] < 1.05 * bytes_per_vector(64, "int8")
    assert sizes["int8"] < 0.3 * sizes["float32"]


def test_bytes_before_compression():
    assert [bytes_per_vector(256, dtype) for dtype in tables.DTYPES] == [1024, 512, 260]
