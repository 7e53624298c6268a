"""distill_jobs/nightly: one pointer, its history, rollback, what is kept; readers meanwhile."""

import os
import shutil
import threading
import time

import pytest

from distill_jobs.encoder import SentenceEncoder
from distill_jobs.export import ExportConfig, export
from distill_jobs.nightly import history, keep, pointer
from distill_jobs.nightly.history import BY_HAND, PROMOTED, ROLLED_BACK
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.rollback import RollbackConfig, rollback
from distill_jobs.nightly.status import StatusConfig, told
from distill_jobs.train import TrainConfig, distil
from tests.test_nightly_settings import WHOLE

A, B, C, D = (f"2026-11-2{number}-0000000{number}" for number in range(4))


@pytest.fixture(scope="module")
def exports(small_store, tmp_path_factory):
    """Two students that differ in their weights alone."""
    folder = tmp_path_factory.mktemp("exports")
    flags = {"student": "static", "epochs": 1, "batch_size": 32, "validation_rows": 40}
    for seed, name in enumerate((A, B)):
        out = folder / f"training-{seed}"
        distil(TrainConfig(store=str(small_store), out=out, seed=seed, **flags))
        export(ExportConfig(training=out, out=folder / name))
    return folder


@pytest.fixture
def home(tmp_path):
    (tmp_path / "nightly.toml").write_text(WHOLE, encoding="utf-8")
    return Home(tmp_path / "home")


def put(home, *ids):
    """Students that no one reads."""
    for id in ids:
        home.student(id).mkdir(parents=True)
        (home.student(id) / "config.json").write_text("{}")
        home.training(id).mkdir(parents=True)


def promote(home, student):
    with home.pointing():
        pointer.settle(home)
        return pointer.move(home, PROMOTED, student, night=student[:10], reason="it is better")


def roll_back(home, to=None):
    settings = home.folder.parent / "nightly.toml"
    return rollback(RollbackConfig(settings=settings, to=to, reason="complaints"))


def kinds(home):
    return [(one.kind, one.student, one.before) for one in history.events(home.folder)]


def test_a_promotion_is_a_link_and_a_line_of_history(home):
    put(home, A, B)
    promote(home, A)
    promote(home, B)
    assert os.readlink(home.champion) == f"students/{B}"
    assert kinds(home) == [(PROMOTED, A, None), (PROMOTED, B, A)]
    assert [path.name for path in home.folder.glob(".champion*")] == []


def test_the_home_can_be_moved(home):
    put(home, A)
    promote(home, A)
    shutil.move(home.folder, home.folder.with_name("moved"))
    moved = Home(home.folder.with_name("moved"))
    assert pointer.champion(moved) == A
    assert (moved.champion / "config.json").is_file()


def test_rollback_goes_down_and_to_a_name_in_any_direction(home, exports):
    for name in (A, B):
        shutil.copytree(exports / name, home.student(name))
        promote(home, name)
    assert roll_back(home) == {"champion": A, "before": B, "change": 3}
    assert kinds(home)[-1] == (ROLLED_BACK, A, B)
    assert history.events(home.folder)[-1].reason == "complaints"
    assert history.rolled_back(history.events(home.folder)) == (B,)
    with pytest.raises(ValueError, match=f"nobody to go back to: only {A} has served"):
        roll_back(home)
    with pytest.raises(ValueError, match=f"{A} serves already"):
        roll_back(home, A)
    assert roll_back(home, B)["champion"] == B
    assert history.rolled_back(history.events(home.folder)) == (A,)


def test_a_damaged_or_missing_student_is_not_rolled_back_to(home, exports):
    for name in (A, B):
        shutil.copytree(exports / name, home.student(name))
        promote(home, name)
    weights = home.student(A) / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ValueError, match=r"model\.onnx has changed since it was exported"):
        roll_back(home)
    with pytest.raises(FileNotFoundError, match="is not an exported student"):
        roll_back(home, C)
    assert pointer.champion(home) == B
    assert len(kinds(home)) == 2


@pytest.mark.parametrize("step", ["replace", "link", "unlink"])
def test_a_change_that_was_cut_short_is_finished_by_the_next_who_looks(home, monkeypatch, step):
    put(home, A, B)
    promote(home, A)

    class Killed(BaseException):
        pass

    real = {"replace": os.replace, "link": os.link, "unlink": os.unlink}[step]

    def fail(source, *rest, **named):
        if "champion" in str(source) or "intention" in str(source):
            raise Killed
        return real(source, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(Killed):
            promote(home, B)
    assert pointer.champion(home) == (A if step == "replace" else B)
    with home.pointing():
        known = pointer.settle(home)
    assert pointer.champion(home) == B
    assert [(one.kind, one.student) for one in known] == [(PROMOTED, A), (PROMOTED, B)]
    assert not (home.folder / "history" / "intention.json").exists()


def test_a_link_that_somebody_moved_is_taken_as_it_is_and_recorded(home):
    put(home, A, B)
    promote(home, A)
    promote(home, B)
    home.champion.unlink()
    home.champion.symlink_to(f"students/{A}")
    with home.pointing():
        pointer.settle(home)
        known = pointer.settle(home)
    assert pointer.champion(home) == A
    assert [(one.kind, one.student) for one in known][2:] == [(BY_HAND, A)]
    home.champion.unlink()
    home.champion.symlink_to("students/gone")
    with pytest.raises(ValueError, match="leads to students/gone, which is not there"):
        pointer.champion(home)


def test_the_newest_promoted_ones_and_where_rollback_leads_are_kept(home):
    put(home, A, B, C, D)
    for name in (A, B, C, D):
        promote(home, name)
    removed = keep.remove_old(home, str(home.folder / "store"), 2, None)
    assert removed == [A, B]
    assert sorted(path.name for path in (home.folder / "students").iterdir()) == [C, D]
    assert sorted(path.name for path in (home.folder / "trainings").iterdir()) == [C, D]


def test_what_rollback_needs_is_kept_however_old_it_is():
    def event(number, kind, student, before):
        return history.Event(
            number=number, time="", kind=kind, student=student, before=before, night=None, reason=""
        )

    known = [
        event(1, PROMOTED, A, None),
        event(2, PROMOTED, B, A),
        event(3, PROMOTED, C, B),
        event(4, ROLLED_BACK, B, C),
        event(5, PROMOTED, D, B),
        event(6, ROLLED_BACK, B, D),
    ]
    assert history.champions(known) == [A, B]
    assert {A, B} <= keep.kept(known, 2, None)
    assert keep.kept(known, 2, "2026-11-30-00000009") >= {"2026-11-30-00000009", A, B}


def test_status_says_who_serves_and_where_rollback_leads(home):
    settings = home.folder.parent / "nightly.toml"
    assert "serves    nobody" in told(StatusConfig(settings=settings))
    put(home, A, B)
    promote(home, A)
    promote(home, B)
    found = told(StatusConfig(settings=settings, json=True))
    assert (found["champion"], found["rollback_to"], found["rolled_back"]) == (B, A, [])
    assert [one["student"] for one in found["changes"]] == [A, B]
    text = told(StatusConfig(settings=settings))
    assert f"serves    {B}, since " in text
    assert f"rollback  to {A}" in text


TEXT = ["今天北京的天气怎么样？"]


def vector_and_card(folder):
    """What a reader gets of a student."""
    encoder = SentenceEncoder.load(folder)
    return encoder.encode(TEXT).tobytes(), encoder.card["export_id"]


def alternate(home, exports, changes):
    """Two readers load the champion and encode, while promotion and rollback take turns.

    Returns:
        Who was read each time, or what went wrong.
    """
    for name in (A, B):
        shutil.copytree(exports / name, home.student(name))
    promote(home, A)
    whole = {vector_and_card(home.student(name)): name for name in (A, B)}
    assert len({vector for vector, _ in whole}) == 2
    seen: list[str] = []
    done = threading.Event()

    def loop():
        while not done.is_set():
            try:
                seen.append(whole.get(vector_and_card(home.champion), "a mix"))
            except Exception as error:
                seen.append(repr(error))
            time.sleep(0.002)  # or the readers keep the interpreter to themselves

    readers = [threading.Thread(target=loop) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(changes // 2):
        promote(home, B)
        roll_back(home, A)
    done.set()
    for reader in readers:
        reader.join()
    return seen


def test_readers_never_fail_and_never_see_a_mix(home, exports):
    seen = alternate(home, exports, 100)
    assert set(seen) == {A, B}
    assert len(kinds(home)) == 101


@pytest.mark.faults
def test_readers_never_fail_in_a_thousand_changes(home, exports):
    seen = alternate(home, exports, 1000)
    assert set(seen) == {A, B}
    assert len(kinds(home)) == 1001
