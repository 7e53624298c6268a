"""Progress: counted from the files that shards leave; a bar for people, JSON lines for logs."""

import json
import time

import pyarrow as pa
import pytest

from pipelines import progress
from pipelines.progress import Progress
from schemas import parts


def prepare(staging, name, rows):
    parts.write(
        pa.table({"sentence_id": [f"{n:04}" for n in range(rows)]}), staging, f"{name}.prepared"
    )


def finish(staging, name, rows):
    record = {"part": {"rows": rows}}
    parts.write_bytes(json.dumps(record).encode(), staging, f"{name}.json")


def test_rows_of_finished_and_of_all_shards_are_counted(tmp_path):
    staging = str(tmp_path / "store.staging" / "run")
    watched = Progress(staging, "sentences")
    assert watched._count() == (0, 0)
    prepare(staging, "part-1", 30)
    prepare(staging, "part-2", 12)
    assert watched._count() == (0, 42)
    finish(staging, "part-2", 12)
    assert watched._count() == (12, 42)
    prepare(staging, "part-3", 8)
    finish(staging, "part-1-joined-with-3", 38)
    assert watched._count() == (50, 50)


def test_other_files_of_the_staging_folder_do_not_count(tmp_path):
    staging = str(tmp_path / "store.staging" / "run")
    prepare(staging, "part-1", 3)
    parts.write_bytes(b"x", staging, "half.tmp")
    assert Progress(staging, "sentences")._count() == (0, 3)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.01)
    monkeypatch.setattr(progress, "_LOG_EVERY", 0.02)


def test_a_log_gets_json_lines(tmp_path, quick, capsys):
    staging = str(tmp_path / "store.staging" / "run")
    prepare(staging, "part-1", 30)
    prepare(staging, "part-2", 12)
    finish(staging, "part-1", 30)
    with Progress(staging, "sentences"):
        time.sleep(0.3)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert 1 <= len(lines) < 30
    assert lines[0] == {
        "event": "progress",
        "done": 30,
        "total": 42,
        "unit": "sentences",
    }


def test_nothing_is_logged_before_there_are_shards(tmp_path, quick, capsys):
    with Progress(str(tmp_path / "store.staging" / "run"), "sentences"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_an_error_in_the_job_passes_through_and_the_watching_ends(tmp_path, quick):
    watched = Progress(str(tmp_path / "none"), "sentences")
    with pytest.raises(KeyError), watched:
        raise KeyError("ours")
    assert not watched._thread.is_alive()
