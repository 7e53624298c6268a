"""A part: the same bytes for the same table, written whole or not at all, no flipped bit read."""

import hashlib
import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import parts
from schemas.tables import teacher_schema


def table_of(rows: int, seed: int = 3) -> pa.Table:
    """A teacher part of random content, sorted by id."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 12, rows)
    columns = {
        "sentence_id": sorted(rng.bytes(16).hex() for _ in range(rows)),
        "text": [f"第{n}句话，今天天气怎么样" for n in range(rows)],
        "source": ["corpus"] * rows,
        "n_tokens": lengths,
        "token_ids": [rng.integers(0, 8000, n) for n in lengths],
        "weights": [rng.random(n, np.float32) for n in lengths],
        "vector_idf": list(rng.standard_normal((rows, 32), np.float32)),
        "norm": rng.random(rows, np.float32),
    }
    return pa.table(columns, schema=teacher_schema(("idf",), 32))


def test_a_part_reads_back_as_it_was_written_and_its_record_is_true(tmp_path):
    table = table_of(100)
    part = parts.write(table, tmp_path / "t", "ingest_date=2026-01-01/part-1.parquet")
    path = tmp_path / "t" / part.path
    assert parts.read(path).equals(table)
    assert parts.read(path, columns=["norm"]).column_names == ["norm"]
    assert (part.rows, part.size) == (100, path.stat().st_size)
    assert part.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == parts.sha256(path)
    assert (part.first, part.last) == (table[0][0].as_py(), table[0][-1].as_py())


def test_an_empty_part_has_no_keys(tmp_path):
    part = parts.write(table_of(0), tmp_path, "part-0.parquet")
    assert (part.rows, part.first, part.last) == (0, None, None)
    assert parts.read(tmp_path / "part-0.parquet").num_rows == 0


def test_the_same_table_gives_the_same_bytes(tmp_path):
    first = parts.write(table_of(300), tmp_path / "a", "p.parquet")
    # Chunked otherwise in memory, as a concatenation is, and yet the same rows.
    pieces = pa.concat_tables([table_of(300).slice(0, 7), table_of(300).slice(7)])
    second = parts.write(pieces.combine_chunks(), tmp_path / "b", "p.parquet")
    other = parts.write(table_of(300, seed=4), tmp_path / "c", "p.parquet")
    assert first == second
    assert first.sha256 != other.sha256


def test_row_groups_are_as_large_as_asked(tmp_path):
    parts.write(table_of(300), tmp_path, "p.parquet", row_group=128)
    with parts.open_part(tmp_path / "p.parquet") as part:
        groups = [part.metadata.row_group(n).num_rows for n in range(part.num_row_groups)]
    assert groups == [128, 128, 44]


def test_every_flipped_bit_changes_the_digest_and_none_of_a_page_is_read_as_data(tmp_path):
    table = table_of(400)
    part = parts.write(table, tmp_path, "p.parquet")
    whole = (tmp_path / "p.parquet").read_bytes()
    metadata = pq.read_metadata(tmp_path / "p.parquet")
    chunks = [metadata.row_group(0).column(n) for n in range(metadata.num_columns)]
    in_pages = set()
    for chunk in chunks:
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        in_pages |= set(range(start, start + chunk.total_compressed_size))
    rng = random.Random(1)
    read_as_data = []
    for offset in rng.sample(range(len(whole)), 150):
        spoiled = bytearray(whole)
        spoiled[offset] ^= 1 << rng.randrange(8)
        path = tmp_path / "spoiled.parquet"
        path.write_bytes(spoiled)
        assert parts.sha256(path) != part.sha256
        try:
            found = parts.read(path)
        except (OSError, ValueError):
            continue
        if not found.equals(table) and offset in in_pages:
            read_as_data.append(offset)
    assert read_as_data == []
    assert len(in_pages) > 0.8 * len(whole)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_part_is_not_read(tmp_path, share):
    parts.write(table_of(50), tmp_path, "p.parquet")
    whole = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "p.parquet").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((OSError, ValueError)):
        parts.read(tmp_path / "p.parquet")


def test_temporary_files_go_beside_the_table_never_into_it(tmp_path):
    parts.write(table_of(5), tmp_path / "t", "p.parquet")
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["p.parquet"]
    assert list((tmp_path / "t.staging").iterdir()) == []
    parts.tidy(tmp_path / "t")
    assert not (tmp_path / "t.staging").exists()


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    parts.write_bytes(b"old", tmp_path / "t", "f")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        parts.write_bytes(b"new", tmp_path / "t", "f")
    assert (tmp_path / "t" / "f").read_bytes() == b"old"
    with pytest.raises(OSError, match="No space left"):
        parts.write_bytes(b"new", tmp_path / "t", "g")
    assert not (tmp_path / "t" / "g").exists()


def test_a_reader_meets_the_old_file_or_the_new_one_and_nothing_between(tmp_path):
    contents = [bytes([letter]) * 2_000_000 for letter in b"ab"]
    parts.write_bytes(contents[0], tmp_path / "t", "f")
    reader_pid = os.fork()
    if reader_pid == 0:
        seen = {(tmp_path / "t" / "f").read_bytes() for _ in range(200)}
        os._exit(0 if seen <= set(contents) else 1)
    while True:
        for content in contents:
            parts.write_bytes(content, tmp_path / "t", "f")
        ended, status = os.waitpid(reader_pid, os.WNOHANG)
        if ended:
            break
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file; a table needs a folder of its own"):
        parts.check_writable(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        parts.check_writable(tmp_path / "file" / "below")
    parts.check_writable(tmp_path / "new" / "table")
    assert not (tmp_path / "new" / "table").exists()


def test_a_location_is_a_path_or_a_url(tmp_path):
    url = (tmp_path / "t").as_uri()
    part = parts.write(table_of(5), url, "p.parquet")
    assert parts.read(parts.join(url, part.path)).num_rows == 5
    assert parts.exists(f"{url}/p.parquet")
    assert not parts.exists(f"{url}/q.parquet")
    assert parts.sha256(f"{url}/p.parquet") == part.sha256
    assert Path(tmp_path / "t" / "p.parquet").is_file()


def test_remove_folder_takes_what_is_there_and_minds_nothing_else(tmp_path):
    parts.write_bytes(b"x", tmp_path / "t", "f")
    parts.remove_folder(tmp_path / "t")
    assert not (tmp_path / "t").exists()
    parts.remove_folder(tmp_path / "t")
