def test_f16(tmp_path, embed, small_corpus):
    embed(small_corpus, out=tmp_path / "half", vector_dtype="float16")
    import deltalake, polars, duckdb
    t=deltalake.DeltaTable(str(tmp_path/"half"))
    for f in (lambda: t.to_pyarrow_table().schema.field("vector_idf"), lambda: polars.scan_delta(str(tmp_path/"half")).collect().schema, lambda: duckdb.sql(f"select vector_idf from read_parquet('{tmp_path}/half/*/*.parquet') limit 1")):
        try: print(f())
        except Exception as e: print("ERR", type(e), str(e)[:300])
def test_f32(small_store):
    import deltalake, polars, duckdb
    t=deltalake.DeltaTable(str(small_store))
    for f in (lambda: t.to_pyarrow_table().schema.field("vector_idf"), lambda: polars.scan_delta(str(small_store)).collect().schema, lambda: duckdb.sql(f"select * from read_parquet('{small_store}/*/*.parquet') limit 1"), lambda: t.to_pyarrow_dataset().to_table().num_rows):
        try: print(f())
        except Exception as e: print("ERR", type(e), str(e)[:300])
