"""The columns of every table: name, type, meaning, unit; `docs/tables.md` is generated from it."""

import sys

import pyarrow as pa

SCHEMA_VERSION = "1"
POOLINGS = ("idf", "mean", "cls")
BESIDE = "beside"  # a fourth vector column, which no teacher makes by itself: `store beside`
DTYPES = {"float32": pa.float32(), "float16": pa.float16(), "int8": pa.int8()}

_METRICS = (
    "spearman, auc, accuracy, accuracy@<labels>, v_measure, mrr@10, ndcg@10, index_*; of all sets "
    "mean, mean_minus_reference, neighbours@10 (nearest texts in common with the reference)"
)
_RETENTION = "value divided by the reference's; NaN where that is below 0.05"


def _column(name: str, type: pa.DataType, doc: str, unit: str = "") -> pa.Field:
    return pa.field(name, type, nullable=False, metadata={"doc": doc, "unit": unit})


def list_of(type: pa.DataType) -> pa.DataType:
    """A list type as our columns have it."""
    # Not-null elements: pyarrow reads such a list about 1.5 times as fast.
    return pa.list_(pa.field("element", type, nullable=False))


IDF = pa.schema(
    [
        _column("word", pa.string(), "word as the segmenter cut it; the key, sorted"),
        _column("df", pa.int64(), "sentences that contain the word", "sentences"),
        _column("idf", pa.float64(), "ln((1 + n_docs) / (1 + df)), derived", "nats"),
        _column("n_docs", pa.int64(), "sentences counted, the same in every row", "sentences"),
    ]
)

QUARANTINE = pa.schema(
    [
        _column("source", pa.string(), "file the record came from"),
        _column("offset", pa.int64(), "first byte after decompression; row number in Parquet"),
        _column("reason", pa.string(), "why it is not a sentence: a name of schemas.text.Reason"),
        _column("length", pa.int64(), "size of the record; 65,538 if it is longer", "bytes"),
        _column("sha256", pa.string(), "digest of that; the text itself is not kept", "hex"),
        _column("run_id", pa.string(), "the run that rejected it"),
    ]
)

VARIANTS = pa.schema(
    [
        _column("sentence_id", pa.string(), "BLAKE2b-128 of the text; the key, sorted", "hex"),
        _column("text", pa.string(), "the variant, cleaned; the mask token stands in it literally"),
        _column("parent_id", pa.string(), "sentence_id of the sentence it is a variant of", "hex"),
        _column("source", pa.string(), "file or field the parent was first seen in"),
        _column("variant", pa.int32(), "which of its parent's variants, from 0", "rank"),
        _column("methods", pa.string(), "what was done to it: some of mask, replace, ngram"),
    ]
)

MOVED = pa.schema(
    [
        _column(
            "sentence_id", pa.string(), "a row that `store move` embedded again; the key", "hex"
        ),
        _column("change", pa.float64(), "sum of the absolute changes of its weights", "0 to 2"),
    ]
)

EVALUATION = pa.schema(
    [
        _column("model", pa.string(), "what made the vectors"),
        _column("task", pa.string(), "labelled set; * for all"),
        _column(
            "metric",
            pa.string(),
            _METRICS,
        ),
        _column(
            "value",
            pa.float64(),
            "the metric, higher is better",
            "0 to 1; Spearman and differences -1 to 1",
        ),
        _column("low", pa.float64(), "2.5th percentile over bootstrap samples", "as value"),
        _column("high", pa.float64(), "97.5th percentile over bootstrap samples", "as value"),
        _column("rows", pa.int64(), "labelled rows scored, overlaps removed", "rows"),
        _column(
            "overlaps", pa.int64(), "rows removed: a sentence is in the training store", "rows"
        ),
        _column(
            "retention",
            pa.float64(),
            _RETENTION,
            "ratio",
        ),
    ]
)


def logits_schema(classes: int) -> pa.Schema:
    """Columns of a table of a task's logits.

    Args:
        classes: numbers in a row's list; their names are in the table's fingerprint.
    """
    doc = "scores of the task's classes by its teacher, before softmax and temperature, mean 0"
    field = _column("logits", list_of(pa.float32()), doc, "nats")
    key = _column("sentence_id", pa.string(), "BLAKE2b-128 of the text; the key, sorted", "hex")
    return pa.schema([key, field.with_metadata({**field.metadata, b"width": str(classes)})])


PROJECTION = pa.schema(
    [
        _column("pooling", pa.string(), "the vectors that it is for; the key, sorted"),
        _column("component", pa.int32(), "0 for the mean, then the components in order", "rank"),
        _column(
            "vector",
            list_of(pa.float32()),
            "in the teacher's space: the mean vector, or a direction of length 1",
        ),
        _column("share", pa.float64(), "variance along the direction; 0 for the mean", "share"),
    ]
)


def teacher_schema(
    poolings: tuple[str, ...],
    width: int,
    dtype: str = "float32",
    *,
    text: bool = True,
    projected: bool = False,
) -> pa.Schema:
    """Columns of a teacher store's parts; the partition column `ingest_date` is in the path.

    Args:
        poolings: each becomes a vector column ``vector_<pooling>``.
        width: numbers in a vector as it is stored.
        dtype: element type of the vectors, a key of `DTYPES`; int8 adds ``scale_<pooling>``.
        text: whether the cleaned sentence is kept.
        projected: whether principal components stand for the vectors.

    Raises:
        ValueError: for an unknown pooling or dtype.
    """
    unknown = set(poolings) - set(POOLINGS)
    if unknown or not poolings:
        raise ValueError(f"poolings must be some of {', '.join(POOLINGS)}, got {list(poolings)}")
    if dtype not in DTYPES:
        raise ValueError(f"vector dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    columns = [
        _column("sentence_id", pa.string(), "BLAKE2b-128 of the text; the key, sorted", "hex"),
        _column("text", pa.string(), "the cleaned sentence"),
        _column("source", pa.string(), "file or field the sentence was first seen in"),
        _column("n_tokens", pa.int32(), "length of token_ids", "tokens"),
        _column("token_ids", list_of(pa.int32()), "what the teacher read, special tokens included"),
        _column(
            "weights", list_of(pa.float32()), "IDF token weights, sum 1, special tokens 0", "share"
        ),
    ]
    for pooling in poolings:
        columns += _vector_columns(pooling, width, dtype, projected)
    whole = dtype != "int8" and not projected
    of = f"vector_{poolings[0]}" if whole else f"the teacher's whole {poolings[0]} vector"
    columns.append(_column("norm", pa.float32(), f"Euclidean length of {of}"))
    return pa.schema([c for c in columns if text or c.name != "text"])


def with_beside(teacher: pa.Schema, width: int) -> pa.Schema:
    """Columns of a teacher store, and before `norm` those of both teachers' `width` numbers."""
    doc = "the vectors of two teachers, each divided by its length, one after the other"
    field = _column(f"vector_{BESIDE}", list_of(pa.float32()), doc)
    field = field.with_metadata({**field.metadata, b"width": str(width)})
    return teacher.insert(teacher.get_field_index("norm"), field)


def _vector_columns(pooling: str, width: int, dtype: str, projected: bool) -> list[pa.Field]:
    """The columns of one pooling's vectors; `schemas.vectors` writes and reads them."""
    doc = f"teacher's sentence vector, {pooling} pooling of the last layer's states"
    if projected:
        doc = f"{width} principal components of the {doc}; see the table projection"
    scale = f"scale_{pooling}" if dtype == "int8" else ""
    field = _column(f"vector_{pooling}", list_of(DTYPES[dtype]), doc, scale)
    columns = [field.with_metadata({**(field.metadata or {}), b"width": str(width)})]
    if scale:
        of_scale = f"what 1 in vector_{pooling} is worth: its row's largest absolute number / 127"
        columns.append(_column(scale, pa.float32(), of_scale))
    return columns


def teacher_schema_like(found: pa.Schema) -> pa.Schema:
    """The teacher schema that a file's columns come nearest to, to compare them with."""
    poolings = tuple(name for name in POOLINGS if f"vector_{name}" in found.names) or POOLINGS[:1]
    first = f"vector_{poolings[0]}"
    type = found.field(first).type if first in found.names else None
    dtype = next((name for name, one in DTYPES.items() if list_of(one) == type), "float32")
    wanted = teacher_schema(poolings, 1, dtype, text="text" in found.names)
    return with_beside(wanted, 1) if f"vector_{BESIDE}" in found.names else wanted


def check_columns(found: pa.Schema, wanted: pa.Schema, *, of: str) -> None:
    """Refuse a file whose columns are not those that its table has: nothing is cast on the way.

    Args:
        found: the file's.
        wanted: the table's.
        of: what the file is, for the message.

    Raises:
        ValueError: naming each column that differs.

    >>> check_columns(pa.schema({"word": pa.string(), "df": pa.float64()}),
    ...               pa.schema({"word": pa.string(), "df": pa.int64()}), of="the IDF table x")
    Traceback (most recent call last):
    ...
    ValueError: the IDF table x has other columns: df is double, wanted int64
    """
    have, want = ({field.name: str(field.type) for field in one} for one in (found, wanted))
    differing = [
        f"{name} is {have.get(name, 'missing')}, wanted {want.get(name, 'no such column')}"
        for name in {**have, **want}
        if have.get(name) != want.get(name)
    ]
    if differing:
        raise ValueError(f"{of} has other columns: {'; '.join(differing)}")


INGEST_DATE = _column("ingest_date", pa.date32(), "logical date of the run that added the row")


def tables_markdown() -> str:
    """The data dictionary, as `docs/tables.md` holds it."""
    teacher = teacher_schema(POOLINGS, 256).append(INGEST_DATE)
    small = [field for field in teacher_schema(POOLINGS, 256, "int8") if field not in set(teacher)]
    both = with_beside(teacher, 512).field(f"vector_{BESIDE}")
    tables = {
        "idf": (IDF, "Word document frequencies of one corpus. Sorted by word."),
        "teacher": (
            teacher,
            "The teacher store: one row per distinct sentence, sorted by id in each part. It has "
            "one vector column per pooling asked for; `text` is absent with `--no-keep-text`.",
        ),
        "teacher, with `--vector-dtype int8`": (
            pa.schema(small),
            "A number of a vector is the one in the list times its row's scale. The other columns "
            "are as above.",
        ),
        "teacher, made by `store beside`": (
            pa.schema([both]),
            "Cosines of these vectors are the mean of the two teachers' cosines. The other columns "
            "are the first teacher's, as above, in float32.",
        ),
        "projection": (
            PROJECTION,
            "Beside a store made with `--pca N`, in `<store>.projection/<digest>`: one Parquet "
            "file, no log. With mean m and components c, the store holds z[k] = (v - m) . c[k], "
            "and v is about m + sum of z[k] c[k].",
        ),
        "quarantine": (QUARANTINE, "Records that are no sentences, beside the table they missed."),
        "variants": (
            VARIANTS,
            "What `augment` makes of a corpus's sentences. Of variants that are equal, the one of "
            "the smallest parent_id stays. With a teacher store of the variants, lineage is a join "
            "on sentence_id, and on parent_id for the store of their parents.",
        ),
        "moved": (
            MOVED,
            "Rows that a move to another IDF table embedded again: plain Parquet files in "
            "`<store>.moved/<run>`, one for each part that was rewritten.",
        ),
        "evaluation": (EVALUATION, "One row per model, task and metric."),
        "logits": (
            logits_schema(2),
            "What a task's teacher, a logistic head on stored vectors, says of a teacher store's "
            "rows, part for part. The fingerprint has the head, the classes in order, the store.",
        ),
    }
    lines = [
        "# Tables",
        "",
        "Generated from `schemas/tables.py` by `make docs`. Every table is a folder of Parquet",
        f"parts under a Delta Lake log. Schema version {SCHEMA_VERSION}.",
    ]
    for name, (schema, about) in tables.items():
        lines += ["", f"## {name}", "", about, "", "| column | type | meaning | unit |"]
        lines += ["|---|---|---|---|", *(_markdown_row(field) for field in schema)]
    return "\n".join(lines) + "\n"


def _markdown_row(field: pa.Field) -> str:
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    type_name = str(field.type).replace("element: ", "")
    return f"| `{field.name}` | {type_name} | {metadata['doc']} | {metadata['unit']} |"


if __name__ == "__main__":
    sys.stdout.write(tables_markdown())
