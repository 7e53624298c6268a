"""A job killed before every file that it publishes, every commit, and every removal."""

from pathlib import Path

import pytest

from pipelines.store.vacuum import VacuumConfig, vacuum
from schemas import store
from schemas.idf import IdfTable
from schemas.prepare import load_preparer
from schemas.store import open_store
from tests.faults.kit import Job, Stop, result_of, side_by_side, summary_of

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module", params=["idf", "teacher"])
def undisturbed(request, job_flags, tmp_path_factory) -> tuple[str, list[str], object]:
    """A job, its steps, and all that a reader finds at its end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    job = Job(folder, request.param, job_flags(request.param, folder / "in" / "out"))
    ended = job.end()
    assert ended.status == 0, ended.told
    return request.param, job.steps(), result_of(folder / "in" / "out")


def test_a_job_killed_before_any_step_shows_nothing_and_the_same_command_ends_as_undisturbed(
    undisturbed, job_flags, matrix, tmp_path
):
    matrix.rows(2)
    job, steps, result = undisturbed

    def kill(number: int) -> str:
        return kill_before(
            job, number, job_flags(job, tmp_path / str(number) / "in" / "out"), result
        )

    shown = side_by_side(kill, range(1, len(steps) + 1))
    assert shown[0] == "nothing"
    matrix.count(**{f"crash_points_of_the_{job}_job": len(steps)})


def kill_before(job: str, number: int, flags: list[object], result: object) -> str:
    """Kill a job before a step, look, and run the same command again; says what was seen."""
    out = Path(str(flags[3]))
    folder = out.parents[1]
    killed = Job(folder, job, flags, Stop(number))
    ended = killed.end()
    assert ended.status == -9, f"not killed before step {number}: {ended.told}"
    last = killed.steps()[-1]
    seen = store.exists(out)
    if seen:
        assert result_of(out) == result, last
    kept = finished(out)
    again = Job(folder, job, flags).end()
    assert again.status == 0, f"{last}: {again.told}"
    assert result_of(out) == result, last
    told = summary_of(again)
    assert told["already_done" if job == "teacher" else "reused"] == seen
    if job == "teacher" and not seen:
        assert told["parts_kept_from_earlier_try"] == kept, last
    check_left_over(job, out, last)
    return "all" if seen else "nothing"


def finished(out: Path) -> int:
    """Parts that a killed run has finished, by its records."""
    return len(list(out.parent.glob("out.staging/*/part-*.json")))


def check_left_over(job: str, out: Path, last: str) -> None:
    """Parts and log in the folder, nothing of the run in its staging, and what is beside works."""
    listed = {path.suffix for path in out.rglob("*") if path.is_file()}
    assert {path.name for path in out.iterdir()} <= {
        "_delta_log",
        "ingest_date=2026-01-01",
        *(path.name for path in out.glob("*.parquet")),
    }, last
    assert listed == {".parquet", ".json"}, last
    assert not [path for path in out.parent.glob("out.staging/*") if path.is_dir()], last
    if job == "teacher":
        (folder,) = (path for path in out.parent.glob("out.preparer/*") if path.suffix == "")
        load_preparer(folder)
    else:
        IdfTable.load(out)


def test_what_a_killed_run_left_half_written_is_gone_after_vacuuming(job_flags, matrix, tmp_path):
    matrix.rows(2, 11)
    out = tmp_path / "in" / "out"
    flags = job_flags("teacher", out)
    steps = Job(tmp_path, "teacher", job_flags("teacher", tmp_path / "alone"))
    assert steps.end().status == 0
    first_part = 1 + next(
        number for number, step in enumerate(steps.steps()) if "alone.staging/" in step
    )
    for number in (1, first_part, len(steps.steps()) - 1):
        assert Job(tmp_path, "teacher", flags, Stop(number)).end().status == -9
    assert Job(tmp_path, "teacher", flags).end().status == 0
    assert list(out.parent.glob("*.staging/*.tmp"))
    vacuum(VacuumConfig(location=str(out), retention_hours=1))
    assert list(out.parent.glob("*.staging/*.tmp")), "the file of a run that may still write"
    vacuum(VacuumConfig(location=str(out), retention_hours=0))
    assert not list(out.parent.glob("out.staging*"))
    assert not list(out.parent.glob("*.staging/*.tmp"))
    open_store(out).verify()
