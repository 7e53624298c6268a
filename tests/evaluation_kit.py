"""A tiny world for evaluation tests: 32 sentences, a teacher store of width 8, labelled sets."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from distill_jobs.evaluation.tasks import Kind, LabelledSet, Row
from schemas import parts, store, tables
from schemas.text import sentence_id

WIDTH = 8
FOOD = [f"{dish}很好吃" for dish in "面饭汤菜肉鱼虾蛋粥饼糕茶酒瓜果豆"]
LOANS = [f"{bank}怎么还款" for bank in "甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳"]
TEXTS = [*FOOD, *LOANS]


def teacher_vector(text: str, pooling: str = "idf") -> np.ndarray:
    """The same for the same text: a direction for its topic, and some of its own."""
    own = np.random.default_rng(list(text.encode() + pooling.encode())).normal(size=WIDTH)
    own[0] += 4 if text in FOOD else -4
    return own.astype(np.float32)


def teacher_vectors(texts: list[str]) -> np.ndarray:
    return np.stack([teacher_vector(text) for text in texts])


def put_store(location: Path, texts: list[str], run_id: str = "r1") -> None:
    """Add a part with the texts' vectors to a teacher store."""
    schema = tables.teacher_schema(("idf", "mean"), WIDTH)
    rows = sorted(
        (
            {
                "sentence_id": sentence_id(text),
                "text": text,
                "source": "kit",
                "n_tokens": 3,
                "token_ids": [2, 7, 3],
                "weights": [0.0, 1.0, 0.0],
                "vector_idf": teacher_vector(text).tolist(),
                "vector_mean": teacher_vector(text, "mean").tolist(),
                "norm": 1.0,
            }
            for text in texts
        ),
        key=lambda row: row["sentence_id"],
    )
    path = f"ingest_date=2026-11-21/{run_id}.parquet"
    part = parts.write(pa.Table.from_pylist(rows, schema=schema), location, path, row_group=8)
    store.commit(
        location,
        schema.append(tables.INGEST_DATE),
        [part],
        run_id=run_id,
        fingerprint={"teacher": "kit"},
        summary={},
    )


def put_sets(folder: Path) -> None:
    """One set of each kind but retrieval, as files."""
    pairs = [(FOOD[i], FOOD[(i + 1) % 16], 1) for i in range(16)]
    pairs += [(FOOD[i], LOANS[i], 0) for i in range(16)]
    graded = [(a, b, 4 * same + i % 2) for i, (a, b, same) in enumerate(pairs)]
    classes = [(text, "food" if text in FOOD else "loan") for text in TEXTS]
    _put(folder / "same" / "test.tsv", "sentence1\tsentence2\tlabel", pairs)
    _put(folder / "near" / "dev.tsv", "sentence1\tsentence2\tscore", graded)
    _put(folder / "topic" / "test.tsv", "text\tlabel", classes[::2])
    _put(folder / "topic" / "train.tsv", "text\tlabel", classes[1::2])


def classes_set() -> LabelledSet:
    rows = [Row((text,), "food" if text in FOOD else "loan") for text in TEXTS]
    return LabelledSet("topic", Kind.CLASSES, "test", tuple(rows[::2]), tuple(rows[1::2]))


def pairs_set() -> LabelledSet:
    rows = [Row((FOOD[i], FOOD[i - 1]), "1") for i in range(16)]
    rows += [Row((FOOD[i], LOANS[i]), "0") for i in range(16)]
    return LabelledSet("same", Kind.PAIRS, "test", tuple(rows))


def _put(path: Path, header: str, rows: list[tuple[object, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
