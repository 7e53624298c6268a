"""A store: versions that appear at once, once a run, under one fingerprint; and only those."""

import datetime
import json
import multiprocessing
import shutil

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from schemas import parts, store
from schemas.store import commit, committed, open_store
from schemas.text import sentence_id
from tests.faults.committer import FINGERPRINT, SCHEMA, table_of


def add(location, texts, run_id, *, date="2026-01-01", **settings):
    """Write one part and commit it; returns the version."""
    path = f"ingest_date={date}/part-{run_id}.parquet"
    part = parts.write(table_of(*texts), location, path, settings.pop("row_group", 2048))
    about = {"fingerprint": FINGERPRINT, "summary": {"n": len(texts)}, **settings}
    return commit(location, SCHEMA, [part], run_id=run_id, **about)


def texts_in(opened) -> list[str]:
    return sorted(opened.dataset().to_table(columns=["text"])["text"].to_pylist())


def test_a_new_store_has_version_0_and_the_next_commit_adds_to_it(tmp_path):
    assert add(tmp_path / "s", ["甲", "乙"], "r1") == 0
    assert add(tmp_path / "s", ["丙"], "r2", date="2026-01-02") == 1
    opened = open_store(tmp_path / "s")
    assert (opened.version, opened.rows) == (1, 3)
    assert texts_in(opened) == sorted(["甲", "乙", "丙"])
    assert [(c.version, c.run_id, c.summary) for c in opened.commits] == [
        (0, "r1", {"n": 2}),
        (1, "r2", {"n": 1}),
    ]
    assert opened.fingerprint == FINGERPRINT
    opened.verify()


def test_a_second_commit_of_a_run_changes_nothing(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    add(tmp_path / "s", ["乙"], "r2")
    before = open_store(tmp_path / "s")
    other = parts.write(table_of("丁"), tmp_path / "s", "ingest_date=2026-01-03/part-x.parquet")
    again = commit(
        tmp_path / "s", SCHEMA, [other], run_id="r1", fingerprint=FINGERPRINT, summary={}
    )
    assert again == 0
    assert open_store(tmp_path / "s") == before


def test_an_older_version_shows_what_was_there_then(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    add(tmp_path / "s", ["乙"], "r2", date="2026-01-02")
    old = open_store(tmp_path / "s", 0)
    assert (old.version, old.rows, texts_in(old), len(old.commits)) == (0, 1, ["甲"], 1)


@pytest.mark.parametrize("version", [-1, 2, 99])
def test_a_version_that_is_not_there_is_refused_naming_those_that_are(tmp_path, version):
    add(tmp_path / "s", ["甲"], "r1")
    add(tmp_path / "s", ["乙"], "r2")
    with pytest.raises(ValueError, match=f"has versions 0 to 1, got {version}"):
        open_store(tmp_path / "s", version)


def test_a_store_of_another_fingerprint_is_refused_naming_the_part(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    wanted = {**FINGERPRINT, "teacher": "t2"}
    message = "the store '.*s' was made under other conditions: teacher is 't1', wanted 't2'$"
    with pytest.raises(ValueError, match=message):
        open_store(tmp_path / "s", expected=wanted)
    with pytest.raises(ValueError, match=message):
        add(tmp_path / "s", ["乙"], "r2", fingerprint=wanted)
    assert open_store(tmp_path / "s").rows == 1
    assert open_store(tmp_path / "s", expected=dict(FINGERPRINT)).rows == 1


def test_files_in_the_folder_that_no_run_committed_are_invisible(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    parts.write(table_of("乙"), tmp_path / "s", "ingest_date=2026-01-01/part-killed.parquet")
    (tmp_path / "s" / "ingest_date=2026-01-01" / "notes.txt").write_text("hello")
    opened = open_store(tmp_path / "s")
    assert texts_in(opened) == ["甲"]
    assert [path.rpartition("/")[2] for path in DeltaTable(str(tmp_path / "s")).file_uris()] == [
        "part-r1.parquet"
    ]


def test_parts_that_another_program_added_to_the_log_are_refused(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    row = table_of("乙").append_column("ingest_date", pa.array([datetime.date(2026, 1, 1)]))
    write_deltalake(str(tmp_path / "s"), row, mode="append")
    with pytest.raises(ValueError, match="holds parts that no run of ours committed"):
        open_store(tmp_path / "s")


def test_there_is_no_table_in_an_empty_folder_a_file_or_nowhere(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("empty", "file", "nowhere"):
        assert not store.exists(tmp_path / name)
        assert committed(tmp_path / name, "r1") is None
        with pytest.raises(FileNotFoundError, match=f"there is no table at .*{name}"):
            open_store(tmp_path / name)


def test_a_changed_or_missing_part_is_named(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    opened = open_store(tmp_path / "s")
    path = tmp_path / "s" / opened.parts[0].path
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"part .*part-r1\.parquet has changed since it was comm"):
        opened.verify()
    path.unlink()
    with pytest.raises(ValueError, match=r"part .*part-r1\.parquet is missing"):
        opened.verify()


def test_a_moved_store_still_opens(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    shutil.move(tmp_path / "s", tmp_path / "elsewhere")
    opened = open_store(tmp_path / "elsewhere")
    opened.verify()
    assert texts_in(opened) == ["甲"]
    add(tmp_path / "elsewhere", ["乙"], "r2")
    assert open_store(tmp_path / "elsewhere").rows == 2
    assert not (tmp_path / "s").exists()


def racer(barrier, races, results):
    """Commit, race after race, at the same moment as the other one."""
    for location, run_id, text in iter(races.get, None):
        path = f"ingest_date=2026-01-02/part-{text}.parquet"
        part = parts.write(table_of(text), location, path)
        about = {"fingerprint": FINGERPRINT, "summary": {"by": text}}
        barrier.wait(60)  # if the other one has died, do not wait for ever
        results.put(commit(location, SCHEMA, [part], run_id=run_id, **about))


@pytest.fixture(scope="module")
def versions_of_race():
    """Function (table, two (run id, text)) -> the versions that two processes got at once."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    queues = [context.Queue(), context.Queue()]
    racers = [context.Process(target=racer, args=(barrier, one, results)) for one in queues]
    for process in racers:
        process.start()

    def run(location, *runs) -> list[int]:
        for races, one in zip(queues, runs, strict=True):
            races.put((location, *one))
        return sorted(results.get(timeout=60) for _ in runs)

    yield run
    for process, races in zip(racers, queues, strict=True):
        races.put(None)
        process.join()


def test_of_two_processes_racing_on_one_run_one_commits(tmp_path, versions_of_race):
    add(tmp_path / "s", ["甲"], "r1")
    assert versions_of_race(tmp_path / "s", ("r2", "b"), ("r2", "c")) == [1, 1]
    opened = open_store(tmp_path / "s")
    assert [c.run_id for c in opened.commits] == ["r1", "r2"]
    assert texts_in(opened) == sorted(["甲", opened.commits[1].summary["by"]])


def test_of_two_processes_that_create_a_table_under_one_run_one_commits(tmp_path, versions_of_race):
    # Delta alone let both land in 75 of 80 tries.
    for number in range(20):
        location = tmp_path / f"s{number}"
        assert versions_of_race(location, ("r1", "b"), ("r1", "c")) == [0, 0]
        assert open_store(location).rows == 1


def test_two_runs_that_create_a_table_at_once_both_land(tmp_path, versions_of_race):
    for number in range(20):
        location = tmp_path / f"s{number}"
        assert versions_of_race(location, ("r1", "b"), ("r2", "c")) == [0, 1]
        assert texts_in(open_store(location)) == ["b", "c"]


def test_two_different_runs_at_once_both_land(tmp_path, versions_of_race):
    add(tmp_path / "s", ["甲"], "r1")
    assert versions_of_race(tmp_path / "s", ("r2", "b"), ("r3", "c")) == [1, 2]
    assert texts_in(open_store(tmp_path / "s")) == sorted(["甲", "b", "c"])


def test_a_run_that_adds_nothing_is_remembered(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    version = commit(
        tmp_path / "s", SCHEMA, [], run_id="r2", fingerprint=FINGERPRINT, summary={"n": 0}
    )
    assert version == 1
    assert committed(tmp_path / "s", "r2").summary == {"n": 0}
    assert open_store(tmp_path / "s").rows == 1


@pytest.fixture
def wide(tmp_path):
    """A store of two parts, 60 rows in row groups of 10, and all its ids sorted."""
    texts = [f"第{n}句" for n in range(60)]
    ids = sorted(map(sentence_id, texts))
    by_id = {sentence_id(text): text for text in texts}
    add(tmp_path / "s", [by_id[one] for one in ids[:30]], "low", row_group=10)
    add(tmp_path / "s", [by_id[one] for one in ids[30:]], "high", row_group=10)
    return tmp_path / "s", ids


def found(location, first, last) -> list[str]:
    keys = [key for chunk in open_store(location).keys(first, last) for key in chunk.to_pylist()]
    return sorted(key for key in keys if first <= key <= last)


@pytest.mark.parametrize(("start", "stop"), [(0, 59), (0, 0), (29, 30), (12, 14), (45, 59)])
def test_keys_gives_every_key_of_the_range(wide, start, stop):
    location, ids = wide
    assert found(location, ids[start], ids[stop]) == ids[start : stop + 1]


def test_keys_of_a_range_without_rows_are_none(wide):
    location, ids = wide
    assert list(open_store(location).keys("0", "00")) == []
    assert list(open_store(location).keys(ids[-1] + "x", "z")) == []


def test_keys_reads_no_part_and_no_row_group_outside_the_range(wide):
    location, ids = wide
    low, high = (
        location / part.path
        for part in sorted(open_store(location).parts, key=lambda part: part.first)
    )
    high.unlink()
    # Spoil the ids of the last row group: reading them would fail their checksum.
    with parts.open_part(low) as file:
        column = file.metadata.row_group(2).column(0)
        assert column.path_in_schema == "sentence_id"
        at = column.data_page_offset + column.total_compressed_size - 3
    content = bytearray(low.read_bytes())
    content[at] ^= 1
    low.write_bytes(content)
    assert found(location, ids[0], ids[19]) == ids[:20]
    with pytest.raises(OSError, match=r"(?i)crc|checksum|corrupt"):
        found(location, ids[0], ids[20])
    with pytest.raises(FileNotFoundError):
        found(location, ids[40], ids[41])


def test_what_a_commit_said_is_in_the_log_for_any_reader(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    (entry,) = DeltaTable(str(tmp_path / "s")).history()
    assert json.loads(entry["ltd.fingerprint"]) == FINGERPRINT
    (described,) = json.loads(entry["ltd.parts"])
    assert described["rows"] == 1
    assert described["sha256"] == parts.sha256(tmp_path / "s" / described["path"])


@pytest.mark.parametrize("path", ["../x.parquet", "a/b/c.parquet", "x.csv", "d=1/../x.parquet"])
def test_a_part_outside_the_folder_cannot_be_committed(tmp_path, path):
    part = parts.Part(path, 1, 1, "00", "a", "b")
    with pytest.raises(ValueError, match="not the path of a part under its table"):
        commit(tmp_path / "s", SCHEMA, [part], run_id="r", fingerprint={}, summary={})
    assert not store.exists(tmp_path / "s")


def test_a_run_that_must_come_next_is_told_when_another_came_first(tmp_path):
    add(tmp_path / "s", ["甲"], "r1")
    part = parts.write(table_of("乙"), tmp_path / "s", "ingest_date=2026-01-02/part-r2.parquet")
    about = {"fingerprint": FINGERPRINT, "summary": {}}
    for after in (-1, 1):
        with pytest.raises(store.Overtaken, match=f"went from version {after} to 0 meanwhile"):
            commit(tmp_path / "s", SCHEMA, [part], run_id="r2", after=after, **about)
    assert open_store(tmp_path / "s").rows == 1
    assert commit(tmp_path / "s", SCHEMA, [part], run_id="r2", after=0, **about) == 1
    assert commit(tmp_path / "s", SCHEMA, [part], run_id="r2", after=0, **about) == 1
