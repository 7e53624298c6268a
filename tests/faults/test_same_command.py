"""The same command started twice or three times at once, and a part that is written twice."""

from pathlib import Path

import pyarrow as pa
import pytest

from schemas import parts
from schemas.idf import IdfTable
from schemas.store import open_store
from tests.faults.committer import commit_part, table_of
from tests.faults.kit import Job, Stop, result_of, side_by_side, summary_of, wait_for

pytestmark = pytest.mark.faults


def alone(folder: Path, job: str, flags: list[object]) -> Job:
    """A job that ends well."""
    child = Job(folder, job, flags)
    ended = child.end()
    assert ended.status == 0, ended.told
    return child


def found_done(folder: Path, job: str, flags: list[object]) -> bool:
    """Whether a job says that there was nothing to do."""
    summary = summary_of(Job(folder, job, flags).end())
    return bool(summary["already_done" if job == "teacher" else "reused"])


def paused(folder: Path, job: str, flags: list[object], step: int) -> Job:
    """A job that has come to a step, and waits there for the file `go`."""
    child = Job(folder, job, flags, Stop(step, until=folder / "go"))
    wait_for(lambda: len(child.steps()) == step or not child.runs())
    return child


def test_a_job_that_waits_at_any_step_while_the_same_command_does_the_work_harms_nothing(
    job_flags, matrix, tmp_path
):
    matrix.rows(29, 30)
    steps = alone(tmp_path, "teacher", job_flags("teacher", tmp_path / "alone")).steps()

    def overtake(step: int) -> bool:
        folder = tmp_path / str(step)
        flags = job_flags("teacher", folder / "out")
        slow = paused(folder, "teacher", flags, step)
        # Other batches round otherwise, so a part of the other process is another file.
        alone(folder, "teacher", [*flags, "--token-budget", 20])
        before = result_of(folder / "out")
        (folder / "go").touch()
        ended = slow.end()
        assert ended.status in (0, 75), f"{steps[step - 1]}: {ended.told}"
        assert result_of(folder / "out") == before
        assert found_done(folder, "teacher", flags)
        assert not (folder / "out.staging").exists()
        return before != result_of(tmp_path / "alone")

    differing = side_by_side(overtake, range(1, len(steps) + 1))
    assert any(differing), "both rounded alike, so nothing was put to the test"
    matrix.count(overtaken_at=len(steps))


def test_of_two_idf_jobs_on_one_folder_the_slower_one_is_told_and_the_table_stays_whole(
    job_flags, sentences, matrix, tmp_path
):
    matrix.rows(10)
    (tmp_path / "other.txt").write_text("\n".join(sentences[20:40]) + "\n", encoding="utf-8")
    steps = alone(tmp_path, "idf", job_flags("idf", tmp_path / "alone")).steps()
    commit = steps.index(f"write {tmp_path / 'alone'}") + 1

    def overtake(step: int) -> int:
        folder = tmp_path / str(step)
        slow = paused(folder, "idf", job_flags("idf", folder / "out"), step)
        alone(folder, "idf", ["--corpus", tmp_path / "other.txt", "--out", folder / "out"])
        before = IdfTable.load(folder / "out").digest()
        (folder / "go").touch()
        ended = slow.end()
        assert IdfTable.load(folder / "out").digest() == before
        return ended.status

    # Before its commit it is refused; after it, the other one would have been.
    statuses = side_by_side(overtake, range(1, commit + 1))
    assert set(statuses) <= {65, 73, 75}
    matrix.count(overtaken_at=len(statuses))


@pytest.mark.parametrize("job", ["idf", "teacher"])
def test_of_three_triggers_at_once_one_commits_and_nobody_fails(job, job_flags, matrix, tmp_path):
    matrix.rows(29)
    alone(tmp_path, job, job_flags(job, tmp_path / "alone"))
    flags = job_flags(job, tmp_path / "out")
    children = [Job(tmp_path, job, flags) for _ in range(3)]
    ended = [child.end() for child in children]
    assert {one.status for one in ended} <= {0, 75}, [one.told for one in ended]
    assert len(open_store(tmp_path / "out").commits) == 1
    assert result_of(tmp_path / "out") == result_of(tmp_path / "alone")
    assert all(found_done(tmp_path, job, flags) for _ in range(3))
    matrix.count(triggers=3)


def test_a_staging_folder_that_another_run_tidies_away_is_made_again(matrix, monkeypatch, tmp_path):
    matrix.rows(29)
    made = []
    make = parts._make_folder

    def make_and_lose(folder: Path) -> None:
        make(folder)
        made.append(folder)
        if folder.suffix == ".staging" and len(made) < 4:
            parts.tidy(tmp_path / "table")

    monkeypatch.setattr(parts, "_make_folder", make_and_lose)
    parts.check_writable(tmp_path / "table")
    made.clear()
    parts.write_bytes(b"content", tmp_path / "table", "file")
    assert (tmp_path / "table" / "file").read_bytes() == b"content"
    assert made.count(tmp_path / "table.staging") > 1


def test_a_part_that_comes_back_with_other_bytes_takes_nobody_s_place(matrix, tmp_path):
    matrix.rows(30)
    table = table_of("甲")
    at = table.column_names.index("norm")
    rounded = table.set_column(at, table.schema.field(at), pa.array([1.0000001], pa.float32()))
    first, again, other = (
        parts.write(one, tmp_path / "store", "ingest_date=2026-01-01/part-00000-*.parquet")
        for one in (table, table, rounded)
    )
    assert first == again
    assert first.path != other.path
    assert [commit_part(str(tmp_path / "store"), "r1", one) for one in (first, again, other)] == [
        *(0, 0, 0)
    ]
    opened = open_store(tmp_path / "store")
    opened.verify()
    assert opened.parts == (first,)
