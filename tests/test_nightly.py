"""distill_jobs/nightly: a night from its partition to its decision, and the same night again."""

import datetime
import shutil

import pytest

from distill_jobs.nightly import pipeline_jobs
from distill_jobs.nightly.feeding import BadPartition
from distill_jobs.nightly.night import decided
from schemas.command import RetryLater
from tests import nightly_kit as kit

FIRST, SECOND, THIRD, _ = kit.NIGHTS


@pytest.fixture(scope="module", autouse=True)
def _pipelines_here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_jobs.subprocess, "run", kit.pipelines_here)
        yield


@pytest.fixture(scope="module")
def begun(tmp_path_factory, count):
    return kit.begin(tmp_path_factory.mktemp("world"), count)


@pytest.fixture
def world(begun, tmp_path):
    return shutil.copytree(begun, tmp_path / "world", symlinks=True)


def touched(world):
    """When each file of the home was last written, but for pages that are written each time."""
    files = [path for path in (world / "home").rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in files if path.suffix != ".html"}


def test_the_first_night_begins_from_nothing_and_is_promoted(begun):
    found = decided(kit.home_of(begun))[FIRST]
    assert (found["decision"], found["student"]) == ("promoted", kit.champion(begun))
    assert kit.record(begun, FIRST, "train")["found"]["begins_from"] is None
    assert kit.record(begun, FIRST, "embed")["found"]["new"] == 120
    assert (begun / "home" / "champion" / "model.onnx").is_file()


def test_a_second_night_begins_from_the_champion_and_again_changes_nothing(world):
    before = kit.champion(world)
    found = kit.night(world, SECOND)
    assert (found["decision"], found["already_done"]) == ("promoted", False)
    assert found["champion"] == kit.champion(world) == found["student"]
    trained = kit.record(world, SECOND, "train")["found"]
    assert (trained["begins_from"], found["dates"]) == (before, [SECOND])
    fed = kit.record(world, SECOND, "embed")["found"]
    assert (fed["new"], fed["reused"]) == (40, 20)
    rules = {one["rule"] for one in found["rulings"]}
    assert {"not worse by more than the margin", "latency", "size", "centroid shift"} <= rules
    page = (kit.home_of(world).night(SECOND) / "night.html").read_text(encoding="utf-8")
    for text in (found["sentence"], "not worse by more than the margin", "<dt>embed</dt>"):
        assert text in page
    nights = (world / "home" / "nights.html").read_text(encoding="utf-8")
    assert f"{kit.champion(world)} serves" in nights
    assert nights.count("<svg") >= 4
    assert f'<a href="nights/{FIRST}/night.html">' in nights
    files = touched(world)
    again = kit.night(world, SECOND)
    assert again == {**found, "already_done": True}
    assert touched(world) == files


def test_a_missing_partition_may_still_come_and_is_then_too_late(world):
    before = kit.champion(world)
    ends = datetime.datetime(2026, 3, 22, 16, tzinfo=datetime.UTC)  # midnight in Shanghai
    with pytest.raises(ValueError, match=f"{THIRD} is not over yet in Asia/Shanghai"):
        kit.night(world, THIRD, now=ends - datetime.timedelta(seconds=1))
    with pytest.raises(RetryLater, match="it may come until 2026-03-22T22:00"):
        kit.night(world, THIRD, now=ends + datetime.timedelta(hours=5.9))
    assert THIRD not in kit.home_of(world).nights()
    with pytest.raises(BadPartition, match=f"no file was .*{THIRD}.txt, 6 hours after the end"):
        kit.night(world, THIRD, now=ends + datetime.timedelta(hours=6))
    assert (kit.champion(world), decided(kit.home_of(world))[THIRD]["decision"]) == (
        before,
        "rejected",
    )


def test_a_second_start_waits_and_then_gives_up(world):
    with (
        kit.home_of(world).locked(0),
        pytest.raises(RetryLater, match=r"another process holds .*lock, after"),
    ):
        kit.night(world, SECOND, wait_minutes=0.01)
