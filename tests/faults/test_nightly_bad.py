"""Nights that must not promote, and nights that come in the wrong order."""

import dataclasses
import json
import shutil

import pytest
import safetensors.torch

from distill_jobs.nightly import history, night, pipeline_jobs, pointer
from distill_jobs.nightly.feeding import BadPartition
from distill_jobs.nightly.night import decided
from distill_jobs.nightly.rollback import RollbackConfig, rollback
from distill_jobs.nightly.settings import read_settings
from distill_jobs.nightly.status import status
from schemas.fingerprint import file_digest, seal
from schemas.store import open_store
from tests import nightly_kit as kit

pytestmark = pytest.mark.faults

FIRST, SECOND, THIRD, FOURTH = kit.NIGHTS


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


def failed_rules(found):
    return [one["rule"] for one in found["rulings"] if not one["passed"]]


@pytest.mark.parametrize(
    ("train", "first", "why"),
    [
        ({"hidden": 24, "learning_rate": 1e-9}, {"epochs": 1}, "the champion has another shape: {"),
        ({"learning_rate": 1.0, "epochs": 1}, {}, ""),
    ],
    ids=["untrained", "wrecked by its learning rate"],
)
def test_a_bad_challenger_is_kept_out(world, matrix, train, first, why):
    matrix.rows(32)
    before = kit.champion(world)
    settings = read_settings(world / "nightly.toml")
    gate = dataclasses.replace(settings.gate, margin=0.01)
    found = kit.night(world, SECOND, train={**settings.train, **train}, first=first, gate=gate)
    assert (found["decision"], kit.champion(world)) == ("kept", before)
    assert {"not worse by more than the margin", "sound vectors"} & set(failed_rules(found))
    assert found["sentence"].startswith("The champion stays: ")
    assert kit.record(world, SECOND, "train")["found"]["why"].startswith(why)
    matrix.count(bad_nights=1)


def test_a_training_that_diverged_fails_the_night(world, matrix, monkeypatch):
    matrix.rows(32)
    before = kit.champion(world)
    real = night.export

    def export_spoilt(config):
        (path,) = (config.training / "checkpoints").glob("step-*")
        weights = safetensors.torch.load_file(path / "student.safetensors")
        weights = {
            name: one.mul(float("nan")) if one.dim() == 2 else one for name, one in weights.items()
        }
        safetensors.torch.save_file(weights, path / "student.safetensors")
        state = json.loads((path / "state.json").read_text())
        del state["digest"]
        state["sha256"]["student.safetensors"] = file_digest(path / "student.safetensors")
        (path / "state.json").write_text(json.dumps(seal(state)))
        return real(config)

    monkeypatch.setattr(night, "export", export_spoilt)
    with pytest.raises(ValueError, match=r"at stage export, .* not finite, the training has div"):
        kit.night(world, SECOND)
    assert kit.champion(world) == before
    matrix.count(bad_nights=1)


def test_a_champion_that_changes_meanwhile_is_left_alone(world, monkeypatch, matrix):
    matrix.rows(34)
    home = kit.home_of(world)
    other = "2026-03-19-00000000"
    shutil.copytree(home.student(kit.champion(world)), home.student(other))
    real = night.measure

    def measure(*given):
        with home.pointing():
            pointer.move(home, history.PROMOTED, other, night=None, reason="by hand")
        return real(*given)

    monkeypatch.setattr(night, "measure", measure)
    found = kit.night(world, SECOND)
    assert failed_rules(found) == ["champion unchanged"]
    assert (found["decision"], kit.champion(world)) == ("kept", other)


def test_a_student_that_was_rolled_back_from_does_not_come_back_by_itself(world, matrix):
    matrix.rows(34)
    before = kit.champion(world)
    promoted = kit.night(world, SECOND)["student"]
    rollback(RollbackConfig(settings=world / "nightly.toml", reason="complaints"))
    assert kit.night(world, SECOND)["champion"] == before  # decided: nothing is done
    (kit.home_of(world).night(SECOND) / "decision.json").unlink()
    (kit.home_of(world).night(SECOND) / "contest.json").unlink()
    known = history.events(world / "home")
    assert history.rolled_back(known) == (promoted,)
    found = kit.night(world, SECOND)
    assert (found["champion"], kit.champion(world)) == (before, before)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", f"{THIRD}.txt is empty"),
        (b"\n\n \n", "the corpus is empty: no sentence in it"),
        (b"\xff\xfe\n" * 30 + "今天北京\n".encode(), "30 of 31 records are bad"),
    ],
)
def test_a_bad_partition_is_rejected_and_asked_for_once_more_when_it_is_replaced(
    world, matrix, content, complaint
):
    matrix.rows(33)
    before, version = kit.champion(world), open_store(world / "store").version
    (world / "texts" / f"{THIRD}.txt").write_bytes(content)
    for _ in range(2):
        with pytest.raises(BadPartition, match=complaint):
            kit.night(world, THIRD)
    assert decided(kit.home_of(world))[THIRD]["decision"] == "rejected"
    assert (kit.champion(world), open_store(world / "store").version) == (before, version)
    (world / "texts" / f"{THIRD}.txt").write_text("今天北京有雪吗\n", encoding="utf-8")
    found = kit.night(world, THIRD)
    assert (found["decision"], found["dates"]) == ("promoted", [SECOND, THIRD])
    assert (world / "home" / "nights" / f"{THIRD}.1" / "decision.json").is_file()
    matrix.count(bad_nights=1)


def test_a_swapped_teacher_fails_the_night_and_the_champion_stays(world, matrix):
    matrix.rows(33)
    before = kit.champion(world)
    weights = world / "teacher" / "model.safetensors"
    tensors = safetensors.torch.load_file(weights)
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + 1
    safetensors.torch.save_file(tensors, weights, metadata={"format": "pt"})
    kit.put_partition(world, THIRD, 160, 200)
    with pytest.raises(ValueError, match=r"failed at stage embed, .* still serves: .*teacher is"):
        kit.night(world, THIRD)
    assert kit.champion(world) == before
    last = status(kit.home_of(world), 5)["nights"][-1]
    assert (last["date"], last["decision"]) == (THIRD, "failed")
    page = (kit.home_of(world).night(THIRD) / "night.html").read_text(encoding="utf-8")
    assert 'role="alert"' in page
    assert "was made under other conditions: teacher is" in page
    matrix.count(bad_nights=1)


def test_a_damaged_part_fails_the_night_not_the_partition_and_mended_it_goes_on(world, matrix):
    matrix.rows(33)
    before = kit.champion(world)
    opened = open_store(world / "store")
    path = world / "store" / opened.parts[0].path
    sound = path.read_bytes()
    kit.spoil(path)
    kit.put_partition(world, THIRD, 160, 200)
    for date in (SECOND, THIRD):
        with pytest.raises(ValueError, match="has changed since it was committed"):
            kit.night(world, date)
    assert (kit.champion(world), SECOND in decided(kit.home_of(world))) == (before, False)
    path.write_bytes(sound)
    assert kit.night(world, THIRD)["decision"] == "promoted"
    matrix.count(bad_nights=2)


def test_missed_nights_are_embedded_in_order_and_decided_once(world, matrix):
    matrix.rows(35)
    versions = open_store(world / "store").version
    kit.put_partition(world, THIRD, 160, 200)
    kit.put_partition(world, FOURTH, 200, 240)
    (world / "texts" / "2026-03-19.txt").write_text("昨天北京\n", encoding="utf-8")
    found = kit.night(world, FOURTH)
    assert found["dates"] == [SECOND, THIRD, FOURTH]
    decisions = decided(kit.home_of(world))
    assert [decisions[day]["decision"] for day in (SECOND, THIRD)] == ["superseded"] * 2
    assert [decisions[day]["by"] for day in (SECOND, THIRD)] == [FOURTH] * 2
    opened = open_store(world / "store")
    assert opened.version == versions + 2
    assert [one.summary["date"] for one in opened.commits][-3:] == [SECOND, THIRD, FOURTH]
    assert "2026-03-19" not in decisions  # before the first night: not made up
    assert not (kit.home_of(world).night(THIRD) / "train.json").exists()
    assert kit.night(world, SECOND)["by"] == FOURTH


def test_a_partition_that_comes_late_counts_for_the_next_night(world, matrix):
    matrix.rows(35)
    shutil.rmtree(kit.home_of(world).night(SECOND))
    (world / "texts" / f"{SECOND}.txt").unlink()
    kit.put_partition(world, THIRD, 160, 200)
    champion = kit.night(world, THIRD)["champion"]
    kit.put_partition(world, SECOND, 200, 220)
    found = kit.night(world, SECOND)
    assert (found["decision"], found["champion"]) == ("late", champion)
    assert not (kit.home_of(world).night(SECOND) / "train.json").exists()
    kit.put_partition(world, FOURTH, 220, 240)
    assert kit.night(world, FOURTH)["dates"] == [SECOND, FOURTH]


def test_a_night_of_known_sentences_trains_nothing(world, matrix):
    matrix.rows(35)
    kit.night(world, SECOND)
    serves = kit.champion(world)
    kit.put_partition(world, THIRD, 0, 100)
    found = kit.night(world, THIRD)
    assert (found["decision"], found["champion"]) == ("kept", serves)
    assert found["sentence"].startswith("Nothing was new")
    assert not (kit.home_of(world).night(THIRD) / "train.json").exists()


def test_a_damaged_record_is_made_again(world, matrix):
    matrix.rows(31)
    for name in ("idf", "embed"):
        kit.spoil(kit.home_of(world).night(SECOND) / f"{name}.json")
    found = kit.night(world, SECOND)
    assert found["decision"] == "promoted"
    assert kit.record(world, SECOND, "embed")["found"]["already_done"] is True
