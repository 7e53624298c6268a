"""Other people's tools read the store: the same rows and the same vector from each of them."""

import datetime

import deltalake
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from schemas import parts
from schemas.store import open_store

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


def test_delta_readers_get_float16_vectors_as_float32(tmp_path, embed, sentences):
    (tmp_path / "c.txt").write_text("\n".join(sentences[:10]), encoding="utf-8")
    embed(tmp_path / "c.txt", out=tmp_path / "store", vector_dtype="float16")
    table = deltalake.DeltaTable(str(tmp_path / "store")).to_pyarrow_table()
    opened = open_store(tmp_path / "store")
    halves = parts.read(opened.path_of(opened.parts[0]))["vector_idf"].to_pylist()
    assert table.schema.field("vector_idf").type.value_type == "float"
    assert table["vector_idf"].to_pylist() == halves


def test_the_idf_table_joins_with_sql(small_idf):
    rows = f"read_parquet('{small_idf}/*.parquet')"
    wrong = duckdb.sql(
        f"select count(*) from {rows} where abs(idf - ln((1+n_docs)/(1+df))) > 1e-12"
    )
    assert wrong.fetchall() == [(0,)]
    assert duckdb.sql(f"select df from {rows} where word = '北京'").fetchall() == [(50,)]
