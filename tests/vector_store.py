"""A small teacher store with made-up vectors, for tests of training."""

import numpy as np
import pyarrow as pa

from schemas import parts, store, tables

WIDTH = 16
VOCABULARY = 40


def make_store(folder, rows=400, group=32, seed=0, parts_count=3):
    """Sentences of 2 to 12 tokens whose vector is a fixed function of the tokens."""
    rng = np.random.default_rng(seed)
    meaning = np.random.default_rng(99).normal(size=(VOCABULARY, WIDTH))
    schema = tables.teacher_schema(("idf",), WIDTH, text=False)
    added = []
    for number, index in enumerate(np.array_split(np.arange(rows), parts_count)):
        records = [_row(rng, int(i), meaning) for i in index]
        table = pa.Table.from_pylist(records, schema=schema)
        added.append(
            parts.write(table, folder, f"ingest_date=2026-01-01/part-{number}.parquet", group)
        )
    fingerprint = {"poolings": "idf", "vocabulary": str(VOCABULARY), "teacher": f"seed {seed}"}
    summary = {
        "teacher": "made up",
        "teacher_seconds": 1.0,
        "teacher_bytes": 1,
        "teacher_parameters": 1,
    }
    full = schema.append(tables.INGEST_DATE)
    store.commit(folder, full, added, run_id="r", fingerprint=fingerprint, summary=summary)
    return folder


def _row(rng, index, meaning):
    content = rng.integers(4, VOCABULARY, size=int(rng.integers(2, 13)))
    weights = rng.random(len(content)) + 0.1
    weights /= weights.sum()
    vector = weights @ meaning[content] + 0.3 * meaning[content[0]]
    return {
        "sentence_id": f"{index:032x}",
        "source": "test",
        "n_tokens": len(content) + 2,
        "token_ids": [2, *content.tolist(), 3],
        "weights": [0.0, *weights.tolist(), 0.0],
        "vector_idf": vector.tolist(),
        "norm": float(np.linalg.norm(vector)),
    }
