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
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(write(*sys.argv[1:]))
