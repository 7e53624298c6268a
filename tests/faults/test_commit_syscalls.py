"""A commit stopped at, or failed by, every system call that it makes."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from schemas import store
from schemas.store import open_store
from tests.faults.committer import CommitConfig, commit_sentence
from tests.faults.kit import side_by_side
from tests.faults.strace import Point, at, commit_under_strace, points_of, watching

pytestmark = pytest.mark.faults

ERRORS = ("ENOSPC", "EIO", "EROFS")


@dataclasses.dataclass(frozen=True)
class Scene:
    """A commit that was watched, undisturbed.

    Attributes:
        before: folder with the store as it was; the store's folder in it is `store`.
        run: what commits: run id and sentence.
        points: its system calls, in order.
        old: what a reader saw before; None if there was no table.
        new: what a reader sees after.
    """

    before: Path
    run: tuple[str, str]
    points: list[Point]
    old: object
    new: object

    def copy(self, folder: Path) -> Path:
        """The store as it was, in a folder of its own."""
        shutil.copytree(self.before, folder / "in")
        return folder / "in"

    def flags(self, root: Path) -> list[str]:
        """The committer's."""
        return ["--out", str(root / "store"), "--run", self.run[0], "--text", self.run[1]]


@pytest.fixture(scope="module", params=["a new table", "another version"])
def scene(request, tmp_path_factory) -> Scene:
    before, after = tmp_path_factory.mktemp("before"), tmp_path_factory.mktemp("after")
    run = ("r1", "甲")
    if request.param == "another version":
        commit(before, *run)
        run = ("r2", "乙")
    found = Scene(before, run, [], seen(before), None)
    root = found.copy(after)
    ended, trace = commit_under_strace(after, found.flags(root), *watching())
    assert ended.status == 0, ended.told
    return dataclasses.replace(found, points=points_of(trace, root), new=seen(root))


def commit(root: Path, run: str, text: str) -> None:
    commit_sentence(CommitConfig(out=str(root / "store"), run=run, text=text))


def seen(root: Path) -> object:
    """All that a reader finds in the store, every part verified; None if there is no table."""
    if not store.exists(root / "store"):
        return None
    opened = open_store(root / "store")
    opened.verify()
    rows = opened.dataset().to_table().sort_by("sentence_id").to_pylist()
    commits = [(one.version, one.run_id, one.added, one.summary) for one in opened.commits]
    return opened.version, opened.parts, commits, rows


def strays(root: Path) -> list[str]:
    """Files in the store's folder that are neither parts nor in the log."""
    files = [path.relative_to(root / "store") for path in (root / "store").rglob("*")]
    return [
        str(path)
        for path in files
        if (root / "store" / path).is_file()
        and path.suffix != ".parquet"
        and path.parts[0] != "_delta_log"
    ]


def commits_again(scene: Scene, root: Path) -> None:
    """The same program again brings the store to where an undisturbed run brings it."""
    commit(root, *scene.run)
    assert seen(root) == scene.new
    assert strays(root) == []


def test_a_commit_killed_at_any_system_call_shows_the_old_version_or_the_new_and_can_be_repeated(
    scene, matrix, tmp_path
):
    matrix.rows(2)
    outcomes = side_by_side(
        lambda numbered: kill_at(scene, numbered[1], tmp_path / str(numbered[0])),
        enumerate(scene.points),
    )
    assert {"old", "new"} == set(outcomes)
    kinds = {(point.call, Path(point.path).suffix) for point in scene.points}
    matrix.count(crash_points=len(outcomes), kinds_of_call=len(kinds))


def kill_at(scene: Scene, point: Point, folder: Path) -> str:
    """Kill a commit at a point, look, and commit again; says which version was seen."""
    root = scene.copy(folder)
    ended, _ = commit_under_strace(folder, scene.flags(root), *at(point, root, "signal=KILL"))
    assert ended.status == -9, f"{point}: not killed there: {ended}"
    found = seen(root)
    assert found in (scene.old, scene.new), f"{point}: neither the old version nor the new"
    assert strays(root) == [], str(point)
    commits_again(scene, root)
    return "new" if found == scene.new else "old"


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_of_any_system_call_has_its_exit_code_names_the_path_and_does_no_harm(
    scene, matrix, tmp_path, error
):
    matrix.rows(3, 4) if error != "EIO" else matrix.rows(3)
    outcomes = side_by_side(
        lambda numbered: fail_at(scene, numbered[1], tmp_path / str(numbered[0]), error),
        enumerate(scene.points),
    )
    # That a folder is there already is asked with mkdir: another answer does not matter then, nor
    # does it when delta-rs cannot remove its temporary file.
    assert outcomes.count("failed") > len(outcomes) / 2
    matrix.count(**{f"failed_calls_with_{error}": len(outcomes)})


def fail_at(scene: Scene, point: Point, folder: Path, error: str) -> str:
    """Fail a commit at a point, look, and commit again; says whether it ended well."""
    root = scene.copy(folder)
    ended, _ = commit_under_strace(folder, scene.flags(root), *at(point, root, f"error={error}"))
    assert ended.status in (0, 73 if error == "EROFS" else 74), f"{point}: {ended}"
    found = seen(root)
    assert found in (scene.old, scene.new), f"{point}: neither the old version nor the new"
    if ended.status:
        assert ended.told.startswith("error: [Errno "), ended.told
        assert str(root) in ended.told, f"{point}: no path in {ended.told!r}"
    else:
        assert found == scene.new, f"{point}: success was told, and there is none"
    commits_again(scene, root)
    return "failed" if ended.status else "succeeded"


def test_a_part_is_on_disk_before_the_log_names_it_and_the_log_before_success_is_told(
    scene, matrix
):
    # What a power cut can undo is what no fsync came after.
    matrix.rows(2)
    calls = [(point.call.rstrip("2at"), point.path) for point in scene.points]
    part = next(path for call, path in calls if "/ingest_date=" in path and call == "fsync")
    log = next(i for i, (call, _) in enumerate(calls) if call == "link")
    entry = calls[log][1].removesuffix("#1")
    written = [path for call, path in calls[:log] if call == "write"]
    synced = [path for call, path in calls[:log] if call == "fsync"]
    assert written[0] in synced
    assert part in synced
    after = [path for call, path in calls[log:] if call == "fsync"]
    assert {entry, "store/_delta_log"} <= set(after)
