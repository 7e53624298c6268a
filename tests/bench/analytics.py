"""Write docs/analytics.md: queries over a store and an IDF table, and what DuckDB answers.

python -m tests.bench.analytics work/teacher work/idf '今天天气怎么样' > docs/analytics.md
"""

import sys

import duckdb

QUERIES = {
    "Rows by source and date": """
SELECT source, ingest_date, count(*) AS rows, round(avg(n_tokens), 1) AS tokens
FROM teacher GROUP BY ALL ORDER BY rows DESC LIMIT 8;""",
    "Length distribution": """
SELECT n_tokens // 8 * 8 AS tokens_from, count(*) AS sentences,
       bar(count(*), 0, max(count(*)) OVER (), 30) AS share
FROM teacher GROUP BY ALL ORDER BY ALL LIMIT 9;""",
    "Out-of-vocabulary words: what the teacher reads as [UNK] (id 1)": """
SELECT source, round(100.0 * avg(list_contains(token_ids, 1)::INT), 2) AS percent_of_sentences,
       any_value(text) FILTER (list_contains(token_ids, 1) AND n_tokens < 14) AS for_example
FROM teacher GROUP BY source ORDER BY percent_of_sentences DESC LIMIT 6;""",
    "Nearest sentences by cosine": """
WITH wanted AS (SELECT vector_idf::FLOAT[{width}] AS v FROM teacher WHERE text = '{sentence}')
SELECT round(array_cosine_similarity(vector_idf::FLOAT[{width}], v), 3) AS cosine, text
FROM teacher, wanted ORDER BY cosine DESC LIMIT 8;""",
    "IDF outliers: sentences whose vector is nearly one token's, and the word table's two ends": """
SELECT round(list_max(weights), 3) AS heaviest, n_tokens, text
FROM teacher WHERE n_tokens >= 8 ORDER BY heaviest DESC, text LIMIT 6;
SELECT word, df, round(idf, 2) AS idf FROM idf WHERE length(word) > 1 ORDER BY df DESC LIMIT 5;
SELECT df, count(*) AS words FROM idf WHERE df <= 4 GROUP BY df ORDER BY df;""",
}

# How the vectors of smaller stores are read; tests/test_readers.py runs these statements.
WHOLE_INT8 = """
SELECT sentence_id, list_transform(vector_idf, lambda x: x * scale_idf) AS vector FROM teacher;"""
COSINE_INT8 = """
SELECT a.sentence_id, b.sentence_id, array_cosine_similarity(
    a.vector_idf::FLOAT[{width}], b.vector_idf::FLOAT[{width}]) AS cosine
FROM teacher a, teacher b;"""
WHOLE_COMPONENTS = """
WITH m AS (SELECT vector FROM projection WHERE pooling = 'idf' AND component = 0),
     c AS (SELECT list(vector ORDER BY component) AS directions
           FROM projection WHERE pooling = 'idf' AND component > 0)
SELECT sentence_id, list_transform(range(1, len(m.vector) + 1), lambda j: m.vector[j] +
    list_dot_product(vector_idf, list_transform(directions, lambda one: one[j]))) AS vector
FROM teacher, m, c;"""
SMALLER = """
## Stores that keep less of the vectors

How a store keeps its vectors is in its fingerprint and, for every part, in the Parquet file's own
metadata: `ltd.vector_dtype`, and `ltd.projection` if it keeps principal components.

| `--vector-dtype` | DuckDB | Polars | pandas | deltalake | Spark | Trino |
|---|---|---|---|---|---|---|
| `float32` | FLOAT | Float32 | float32 | float | float | REAL |
| `float16` | FLOAT | Float16; from the log Float32 | float16 | float | **no** | **no** |
| `int8` | TINYINT | Int8 | int8 | int8 | tinyint | TINYINT |

DuckDB 2.0, Polars 2.1 (`scan_parquet`, `scan_delta`), pandas 3.1 and deltalake 1.6 are tested in
`tests/test_readers.py`. Spark 4.3 was tried by hand on the Parquet files: it refuses the folder of
a `float16` store, with all its columns (`Illegal Parquet type: FIXED_LEN_BYTE_ARRAY (FLOAT16)`);
a schema that says float does not help. Trino was not run: its source refuses Float16, and int8 and
float32 are ordinary types there. Delta has no float16, so the log of such a store says float, and
only a reader that converts can follow it. Take `float16` only where nothing but training and these
four tools read.

**int8**: a number is the one in the list times its row's scale. The error is at most half a scale.

```sql{whole_int8}
```

In Spark that is `transform(vector_idf, x -> x * scale_idf)`, in Polars
`pl.col("vector_idf").cast(pl.List(pl.Float32)) * pl.col("scale_idf")`. The scale is one number a
row, so cosines do not need it:

```sql{cosine_int8}
```

**Principal components** (`--pca N`): `vector_idf` holds N coordinates, strongest first, of the
sentence's vector along the principal components of the store's first corpus, measured from the mean
vector. Distances between rows are the teacher's, but for the variance that was left out. Cosines
are *not*: they are taken from the mean, and say how alike two sentences are apart from what all
share; `norm` is still the length of the whole vector. The mean and the directions lie beside the
store, in `work/teacher.projection/<digest>/projection.parquet`; who copies a store copies it too.
With it as the view `projection`, this gives the teacher's space back:

```sql{whole_components}
```

In Python, whatever the store keeps:

```python
from schemas.store import open_store
from schemas.vectors import open_decoder

store = open_store("work/teacher")
decoder = open_decoder(store, "idf")
rows = store.dataset().to_table(["sentence_id", *decoder.columns])
vectors = decoder.decode(rows)  # float32 [N, H], in the teacher's space
```
"""


def smaller(width: int) -> str:
    """The section on stores of float16, int8 and principal components."""
    return SMALLER.format(
        whole_int8=WHOLE_INT8,
        cosine_int8=COSINE_INT8.format(width=width),
        whole_components=WHOLE_COMPONENTS,
    )


def write(store: str, idf: str, sentence: str) -> str:
    """Run every query and lay it out with its output."""
    database = duckdb.connect()
    views = {
        "teacher": f"read_parquet('{store}/*/*.parquet', hive_partitioning = true)",
        "idf": f"read_parquet('{idf}/*.parquet')",
    }
    for name, source in views.items():
        database.execute(f"CREATE VIEW {name} AS SELECT * FROM {source}")
    width = database.sql("SELECT len(vector_idf) FROM teacher LIMIT 1").fetchall()[0][0]
    lines = [
        "# Queries over the tables",
        "",
        "Real output over the store that `make demo` makes, written by",
        "`python -m tests.bench.analytics STORE IDF SENTENCE`. Any Parquet reader will do; this is",
        "DuckDB 2.0 with",
        "",
        "```sql",
        "CREATE VIEW teacher AS SELECT * FROM",
        "    read_parquet('work/teacher/*/*.parquet', hive_partitioning = true);",
        "CREATE VIEW idf AS SELECT * FROM read_parquet('work/idf/*.parquet');",
        "```",
    ]
    for title, text in QUERIES.items():
        lines += ["", f"## {title}"]
        for query in text.format(width=width, sentence=sentence).strip().split(";\n"):
            lines += ["", "```sql", query.rstrip(";") + ";", "```", "", "```"]
            lines += [str(database.sql(query)).rstrip(), "```"]
    return "\n".join(lines) + "\n" + smaller(width)


if __name__ == "__main__":
    sys.stdout.write(write(*sys.argv[1:]))
