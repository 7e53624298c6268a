"""Other people's tools read the store: the same rows and the same vector from each of them."""

import datetime
from pathlib import Path

import deltalake
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from schemas import parts
from schemas.projection import projection_folder
from schemas.store import open_store
from schemas.vectors import open_decoder
from tests.bench import analytics

DAY = datetime.date(2026, 1, 1)


@pytest.fixture(scope="module")
def row(small_store):
    """One row as the file holds it."""
    opened = open_store(small_store)
    return parts.read(opened.path_of(opened.parts[2])).slice(3, 1).to_pylist()[0]


def by_duckdb(store, one):
    rows = f"read_parquet('{store}/*/*.parquet', hive_partitioning = true)"
    ((count,),) = duckdb.sql(f"select count(*) from {rows}").fetchall()
    (found,) = duckdb.execute(
        f"select text, vector_idf, ingest_date from {rows} where sentence_id = ?", [one]
    ).fetchall()
    return count, *found


def by_duckdb_with_the_date_as_a_condition(store, one):
    rows = f"read_parquet('{store}/*/*.parquet', hive_partitioning = true)"
    day = "ingest_date between date '2026-01-01' and date '2026-01-31'"
    ((count,),) = duckdb.sql(f"select count(*) from {rows} where {day}").fetchall()
    assert (
        duckdb.sql(f"select 1 from {rows} where ingest_date > date '2026-01-01'").fetchall() == []
    )
    return count, *by_duckdb(store, one)[1:]


def by_polars_scan_parquet(store, one):
    frame = pl.scan_parquet(f"{store}/**/*.parquet", hive_partitioning=True)
    found = frame.filter(pl.col("sentence_id") == one).collect().row(0, named=True)
    count = frame.select(pl.len()).collect().item()
    return count, found["text"], found["vector_idf"], found["ingest_date"]


def by_polars_scan_delta(store, one):
    frame = pl.scan_delta(str(store))
    found = frame.filter(pl.col("sentence_id") == one).collect().row(0, named=True)
    count = frame.select(pl.len()).collect().item()
    return count, found["text"], found["vector_idf"], found["ingest_date"]


def by_pandas(store, one):
    # The log is no Parquet file: its name begins with an underscore, so pandas passes it by.
    frame = pd.read_parquet(store)
    (found,) = frame[frame["sentence_id"] == one].to_dict("records")
    return len(frame), found["text"], found["vector_idf"], _date(found["ingest_date"])


def by_deltalake(store, one):
    table = deltalake.DeltaTable(str(store)).to_pyarrow_table()
    (found,) = table.filter(ds.field("sentence_id") == one).to_pylist()
    return table.num_rows, found["text"], found["vector_idf"], found["ingest_date"]


def by_pyarrow_dataset(store, one):
    dataset = ds.dataset(store, partitioning="hive")
    (found,) = dataset.to_table(filter=ds.field("sentence_id") == one).to_pylist()
    return dataset.count_rows(), found["text"], found["vector_idf"], _date(found["ingest_date"])


def by_ourselves(store, one):
    dataset = open_store(store).dataset()
    (found,) = dataset.to_table(filter=ds.field("sentence_id") == one).to_pylist()
    return dataset.count_rows(), found["text"], found["vector_idf"], found["ingest_date"]


def _date(value) -> datetime.date:
    """Readers that are told no schema take the folder's date for a string."""
    return datetime.date.fromisoformat(str(value))


@pytest.mark.parametrize(
    "read",
    [
        by_duckdb,
        by_duckdb_with_the_date_as_a_condition,
        by_polars_scan_parquet,
        by_polars_scan_delta,
        by_pandas,
        by_deltalake,
        by_pyarrow_dataset,
        by_ourselves,
    ],
)
def test_a_reader_sees_the_same_rows_and_vector(small_store, row, read):
    count, text, vector, date = read(small_store, row["sentence_id"])
    assert (count, text, date) == (300, row["text"], DAY)
    assert np.array_equal(np.asarray(vector, np.float32), np.array(row["vector_idf"], np.float32))


def test_a_version_of_the_log_can_be_read_by_other_tools(tmp_path, embed, sentences):
    for day in (1, 2):
        (tmp_path / f"{day}.txt").write_text("\n".join(sentences[: 10 * day]), encoding="utf-8")
        embed(tmp_path / f"{day}.txt", out=tmp_path / "store", date=f"2026-01-0{day}")
    location = str(tmp_path / "store")
    counts = [
        deltalake.DeltaTable(location, version=version).to_pyarrow_table().num_rows
        for version in (0, 1)
    ]
    assert counts == [10, 20]
    assert pl.scan_delta(location, version=0).select(pl.len()).collect().item() == 10


@pytest.fixture(scope="module")
def smaller(tmp_path_factory, embed, sentences):
    """Stores of 10 sentences: float16, int8, and 4 principal components."""
    folder = tmp_path_factory.mktemp("smaller")
    (folder / "c.txt").write_text("\n".join(sentences[:10]), encoding="utf-8")
    embed(folder / "c.txt", out=folder / "float16", vector_dtype="float16")
    embed(folder / "c.txt", out=folder / "int8", vector_dtype="int8")
    embed(folder / "c.txt", out=folder / "pca", pca=4)
    return folder


def stored(location):
    """All rows as the files hold them."""
    opened = open_store(location)
    return pa.concat_tables([parts.read(opened.path_of(part)) for part in opened.parts])


READERS = {
    "duckdb": lambda s: duckdb.sql(f"from read_parquet('{s}/*/*.parquet')").to_arrow_table(),
    "polars scan_parquet": lambda s: pl.scan_parquet(f"{s}/**/*.parquet").collect().to_arrow(),
    "polars scan_delta": lambda s: pl.scan_delta(str(s)).collect().to_arrow(),
    "pandas": lambda s: pa.Table.from_pandas(pd.read_parquet(s)),
    "deltalake": lambda s: deltalake.DeltaTable(str(s)).to_pyarrow_table(),
}


@pytest.mark.parametrize(
    ("reader", "type"),
    [
        ("duckdb", "float"),
        ("polars scan_parquet", "halffloat"),
        ("polars scan_delta", "float"),
        ("pandas", "halffloat"),
        ("deltalake", "float"),
    ],
)
def test_these_readers_take_float16(smaller, reader, type):
    expected = stored(smaller / "float16").sort_by("sentence_id")
    found = READERS[reader](smaller / "float16").sort_by("sentence_id")
    assert found.schema.field("vector_idf").type.value_type == type
    assert found["vector_idf"].to_pylist() == expected["vector_idf"].to_pylist()


def test_float16_is_a_parquet_type_that_others_refuse(smaller):
    opened = open_store(smaller / "float16")
    with parts.open_part(opened.path_of(opened.parts[0])) as part:
        names = [part.schema.column(at).path for at in range(len(part.schema))]
        column = part.schema.column(names.index("vector_idf.list.element"))
    assert (column.physical_type, str(column.logical_type)) == ("FIXED_LEN_BYTE_ARRAY", "Float16")


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_takes_int8_and_its_scale(smaller, reader):
    expected = stored(smaller / "int8").sort_by("sentence_id")
    found = READERS[reader](smaller / "int8").sort_by("sentence_id")
    assert found.schema.field("vector_idf").type.value_type == "int8"
    for name in ("vector_idf", "scale_idf"):
        assert found[name].to_pylist() == expected[name].to_pylist()


def view(store, projection=None):
    """A database with the views of docs/analytics.md."""
    database = duckdb.connect()
    database.execute(f"create view teacher as from read_parquet('{store}/*/*.parquet')")
    if projection:
        database.execute(f"create view projection as from read_parquet('{projection}/*.parquet')")
    return database


def decoded(location):
    """Key -> vector as training gets it, read as docs/analytics.md shows."""
    opened = open_store(location)
    decoder = open_decoder(opened, "idf")
    rows = opened.dataset().to_table(["sentence_id", *decoder.columns])
    return dict(zip(rows["sentence_id"].to_pylist(), decoder.decode(rows), strict=True))


def test_sql_gives_int8_vectors_as_training_gets_them(smaller):
    expected = decoded(smaller / "int8")
    found = dict(view(smaller / "int8").sql(analytics.WHOLE_INT8).fetchall())
    for key, vector in expected.items():
        assert np.array_equal(np.array(found[key], np.float32), vector)
    polars = pl.scan_delta(str(smaller / "int8")).select(
        "sentence_id", pl.col("vector_idf").cast(pl.List(pl.Float32)) * pl.col("scale_idf")
    )
    for key, vector in polars.collect().iter_rows():
        assert np.array_equal(np.array(vector, np.float32), expected[key])


def test_cosines_of_int8_vectors_need_no_scale(smaller):
    expected = decoded(smaller / "int8")
    query = analytics.COSINE_INT8.format(width=16)
    for one, other, cosine in view(smaller / "int8").sql(query).fetchall():
        lengths = np.linalg.norm(expected[one]) * np.linalg.norm(expected[other])
        assert cosine == pytest.approx(expected[one] @ expected[other] / lengths, abs=1e-5)


def test_sql_gives_the_teacher_s_space_back_from_components(smaller):
    made_by = open_store(smaller / "pca").fingerprint["projection"]
    database = view(smaller / "pca", projection_folder(str(smaller / "pca"), made_by))
    found = dict(database.sql(analytics.WHOLE_COMPONENTS).fetchall())
    expected = decoded(smaller / "pca")
    assert found.keys() == expected.keys()
    for key, vector in expected.items():
        np.testing.assert_allclose(found[key], vector, atol=1e-5)


def test_the_page_for_analysts_has_the_section_on_smaller_stores():
    page = (Path(__file__).parents[1] / "docs" / "analytics.md").read_text("utf-8")
    assert analytics.smaller(width=128) in page


def test_the_idf_table_joins_with_sql(small_idf):
    rows = f"read_parquet('{small_idf}/*.parquet')"
    wrong = duckdb.sql(
        f"select count(*) from {rows} where abs(idf - ln((1+n_docs)/(1+df))) > 1e-12"
    )
    assert wrong.fetchall() == [(0,)]
    assert duckdb.sql(f"select df from {rows} where word = '北京'").fetchall() == [(50,)]
