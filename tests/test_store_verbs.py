"""The verbs of `python -m pipelines store`, on real stores of the small corpus."""

import json
import shutil

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines import store as verbs
from pipelines.store.compact import CompactConfig, compact
from pipelines.store.diff import DiffConfig, diff
from pipelines.store.forget import ForgetConfig, forget
from pipelines.store.history import HistoryConfig, history, told
from pipelines.store.repair import RepairConfig, repair
from pipelines.store.show import ShowConfig, show
from pipelines.store.sql import SqlConfig, sql
from pipelines.store.vacuum import VacuumConfig, vacuum
from pipelines.store.verify import VerifyConfig, verify
from schemas import parts, pins
from schemas.store import commit, open_store
from schemas.text import sentence_id


@pytest.fixture
def store(tmp_path, small_store):
    """A copy of the small store with all that lies beside it: 300 sentences in parts of 32."""
    for path in small_store.parent.iterdir():
        if path.suffix != ".pins":  # students of other tests
            shutil.copytree(path, tmp_path / path.name)
    return tmp_path / small_store.name


def texts_of(location, version=None) -> list[str]:
    table = open_store(location, version).dataset().to_table(columns=["text"])
    return sorted(table["text"].to_pylist())


def digests(location) -> dict[str, str]:
    return {part.path: part.sha256 for part in open_store(location).parts}


def file_of(location, index=0):
    return location / open_store(location).parts[index].path


def flip(path, at) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def vector_byte(path) -> int:
    """Where a byte of the vectors lies in a part."""
    group = pq.ParquetFile(path).metadata.row_group(0)
    column = next(
        group.column(i)
        for i in range(group.num_columns)
        if group.column(i).path_in_schema.startswith("vector_idf")
    )
    return column.data_page_offset + column.total_compressed_size // 2


def test_verify_passes_a_sound_store_and_compares_it_with_its_teacher(store, tiny_teacher):
    found = verify(VerifyConfig(location=str(store), teacher=str(tiny_teacher)))
    assert (found["rows"], found["parts"]) == (300, len(open_store(store).parts))
    assert found["parts_compared_with_the_teacher"] == found["parts"]
    assert found["lowest_cosine"] > 0.99999


def test_verify_names_every_damaged_part_and_what_to_do(store):
    flip(file_of(store, 0), 2000)
    file_of(store, 2).unlink()
    with pytest.raises(ValueError, match=r"2 of \d+ parts .* are damaged; .*store repair") as told:
        verify(VerifyConfig(location=str(store)))
    assert "has changed since it was committed" in str(told.value)
    assert "is missing" in str(told.value)


def test_verify_refuses_another_teacher(store, tmp_path, make_teacher):
    other = make_teacher(tmp_path / "other")
    config = other / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    with pytest.raises(ValueError, match="was made with the teacher"):
        verify(VerifyConfig(location=str(store), teacher=str(other)))


def test_repair_of_damaged_vectors_restores_the_very_bytes(store, tiny_teacher):
    before = open_store(store)
    path = file_of(store, 1)
    whole = path.read_bytes()
    flip(path, vector_byte(path))
    found = repair(RepairConfig(location=str(store), teacher=str(tiny_teacher)))
    assert (found["damaged"], found["restored"], found["replaced"]) == (1, 1, 0)
    assert path.read_bytes() == whole
    assert open_store(store) == before


def test_repair_leaves_a_sound_store_alone(store, tiny_teacher):
    found = repair(RepairConfig(location=str(store), teacher=str(tiny_teacher)))
    assert (found["damaged"], found["version"]) == (0, 0)


def test_a_part_that_is_gone_is_given_up_and_the_same_teacher_run_brings_it_back(
    store, tiny_teacher, small_corpus, embed, sentences
):
    before = digests(store)
    file_of(store, 1).unlink()
    lost = open_store(store).parts[1]
    with pytest.raises(ValueError, match="With --give-up-unreadable they are dropped"):
        repair(RepairConfig(location=str(store), teacher=str(tiny_teacher)))
    settings = RepairConfig(location=str(store), teacher=str(tiny_teacher), give_up_unreadable=True)
    found = repair(settings)
    assert (found["given_up"], found["given_up_rows"], found["version"]) == (1, lost.rows, 1)
    assert open_store(store).rows == 300 - lost.rows
    again = embed(small_corpus, out=store, pooling=("idf", "mean", "cls"))
    assert (again["new"], again["reused"]) == (lost.rows, 300 - lost.rows)
    assert texts_of(store) == sorted(sentences)
    assert sorted(digests(store).values()) == sorted(before.values())
    verify(VerifyConfig(location=str(store)))


def test_a_forgotten_sentence_is_gone_and_never_comes_back(store, small_corpus, embed, sentences):
    gone = sentences[7]
    config = ForgetConfig(location=str(store), text=(gone,), sentence_id=("0" * 32,))
    found = forget(config)
    assert (found["rows_removed"], found["not_there"], found["version"]) == (1, 1, 1)
    assert texts_of(store) == sorted(set(sentences) - {gone})
    assert forget(config)["version"] == 1
    again = embed(small_corpus, out=store, pooling=("idf", "mean", "cls"), date="2026-01-02")
    assert (again["new"], again["reused"], again["forgotten"]) == (0, 299, 1)
    assert gone not in texts_of(store)
    assert gone in texts_of(store, 0)


def test_the_bytes_of_a_forgotten_sentence_are_gone_after_vacuuming(store, sentences):
    forget(ForgetConfig(location=str(store), text=(sentences[7],)))
    vacuum(VacuumConfig(location=str(store), retention_hours=0))
    found = duckdb.sql(
        f"SELECT count(*) FROM read_parquet('{store}/*/*.parquet') WHERE text = '{sentences[7]}'"
    )
    assert found.fetchall() == [(0,)]
    with pytest.raises(ValueError, match=r"version 0 of .* can no longer be read: 1 of its"):
        open_store(store, 0)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({}, "nothing to forget"),
        ({"sentence_id": ("北京",)}, "an id is 32 hexadecimal digits, got '北京'"),
    ],
)
def test_forget_refuses_what_it_cannot_find(store, settings, rule):
    with pytest.raises(ValueError, match=rule):
        forget(ForgetConfig(location=str(store), **settings))


def test_compaction_keeps_every_row_and_vector(store):
    before = open_store(store).dataset().to_table().sort_by("sentence_id")
    found = compact(CompactConfig(location=str(store), rows_per_part=200))
    assert found["parts_after"] < found["parts_before"]
    opened = open_store(store)
    assert opened.dataset().to_table().sort_by("sentence_id").equals(before)
    assert max(part.rows for part in opened.parts) <= 200
    verify(VerifyConfig(location=str(store)))
    assert compact(CompactConfig(location=str(store), rows_per_part=64))["version"] == 1


def test_compaction_joins_no_parts_of_different_dates(store, tmp_path, embed):
    corpus = tmp_path / "new.txt"
    corpus.write_text("后天北京有音乐会\n明天成都有地铁\n", encoding="utf-8")
    embed(corpus, out=store, pooling=("idf", "mean", "cls"), date="2026-01-02")
    compact(CompactConfig(location=str(store), rows_per_part=10_000))
    assert [part.path.split("/")[0] for part in open_store(store).parts] == [
        "ingest_date=2026-01-01",
        "ingest_date=2026-01-02",
    ]


def test_vacuum_keeps_what_a_student_names_until_the_student_is_gone(store, tmp_path):
    student = tmp_path / "student"
    student.mkdir()
    assert pins.pin(str(store), 0, student)
    compact(CompactConfig(location=str(store), rows_per_part=400))
    kept = vacuum(VacuumConfig(location=str(store), retention_hours=0))
    assert (kept["files"], kept["versions_kept"]) == (0, [0, 1])
    assert open_store(store, 0).rows == 300
    student.rmdir()
    assert vacuum(VacuumConfig(location=str(store), retention_hours=0))["files"] == 0
    given_up = VacuumConfig(location=str(store), retention_hours=0, unpin_missing=True)
    assert vacuum(given_up)["files"] > 1
    assert open_store(store).rows == 300
    assert pins.pins(str(store)) == []


def test_vacuum_deletes_only_what_is_old_enough_and_tells_first(store):
    compact(CompactConfig(location=str(store), rows_per_part=400))
    assert vacuum(VacuumConfig(location=str(store)))["files"] == 0
    listed = vacuum(VacuumConfig(location=str(store), retention_hours=0, dry_run=True))
    assert (listed["deleted"], listed["files"] > 1) == (False, True)
    assert open_store(store, 0).rows == 300


def test_vacuum_spares_the_work_of_an_unfinished_run(store):
    part = open_store(store).parts[0]
    orphan = parts.write(
        parts.read(store / part.path), store, "ingest_date=2026-01-05/part-x.parquet"
    )
    record = json.dumps({"part": {"path": orphan.path}}).encode()
    parts.write_bytes(record, f"{store}.staging/run9", "part-x.json")
    with pytest.raises(ValueError, match="1 of these files may be the work of run9, which has not"):
        vacuum(VacuumConfig(location=str(store), retention_hours=0))
    assert (store / orphan.path).exists()
    vacuum(VacuumConfig(location=str(store), retention_hours=0, abandon=("run9",)))
    assert not (store / orphan.path).exists()


def test_vacuum_deletes_what_a_killed_process_was_writing(store):
    for beside in ("", ".runs"):
        folder = store.with_name(f"{store.name}{beside}.staging")
        folder.mkdir()
        (folder / "0123.tmp").write_bytes(b"half")
    assert vacuum(VacuumConfig(location=str(store)))["files"] == 0
    found = vacuum(VacuumConfig(location=str(store), retention_hours=0))
    assert (found["files"], found["bytes"]) == (2, 8)
    assert not list(store.parent.glob("*.staging"))


def test_a_part_that_is_deleted_before_its_commit_is_never_committed(store):
    before = open_store(store)
    rows = parts.read(before.path_of(before.parts[0]))
    part = parts.write(rows, store, "ingest_date=2026-01-05/part-x.parquet")
    (store / part.path).unlink()
    with pytest.raises(FileNotFoundError, match="is no longer as this run wrote it"):
        commit(store, None, [part], run_id="x", fingerprint=before.fingerprint, summary={})
    assert open_store(store) == before


def test_a_part_can_be_rewritten_any_number_of_times(store, sentences):
    for text in sentences[:30]:
        forget(ForgetConfig(location=str(store), text=(text,)))
    opened = open_store(store)
    assert opened.rows == 270
    assert max(len(part.path) for part in opened.parts) < 80


def test_a_damaged_part_is_not_rewritten(store, sentences):
    for index in range(len(open_store(store).parts)):
        flip(file_of(store, index), vector_byte(file_of(store, index)))
    with pytest.raises(ValueError, match="has changed since it was committed"):
        forget(ForgetConfig(location=str(store), text=(sentences[0],)))
    with pytest.raises(ValueError, match="has changed since it was committed"):
        compact(CompactConfig(location=str(store), rows_per_part=400))


def test_nothing_is_added_to_a_damaged_store(store, small_corpus, embed):
    file_of(store, 0).write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="store repair"):
        embed(small_corpus, out=store, pooling=("idf", "mean", "cls"), date="2026-01-02")


def test_vacuuming_overtakes_no_run(store):
    compact(CompactConfig(location=str(store), rows_per_part=400))
    before = open_store(store)
    assert vacuum(VacuumConfig(location=str(store), retention_hours=0))["files"] > 1
    assert open_store(store).version > before.version
    rows = parts.read(before.path_of(before.parts[0])).slice(0, 1)
    part = parts.write(rows, store, "ingest_date=2026-01-05/part-x.parquet")
    about = {"fingerprint": before.fingerprint, "summary": {}, "after": before.version}
    assert commit(store, None, [part], run_id="x", **about) == open_store(store).version


def test_a_run_that_is_not_there_cannot_be_abandoned(store):
    with pytest.raises(ValueError, match=r"there is no unfinished run \.\./\.\.,"):
        vacuum(VacuumConfig(location=str(store), abandon=("../..",)))
    assert store.exists()


def test_history_tells_what_each_version_added_and_who_needs_it(store, sentences, tmp_path):
    forget(ForgetConfig(location=str(store), text=(sentences[0],)))
    pins.pin(str(store), 0, tmp_path)
    first, second = history(HistoryConfig(location=str(store)))["versions"]
    assert (first["rows"], first["added"], first["pinned_by"]) == (300, 300, [str(tmp_path)])
    assert (second["rows"], second["what"], second["readable"]) == (299, "forget", True)
    assert second["removed"] - second["added"] == 1
    lines = told(HistoryConfig(location=str(store))).splitlines()
    assert len({len(line.rstrip()) for line in lines[1:]}) <= 2
    assert "forget" in lines[2]


def test_show_describes_a_version(store):
    found = show(ShowConfig(location=str(store)))
    assert (found["rows"], found["rows_by_date"]) == (300, {"2026-01-01": 300})
    assert found["columns"]["vector_idf"].startswith("list<")
    assert found["fingerprint"]["max_tokens"] == "64"


def test_show_follows_a_sentence_back_to_its_inputs(store, sentences, small_corpus):
    found = show(ShowConfig(location=str(store), text=f" {sentences[3]} "))
    assert found["row"]["text"] == sentences[3]
    assert found["part"]["first"] <= sentence_id(sentences[3]) <= found["part"]["last"]
    (source,) = found["run"]["inputs"]
    assert (source["file"], len(source["sha256"])) == (str(small_corpus), 64)
    assert found["made_from"]["teacher"]
    with pytest.raises(ValueError, match="has no sentence ffff"):
        show(ShowConfig(location=str(store), sentence_id="f" * 32))


def test_the_sql_of_a_version_selects_exactly_its_rows(store, sentences):
    forget(ForgetConfig(location=str(store), text=(sentences[0],)))
    for version, rows in ((0, 300), (1, 299)):
        connection = duckdb.connect()
        connection.execute(sql(SqlConfig(location=str(store), version=version, view="v")))
        assert connection.execute("SELECT count(*) FROM v").fetchone() == (rows,)


def test_diff_counts_rows_and_compares_those_written_anew(store, sentences):
    forget(ForgetConfig(location=str(store), text=tuple(sentences[:2])))
    found = diff(DiffConfig(location=str(store), before=0))
    assert (found["rows_added"], found["rows_removed"]) == (0, 2)
    assert sorted(found["removed_examples"]) == sorted(map(sentence_id, sentences[:2]))
    drift = found["vector_idf"]
    assert drift["cosine_lowest"] == pytest.approx(1)
    assert drift["rewritten_rows_compared"] > 10
    assert drift["centre_cosine"] == pytest.approx(1, abs=1e-3)
    assert "idf" not in found


def test_a_store_of_int8_components_is_verified_mended_joined_and_compared(
    tmp_path, embed, tiny_teacher, small_corpus, sentences
):
    location, teacher = tmp_path / "store", str(tiny_teacher)
    embed(small_corpus, out=location, vector_dtype="int8", pca=6)
    before = digests(location)
    assert verify(VerifyConfig(location=str(location), teacher=teacher))["lowest_cosine"] > 0.9999
    flip(file_of(location), 2000)
    repair(RepairConfig(location=str(location), teacher=teacher))
    assert digests(location) == before
    forget(ForgetConfig(location=str(location), text=tuple(sentences[:2])))
    compact(CompactConfig(location=str(location)))
    assert texts_of(location) == sorted(sentences[2:])
    drift = diff(DiffConfig(location=str(location), before=0))["vector_idf"]
    assert min(drift["cosine_lowest"], drift["centre_cosine"]) > 0.999
    # In the teacher's space: the mean of coordinates along components would be about 0.
    assert min(drift["centre_length"]) > 1


def test_a_copied_store_can_be_verified_and_added_to(store, tmp_path, embed, small_corpus):
    shutil.copytree(store, tmp_path / "copy")
    shutil.rmtree(store)
    assert verify(VerifyConfig(location=str(tmp_path / "copy")))["rows"] == 300
    again = embed(small_corpus, out=tmp_path / "copy", pooling=("idf", "mean", "cls"))
    assert again["already_done"]


def test_the_verbs_are_commands(store, capsys):
    verbs.main(["show", str(store)])
    assert json.loads(capsys.readouterr().out)["rows"] == 300
    with pytest.raises(SystemExit) as ended:
        verbs.main(["shwo"])
    assert ended.value.code == 64
    assert "verify" in capsys.readouterr().err
    flip(file_of(store), vector_byte(file_of(store)))
    with pytest.raises(SystemExit) as ended:
        verbs.main(["verify", str(store)])
    assert ended.value.code == 65
