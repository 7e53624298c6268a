"""Files made to harm: names that lead out, other columns, code in files, bombs; and secrets."""

import gzip
import json
import os
import re
import resource
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill_jobs import encode, export, train
from distill_jobs.reader import row_groups
from pipelines import idf, teacher
from schemas import commits, parts, store, tables
from schemas.idf import IdfTable
from schemas.store import open_store
from tests.faults.committer import SCHEMA, commit_part, table_of, write_part
from tests.faults.kit import Child, Job

pytestmark = pytest.mark.faults

MIB = 1 << 20

OUTSIDE = [
    *("../outside.parquet", "/etc/outside.parquet", "a/../../outside.parquet", "a\x00b.parquet"),
    *("file:///outside.parquet", "hf://bucket/outside.parquet", "s3://bucket/outside.parquet"),
    *(
        "x" * 300 + "/outside.parquet",
        "ingest_date=2026-01-01/../../outside.parquet",
        "con:.parquet",
    ),
]


def committed_store(folder: Path) -> Path:
    """A store of one sentence."""
    commit_part(str(folder / "store"), "r1", write_part(str(folder / "store"), "r1", "甲"))
    return folder / "store"


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_log_that_names_a_part_outside_the_folder_is_refused(path, matrix, tmp_path):
    # As somebody would who can write the log: everything in it agrees, digest and all.
    matrix.rows(19)
    location = committed_store(tmp_path)
    (part,) = open_store(location).parts
    log = location / "_delta_log" / f"{0:020d}.json"
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for entry in entries:
        if "commitInfo" in entry:
            said = {name: v for name, v in entry["commitInfo"].items() if name.startswith("ltd.")}
            del said["ltd.sha256"]
            said["ltd.parts"] = said["ltd.parts"].replace(part.path, json.dumps(path)[1:-1])
            entry["commitInfo"] |= {**said, "ltd.sha256": commits._digest(said)}
        if "add" in entry:
            entry["add"]["path"] = path
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    with pytest.raises(ValueError, match=r"not the path of a part|no run of ours|is damaged"):
        open_store(location)


@pytest.mark.parametrize("what", ["the part", "its folder"])
def test_a_part_that_is_a_link_out_of_the_store_is_refused(what, matrix, tmp_path):
    matrix.rows(19)
    location = committed_store(tmp_path)
    (part,) = open_store(location).parts
    inside = location / part.path
    moved = inside if what == "the part" else inside.parent
    shutil.move(moved, tmp_path / "elsewhere")
    moved.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="are links that lead out of it"):
        open_store(location)
    (tmp_path / "link").symlink_to(location)
    moved.unlink()
    shutil.move(tmp_path / "elsewhere", moved)
    open_store(tmp_path / "link").verify()


def retyped(name: str, type: pa.DataType):
    """Function that gives a table another type of one column."""

    def change(table: pa.Table) -> pa.Table:
        at = table.column_names.index(name)
        return table.set_column(at, name, pa.array(table[name].to_pylist(), type))

    return change


WRONG_COLUMNS = {
    "weights is missing": lambda table: table.drop_columns(["weights"]),
    "extra is int64": lambda table: table.append_column("extra", pa.array([1])),
    "norm is double": retyped("norm", pa.float64()),
    "vector_idf is list<element: double>": retyped("vector_idf", pa.list_(pa.float64())),
    "vector_idf is fixed_size_list": retyped("vector_idf", pa.list_(pa.float32(), 2)),
    "source is dictionary": retyped("source", pa.dictionary(pa.int32(), pa.string())),
}


@pytest.mark.parametrize("told", WRONG_COLUMNS)
def test_training_refuses_a_part_with_other_columns_and_names_them(told, matrix, tmp_path):
    matrix.rows(20)
    out = str(tmp_path / "store")
    table = WRONG_COLUMNS[told](table_of("甲"))
    # One that is right, so that it is not only the majority that counts; sorted after this one.
    for number, one in enumerate([table, table_of("乙")]):
        part = parts.write(one, out, f"ingest_date=2026-01-01/part-{number}.parquet")
        store.commit(out, SCHEMA, [part], run_id=str(number), fingerprint={}, summary={})
    with pytest.raises(ValueError, match=r"part-\d\.parquet has other columns") as refused:
        row_groups(open_store(out))
    name = told.split()[0]
    assert f"{name} is " in str(refused.value)


def test_an_idf_table_with_another_column_type_is_refused(matrix, tmp_path):
    matrix.rows(20)
    table = IdfTable.from_counts({"北京": 2}, 3, segmenter="jieba").to_arrow()
    at = table.column_names.index("df")
    changed = table.set_column(at, "df", table["df"].cast(pa.float64()))
    with pytest.raises(ValueError, match="has other columns: df is double, wanted int64"):
        IdfTable.from_arrow(changed)


def test_a_store_of_a_newer_release_is_refused_by_readers_and_writers(
    monkeypatch, job_flags, matrix, capsys, tmp_path
):
    matrix.rows(23)
    newer = str(int(tables.SCHEMA_VERSION) + 1)
    monkeypatch.setattr(tables, "SCHEMA_VERSION", newer)
    location = committed_store(tmp_path)
    monkeypatch.undo()
    told = f"version 0 of .*store.* has schema version {newer}, this release reads up to"
    with pytest.raises(ValueError, match=told):
        open_store(location)
    part = write_part(str(location), "r2", "乙")
    with pytest.raises(ValueError, match=told):
        commit_part(str(location), "r2", part)
    with pytest.raises(SystemExit) as ended:
        teacher.main(list(map(str, job_flags("teacher", location))))
    assert ended.value.code == 65
    assert "a newer ltd-bert is needed" in capsys.readouterr().err


def test_a_log_with_a_feature_that_delta_does_not_know_is_refused(matrix, tmp_path):
    matrix.rows(23)
    location = committed_store(tmp_path)
    log = location / "_delta_log" / f"{0:020d}.json"
    log.write_text(
        log.read_text(encoding="utf-8").replace('"minReaderVersion":1', '"minReaderVersion":99'),
        encoding="utf-8",
    )
    with pytest.raises(ValueError, match=r"the log of .*store is damaged"):
        open_store(location).dataset()


def hostile_pickle(canary: Path) -> bytes:
    """A pickle that creates a file when it is loaded: os.system('touch ...')."""
    return f"cos\nsystem\n(S'touch {canary}'\ntR.".encode()


CODE = "import pathlib\npathlib.Path({canary!r}).touch()\nraise ImportError\n"


@pytest.mark.parametrize("trap", ["pickle alone", "pickle beside", "code for bert", "code alone"])
def test_a_teacher_that_brings_code_is_refused_or_read_without_it(
    trap, tiny_teacher, job_flags, matrix, tmp_path
):
    matrix.rows(27)
    folder, canary = shutil.copytree(tiny_teacher, tmp_path / "teacher"), tmp_path / "canary"
    for name in ("pytorch_model.bin", "model.pt", "optimizer.pkl"):
        (folder / name).write_bytes(hostile_pickle(canary))
    if trap == "pickle alone":
        (folder / "model.safetensors").unlink()
    if trap.startswith("code"):
        for module in ("configuration_trap", "modeling_trap"):
            (folder / f"{module}.py").write_text(CODE.format(canary=str(canary)))
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {
            "AutoConfig": "configuration_trap.Trap",
            "AutoModel": "modeling_trap.Trap",
        }
        config["_attn_implementation_internal"] = "somebody/kernel"
        config["model_type"] = "bert" if trap == "code for bert" else "trap"
        (folder / "config.json").write_text(json.dumps(config))
    flags = [*job_flags("teacher", tmp_path / "out"), "--teacher", folder]
    ended = Job(tmp_path, "teacher", flags).end()
    assert not canary.exists()
    if trap in ("pickle alone", "code alone"):
        assert ended.status in (65, 74), ended.told
        assert not store.exists(tmp_path / "out")
    else:
        assert ended.status == 0, ended.told


class Trap(pa.ExtensionType):
    """An extension type whose reading leaves a file behind."""

    canary = Path("/nonexistent")

    def __init__(self) -> None:
        super().__init__(pa.string(), "trap")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized) -> "Trap":
        cls.canary.touch()
        return cls()


def test_an_extension_type_in_parquet_is_never_brought_to_life(count, matrix, tmp_path):
    matrix.rows(27)
    Trap.canary = tmp_path / "canary"
    pa.register_extension_type(Trap())
    try:
        column = pa.ExtensionArray.from_storage(Trap(), pa.array(["今天天气怎么样"]))
        pq.write_table(pa.table({"text": column}), tmp_path / "corpus.parquet")
        assert pq.read_schema(tmp_path / "corpus.parquet").field("text").type == Trap()
        Trap.canary.unlink()
        readers = (
            lambda path: count(path, out=tmp_path / "idf"),
            parts.read,
            lambda path: next(encode._read(path, "text")),
        )
        for reader in readers:
            with pytest.raises(ValueError, match=r"corpus.parquet has an extension type, which"):
                reader(tmp_path / "corpus.parquet")
        assert not Trap.canary.exists()
    finally:
        pa.unregister_extension_type("trap")


def peak_of_idf(corpus: str, out: str) -> None:
    """In a child: count a corpus, and print by how many MiB the memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        idf.main(["--corpus", corpus, "--out", out, "--max-bad-fraction", "1"])
    finally:
        print_growth(before)


def peak_of_part(root: str, path: str) -> None:
    """In a child: read a part, and print by how many MiB the memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        parts.read(f"{root}/{path}")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(65) from None
    finally:
        print_growth(before)


def print_growth(before: int) -> None:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    sys.stdout.write(f"\ngrown by {grown // 1024} MiB\n")
    sys.stdout.flush()


def growth(told: str) -> int:
    return int(re.findall(r"grown by (\d+) MiB", told)[-1])


def repeated(text: str, rows: int) -> pa.Table:
    """One string that many rows share: in Parquet it is there once."""
    indices = pa.array(np.zeros(rows, np.int32))
    return pa.table({"text": pa.DictionaryArray.from_arrays(indices, pa.array([text]))})


def gzip_bomb(path: Path, content: bytes, times: int) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write("今天天气怎么样\n".encode())
        for _ in range(times):
            file.write(content)
        file.write("\n明天会下雨吗\n".encode())


def parquet_bomb(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd", row_group_size=table.num_rows)


# Name -> (how it is made, what it would take in memory, how many sentences are in it).
BOMBS = {
    "zeros.txt.gz": (lambda path: gzip_bomb(path, bytes(MIB), 512), 512 * MIB, 2),
    "blank.txt.gz": (lambda path: gzip_bomb(path, b"\n" * MIB, 1), 450 * MIB, 2),
    "strings.parquet": (lambda path: parquet_bomb(path, repeated("好" * MIB, 8192)), 24 << 30, 0),
    "rows.parquet": (lambda path: parquet_bomb(path, repeated("你好", 3 * MIB)), 600 * MIB, 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_corpus_that_swells_when_it_is_read_takes_little_memory(name, matrix, tmp_path):
    matrix.rows(27)
    make, swollen, sentences = BOMBS[name]
    make(tmp_path / name)
    assert (tmp_path / name).stat().st_size < swollen / 100
    ended = Child(tmp_path, peak_of_idf, str(tmp_path / name), str(tmp_path / "idf")).end(240)
    assert ended.status == (0 if sentences else 65), ended.told
    assert growth(ended.told) < 450, ended.told
    if sentences:
        assert IdfTable.load(tmp_path / "idf").n_docs == sentences
    matrix.count(most_mebibytes_grown=growth(ended.told))


def test_a_part_that_swells_when_it_is_read_is_refused(matrix, tmp_path):
    matrix.rows(27)
    numbers = pa.table({"n": pa.array(np.zeros(100 * MIB, np.int64))})
    pq.write_table(numbers, tmp_path / "bomb.parquet", row_group_size=1 << 40)
    ended = Child(tmp_path, peak_of_part, str(tmp_path), "bomb.parquet").end()
    assert ended.status == 65
    assert "has a row group of 67,108,864 rows: it is no part of ours" in ended.told
    assert growth(ended.told) < 100
    matrix.count(most_mebibytes_grown=growth(ended.told))


def test_a_footer_that_claims_a_huge_string_is_refused(matrix, tmp_path):
    matrix.rows(27)
    schema = pa.schema([pa.field("n", pa.int64(), metadata={"x": "y" * (20 * MIB)})])
    pq.write_table(pa.table({"n": [1]}, schema=schema), tmp_path / "bomb.parquet")
    with pytest.raises(OSError, match=r"(?i)thrift"):
        parts.read(tmp_path / "bomb.parquet")


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-fault-test",
    "HF_TOKEN": "hf_faultTestFaultTest",
    "RAY_AUTH_TOKEN": "ray-fault-test-token",
    "DATABASE_URL": "postgres://user:pa55-fault-test@db/x",
}


def set_secrets() -> None:
    """In a child: have secrets in the environment."""
    os.environ.update(SECRETS)


def train_and_export(location: str, folder: str) -> None:
    """In a child that has secrets: train, and export."""
    set_secrets()
    train.main(
        [
            *("--store", location, "--out", f"{folder}/training", "--embedding", "8"),
            *("--epochs", "1", "--batch-size", "8", "--streams", "8", "--validation-rows", "3"),
        ]
    )
    export.main(["--training", f"{folder}/training", "--out", f"{folder}/student"])


def test_secrets_of_the_environment_are_in_no_file_and_no_message(
    job_flags, small_store, matrix, tmp_path
):
    matrix.rows(28)
    for job in ("idf", "teacher"):
        flags = job_flags(job, tmp_path / job)
        assert Job(tmp_path, job, flags, first=set_secrets).end().status == 0
        failing = [*flags, "--corpus", f"{tmp_path}/nothing"]
        assert Job(tmp_path, job, failing, first=set_secrets).end().status == 74
    ended = Child(tmp_path, train_and_export, str(small_store), str(tmp_path)).end()
    assert ended.status == 0, ended.told
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += str(parts.read(path).to_pylist()).encode()
        assert not [name for name, value in SECRETS.items() if value.encode() in content], path
    matrix.count(files_searched=len(files))
