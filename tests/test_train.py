"""train.py, loop.py, preflight.py, rows_learned.py: a training is one, begun once or often."""

import dataclasses
import json
import shutil

import pyarrow.parquet as pq
import pytest
import torch

from distill_jobs import checkpoint, loop
from distill_jobs.objectives import divergence
from distill_jobs.preflight import preflight
from distill_jobs.reader import hold_out, row_groups
from distill_jobs.train import TrainConfig, distil
from distill_jobs.validation import held_out_batches
from schemas import parts, store, tables
from schemas.fingerprint import read_sealed, seal
from tests.vector_store import make_store


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return str(make_store(tmp_path_factory.mktemp("train") / "store"))


def config(vectors, out, **changes):
    settings = {
        "store": vectors,
        "out": out,
        "epochs": 12,
        "learning_rate": 0.02,
        "batch_size": 32,
        "embedding": 8,
        "validation_rows": 60,
        "checkpoint_every": 10,
        "precision": "float32",
    }
    return TrainConfig(**{**settings, **changes})


def weights(folder):
    path, _ = checkpoint.newest(folder / "checkpoints")
    return (path / "student.safetensors").read_bytes()


@pytest.fixture(scope="module")
def finished(vectors, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "training"
    return out, distil(config(vectors, out))


def test_a_training_learns(finished):
    _, summary = finished
    assert summary["unexplained"] < 0.7
    assert summary["spearman"] > 0.5


class Killed(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_training_stopped_and_begun_again_ends_with_the_same_weights(
    vectors, finished, tmp_path, stop_after
):
    out, _ = finished
    run, *_ = preflight(config(vectors, tmp_path / "training"))
    (tmp_path / "training").mkdir()
    reports = []

    def report(scores):
        reports.append(scores)
        if len(reports) == stop_after:
            raise Killed

    with pytest.raises(Killed):
        loop.train(run, report)
    distil(config(vectors, tmp_path / "training"))
    assert weights(tmp_path / "training") == weights(out)


def rows_learned(folder):
    path, _ = checkpoint.newest(folder / "checkpoints")
    return checkpoint.read_state(path).rows_learned


def slow_digest(ids):
    """The definition, for one row, in Python's integers."""
    mixed = sum(one * pow(0x9E3779B97F4A7C15, at, 1 << 64) for at, one in enumerate(ids, start=1))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed %= 1 << 64
        mixed = (mixed ^ (mixed >> shift)) * factor
    mixed %= 1 << 64
    return mixed ^ (mixed >> 31)


def test_every_epoch_teaches_every_row_of_the_store_once(vectors, finished):
    out, summary = finished
    groups, _ = hold_out(row_groups(store.open_store(vectors)), 60, 0)
    tables = [pq.ParquetFile(group.path).read_row_group(group.index) for group in groups]
    ids = [ids[1:-1] for table in tables for ids in table["token_ids"].to_pylist()]
    wanted = len(ids), sum(map(slow_digest, ids)) % (1 << 64)
    assert rows_learned(out) == (wanted,) * 12
    assert summary["rows_learned"] == [len(ids)] * 12 == [summary["training_rows"]] * 12


def test_steps_that_are_thrown_away_and_done_again_count_once(
    vectors, finished, tmp_path, monkeypatch
):
    steps = []

    def step(*args):
        steps.append(args)
        if len(steps) == 37:  # after the third checkpoint
            raise Killed
        return own(*args)

    own = loop._step
    monkeypatch.setattr(loop, "_step", step)
    with pytest.raises(Killed):
        distil(config(vectors, tmp_path / "training"))
    summary = distil(config(vectors, tmp_path / "training"))
    assert len(steps) == summary["steps"] + 7
    assert rows_learned(tmp_path / "training") == rows_learned(finished[0])


def without_a_row(batch, before):
    fewer = {name: getattr(batch, name)[1:] for name in ("ids_BT", "weights_BT", "teacher_BH")}
    return dataclasses.replace(batch, **fewer, rows=batch.rows - 1)


def the_one_before(batch, before):
    return before


@pytest.mark.parametrize(
    ("feed", "complaint"),
    [(without_a_row, "epoch 2 taught 329 rows"), (the_one_before, "epoch 2 taught 330 rows")],
)
def test_a_row_that_is_left_out_or_repeated_fails_the_training(
    vectors, tmp_path, monkeypatch, feed, complaint
):
    own = loop._all_batches

    def batches(*args):
        before = None
        for step, batch in own(*args):
            yield step, (feed(batch, before) if step == 15 else batch)
            before = batch

    monkeypatch.setattr(loop, "_all_batches", batches)
    with pytest.raises(ValueError, match=complaint):
        distil(config(vectors, tmp_path / "training", epochs=3))
    assert checkpoint.newest(tmp_path / "training" / "checkpoints")[0].name == "step-00000030"


def test_a_training_from_before_rows_were_counted_is_taken_up(vectors, finished, tmp_path):
    out, _ = finished
    shutil.copytree(out, tmp_path / "training")
    newest, _ = checkpoint.newest(tmp_path / "training" / "checkpoints")
    shutil.rmtree(newest)
    path = checkpoint.newest(tmp_path / "training" / "checkpoints")[0] / "state.json"
    state = read_sealed(path)
    del state["rows_learned"], state["digest"]
    path.write_text(json.dumps(seal(state)))
    assert distil(config(vectors, tmp_path / "training"))["rows_learned"] == []
    assert weights(tmp_path / "training") == weights(out)


def test_a_damaged_newest_checkpoint_costs_one_interval_and_nothing_else(
    vectors, finished, tmp_path
):
    out, _ = finished
    again = tmp_path / "training"
    shutil.copytree(out, again)
    newest, _ = checkpoint.newest(again / "checkpoints")
    (newest / "student.safetensors").write_bytes(b"half")
    summary = distil(config(vectors, again))
    assert not summary["already_done"]
    assert weights(again) == weights(out)


def test_a_part_of_a_vector_that_is_longer_than_the_vector_is_refused(vectors, tmp_path):
    with pytest.raises(ValueError, match="have 16 numbers, too few for objective 'relational@17'"):
        preflight(config(vectors, tmp_path / "training", objective="relational@17"))


def test_a_finished_training_is_left_alone(vectors, finished):
    out, summary = finished
    before = weights(out)
    again = distil(config(vectors, out))
    assert again == {**summary, "already_done": True}
    assert weights(out) == before


def test_other_settings_in_the_same_folder_are_refused_naming_them(vectors, finished):
    out, _ = finished
    with pytest.raises(ValueError, match=r"learning_rate is '0.02', wanted '0.1'"):
        distil(config(vectors, out, learning_rate=0.1))


def test_a_training_stays_with_the_version_it_began_on(tmp_path):
    vectors = make_store(tmp_path / "store")
    distil(config(str(vectors), tmp_path / "training", epochs=1))
    before = weights(tmp_path / "training")
    opened = store.open_store(vectors)
    more = parts.read(opened.path_of(opened.parts[0])).slice(0, 8)
    added = parts.write(more, vectors, "ingest_date=2026-01-02/part-9.parquet")
    schema = tables.teacher_schema(("idf",), 16, text=False).append(tables.INGEST_DATE)
    store.commit(vectors, schema, [added], run_id="r2", fingerprint=opened.fingerprint, summary={})
    summary = distil(config(str(vectors), tmp_path / "training", epochs=1))
    assert summary["store_version"] == 0
    assert summary["already_done"]
    assert weights(tmp_path / "training") == before


def test_a_warm_start_begins_with_the_other_trainings_weights(vectors, finished, tmp_path):
    out, cold = finished
    warm = distil(config(vectors, tmp_path / "warm", epochs=1, warm_start=out))
    from_zero = distil(config(vectors, tmp_path / "cold", epochs=1))
    assert warm["unexplained"] < from_zero["unexplained"]
    assert warm["unexplained"] == pytest.approx(cold["unexplained"], abs=0.1)


def test_a_warm_start_from_another_shape_is_refused(vectors, finished, tmp_path):
    out, _ = finished
    with pytest.raises(ValueError, match=r"embedding is '8', wanted '4'"):
        distil(config(vectors, tmp_path / "warm", embedding=4, warm_start=out))


@pytest.mark.parametrize("student", ["bilstm", "bilstm-small", "static"])
@pytest.mark.parametrize("student_pooling", ["mean", "learned"])
def test_every_student_learns_with_weights_of_its_own(vectors, tmp_path, student, student_pooling):
    change = {"student": student, "student_pooling": student_pooling, "epochs": 15}
    assert distil(config(vectors, tmp_path / "t", **change))["spearman"] > 0.2


def test_learned_weights_become_the_idf_weights(small_store, tmp_path):
    vectors = str(small_store)
    run, *_ = preflight(config(vectors, tmp_path / "run", student_pooling="learned"))
    _, held = hold_out(row_groups(store.open_store(vectors)), 60, 0)
    batch = held_out_batches(held, run.decoder())[0]
    student = loop.new_student(run)

    @torch.no_grad()
    def distance():
        return float(divergence(student(batch.ids_BT, batch.weights_BT)[1], batch.weights_BT))

    before = distance()
    distil(config(vectors, tmp_path / "training", student_pooling="learned", epochs=20))
    path, _ = checkpoint.newest(tmp_path / "training" / "checkpoints")
    checkpoint.load_student(path, student)
    assert distance() < 0.5 * before


def test_a_training_from_before_there_were_poolings_is_taken_up_and_warms_another(
    vectors, tmp_path
):
    older = {"student_pooling": "idf", "projected": False, "hidden": 8}
    summary = distil(config(vectors, tmp_path / "old", **older))
    run = json.loads((tmp_path / "old" / "run.json").read_text())
    for name in ("pooling", "projected"):
        del run["student"][name]
    del run["rows"], run["target"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(run))
    assert distil(config(vectors, tmp_path / "old", **older))["already_done"]
    settings = {**older, "epochs": 1, "warm_start": tmp_path / "old"}
    warm = config(vectors, tmp_path / "warm", **settings)
    assert distil(warm)["unexplained"] == pytest.approx(summary["unexplained"], abs=0.1)


@pytest.mark.parametrize("student", ["bilstm", "static"])
@pytest.mark.parametrize("objective", ["mse", "cosine", "relational", "cosine=1,relational=20"])
def test_every_student_learns_under_every_objective(vectors, tmp_path, student, objective):
    change = {"student": student, "objective": objective, "epochs": 15}
    assert distil(config(vectors, tmp_path / "t", **change))["spearman"] > 0.2


def test_bfloat16_learns_as_well(vectors, finished, tmp_path):
    _, exact = finished
    rough = distil(config(vectors, tmp_path / "training", precision="bfloat16"))
    assert rough["unexplained"] == pytest.approx(exact["unexplained"], abs=0.05)


def test_a_pooling_that_the_store_lacks_is_refused_before_anything_is_written(vectors, tmp_path):
    with pytest.raises(ValueError, match="no cls vectors, only idf"):
        distil(config(vectors, tmp_path / "training", pooling="cls"))
    assert not (tmp_path / "training").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"objective": "mes"}, "got 'mes'"),
        ({"batch_size": 33}, "multiple of streams .8., got 33"),
        ({"workers": 9}, "at most streams .8., got 9"),
        ({"workers": 2, "min_workers": 3}, r"from 1 to workers \(2\), got 3"),
        ({"min_workers": 1}, r"from 1 to workers \(0\), got 1"),
        ({"epochs": 0}, "at least 1, got 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(vectors, tmp_path, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        config(vectors, tmp_path, **change)


@pytest.mark.parametrize("name", ["out", "store", "warm_start"])
def test_a_relative_path_in_a_submitted_job_is_refused(vectors, tmp_path, monkeypatch, name):
    copy = tmp_path / "working_dir_files" / "_ray_pkg_0"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    settings = config(vectors, tmp_path / "training")
    with pytest.raises(ValueError, match=f"{name} is 'work/it', .* give an absolute path"):
        distil(dataclasses.replace(settings, **{name: "work/it"}))


def test_plan_says_what_it_would_be_and_writes_nothing(vectors, tmp_path):
    facts = distil(config(vectors, tmp_path / "training", plan=True))
    assert facts["training_rows"] + facts["held_out_rows"] == 400
    assert facts["steps"] == 12 * -(-facts["training_rows"] // 32)
    assert not (tmp_path / "training").exists()


def test_numbers_are_logged_for_tensorboard_and_as_json_lines(finished):
    out, summary = finished
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == summary["steps"]
    assert any("loss" in line for line in lines)
    assert list((out / "tensorboard").glob("events.*"))


def test_a_run_can_be_written_as_json_and_read_back(vectors, tmp_path):
    run, *_ = preflight(config(vectors, tmp_path))
    found = json.loads(json.dumps(dataclasses.asdict(run)))
    assert found["student"]["kind"] == "bilstm"
