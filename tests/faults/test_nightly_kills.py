"""A night killed (-9) before its steps, and started twice: the same command goes on, once."""

import itertools
import os
import shutil
import signal
from pathlib import Path

import pytest

from distill_jobs.nightly import history, pipeline_jobs
from schemas import delta
from schemas.store import open_store
from tests import nightly_kit as kit
from tests.faults.kit import Child, side_by_side, wait_for

pytestmark = pytest.mark.faults

FIRST, SECOND, THIRD, _ = kit.NIGHTS
EARLY = 8  # kills before the gate; each trains again


@pytest.fixture(scope="module")
def begun(tmp_path_factory, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_jobs.subprocess, "run", kit.pipelines_here)
        world = kit.begin(tmp_path_factory.mktemp("world"), count)
    kit.put_partition(world, THIRD, 160, 200)
    return world


def be_night(world, stop, steps):
    """Fire the third night in a child that kills itself before a step, counted from 1."""
    numbers = itertools.count(1)

    def counted(owner, name):
        original = getattr(owner, name)

        def step(*given, **named):
            with Path(steps).open("a", encoding="utf-8") as file:
                file.write(f"{name} {' '.join(map(str, given[:2]))}\n")
            if next(numbers) == stop:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*given, **named)

        setattr(owner, name, step)

    pipeline_jobs.subprocess.run = kit.pipelines_here
    for owner, name in ((os, "replace"), (os, "link"), (os, "rename"), (delta, "write")):
        counted(owner, name)
    counted(shutil, "rmtree")
    kit.night(world, THIRD)


def outcome(world):
    """All that a night leaves behind, but for times."""
    home = kit.home_of(world)
    decision = kit.record(world, THIRD, "decision")
    changes = [
        (one.number, one.kind, one.student, one.before) for one in history.events(home.folder)
    ]
    left = [path.name for path in home.folder.rglob("*") if path.name.startswith(".")]
    left += [path.name for path in home.folder.rglob("*.staging")]
    opened = open_store(world / "store")
    opened.verify()
    names = ("decision", "student", "dates", "before")
    return {
        "champion": kit.champion(world),
        "decision": {name: decision[name] for name in names},
        "second": kit.record(world, SECOND, "decision")["by"],
        "changes": changes,
        "students": sorted(os.listdir(home.folder / "students")),
        "store": (opened.version, opened.rows, [part.path for part in opened.parts]),
        "left": left,
    }


@pytest.fixture(scope="module")
def undisturbed(begun, tmp_path_factory):
    """The steps of the night, and what it leaves behind."""
    folder = tmp_path_factory.mktemp("undisturbed")
    world = shutil.copytree(begun, folder / "world", symlinks=True)
    ended = Child(folder, be_night, world, None, folder / "steps").end(280)
    assert ended.status == 0, ended.told
    return (folder / "steps").read_text(encoding="utf-8").splitlines(), outcome(world)


def kill_before(number, start, folder, expected):
    """Kill the night before a step, look at the champion, fire it again."""
    world = shutil.copytree(start, folder / str(number) / "world", symlinks=True)
    before = kit.champion(world)
    killed = Child(folder, be_night, world, number, folder / f"{number}.steps").end(280)
    last = (folder / f"{number}.steps").read_text(encoding="utf-8").splitlines()[-1]
    assert killed.status == -9, f"{last}: {killed.told}"
    assert kit.champion(world) in (before, expected["champion"]), last
    again = Child(folder, be_night, world, None, folder / f"{number}.again").end(280)
    assert again.status == 0, f"{last}: {again.told}"
    assert outcome(world) == expected, last
    shutil.rmtree(folder / str(number))


def test_a_night_killed_before_any_stage_ends_goes_on_to_the_same_champion(
    undisturbed, begun, matrix, tmp_path
):
    matrix.rows(31)
    steps, expected = undisturbed
    assert expected["left"] == []
    gate = next(n for n, step in enumerate(steps, 1) if "intention" in step)
    numbers = [1 + (gate - 2) * at // (EARLY - 1) for at in range(EARLY)]
    side_by_side(lambda number: kill_before(number, begun, tmp_path, expected), numbers)
    matrix.count(crash_points_of_a_night=EARLY)


def test_a_night_killed_at_any_step_from_the_gate_on_promotes_once(
    undisturbed, begun, matrix, tmp_path
):
    matrix.rows(31)
    steps, expected = undisturbed
    gate = next(n for n, step in enumerate(steps, 1) if "intention" in step)
    judged = shutil.copytree(begun, tmp_path / "judged", symlinks=True)
    assert Child(tmp_path, be_night, judged, gate, tmp_path / "steps").end(280).status == -9
    side_by_side(
        lambda number: kill_before(number, judged, tmp_path, expected),
        range(1, len(steps) - gate + 2),
    )
    matrix.count(crash_points_of_a_promotion=len(steps) - gate + 1)


def test_three_starts_at_once_do_the_night_once_and_a_killed_one_s_child_is_waited_for(
    begun, matrix, tmp_path
):
    """With real processes: the first is killed while its pipeline runs, which holds the lock."""
    matrix.rows(31)
    world = shutil.copytree(begun, tmp_path / "world", symlinks=True)
    first = kit.command(world, "nightly", "--date", THIRD)
    log = kit.home_of(world).night(THIRD) / "teacher.log"
    wait_for(log.exists, 280)
    first.kill()
    first.communicate()
    begun_at_once = [kit.command(world, "nightly", "--date", THIRD) for _ in range(3)]
    ended = [kit.finished(one) for one in begun_at_once]
    assert [status for status, _, _ in ended] == [0, 0, 0], ended[0][2][-2000:]
    told = [found for _, found, _ in ended]
    assert sorted(one["already_done"] for one in told) == [False, True, True]
    assert {one["champion"] for one in told} == {kit.champion(world)}
    runs = [one.run_id for one in open_store(world / "store").commits]
    assert len(runs) == len(set(runs)) == 3
    matrix.count(starts_of_one_night=4)
