"""distill_jobs/sweep.py: many students from one store, in one table."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from distill_jobs.sweep import TABLE, SweepConfig, sweep
from distill_jobs.sweep_settings import read_settings
from tests.evaluation_kit import TEXTS, put_sets

SWEEPS = Path(__file__).parents[1] / "deploy" / "sweeps"

SETTINGS = """
[defaults]
epochs = 1
batch_size = 32
validation_rows = 40
embedding = 8

[whole]
[few-tokens]
student = "static"
vocabulary = 20
student_pooling = "mean"
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory, embed, small_store):
    """Labelled sets, a teacher store of their sentences, and a store to train from."""
    folder = tmp_path_factory.mktemp("sweep")
    put_sets(folder / "sets")
    (folder / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    embed(folder / "texts.txt", out=folder / "labelled")
    (folder / "settings.toml").write_text(SETTINGS, encoding="utf-8")
    return folder, small_store


def config(world, **changes):
    folder, store = world
    paths = {
        "store": str(store),
        "settings": folder / "settings.toml",
        "tasks": folder / "sets",
        "teacher_store": str(folder / "labelled"),
        "out": folder / "out",
    }
    return SweepConfig(**{**paths, **changes})


def test_a_table_has_a_line_for_each_student_and_says_how_they_differ(world):
    found = sweep(config(world))
    lines = (config(world).out / TABLE).read_text(encoding="utf-8").splitlines()
    rows = {line.split(" | ")[0].strip("| "): line for line in lines[2:]}
    assert {"whole", "few-tokens", "teacher/idf", "baseline/tfidf"} <= set(rows)
    assert "| student static, vocabulary 20, student_pooling mean |" in rows["few-tokens"]
    assert "| whole |  |" in rows["whole"]
    assert "%" in rows["few-tokens"].split(" | ")[4]
    assert (found["students"], found["left_out"]) == (2, [])


def test_a_sweep_that_is_done_is_left_alone(world):
    sweep(config(world))
    before = {path: path.stat().st_mtime_ns for path in config(world).out.rglob("*.onnx")}
    sweep(config(world))
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_time_leaves_out_is_named(world, tmp_path, monkeypatch):
    times = iter([0.0, 0.0, 61.0])
    clock = SimpleNamespace(monotonic=lambda: next(times))
    monkeypatch.setattr("distill_jobs.sweep.time", clock)
    found = sweep(config(world, out=tmp_path / "out", minutes=1))
    assert (found["students"], found["left_out"]) == (1, ["few-tokens"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a]\nstudents = 'static'", "toml, a: train has no setting 'students'; it has"),
        ("[a]\nstore = 'b'", "train has no setting 'store'"),
        ("[a]\nepochs = 0", "toml, a: epochs must be at least 1, got 0"),
        ("[a]\nepochs = 'x'", "toml, a: epochs must be int, got 'x'"),
        ("[a]\nepochs = 1.5", "toml, a: epochs must be int, got 1.5"),
        ("[a]\nprojected = 1", "toml, a: projected must be bool, got 1"),
        ('["../a"]', r"letters, digits, dots, - and _, got '\.\./a'"),
        ('[".."]', r"letters, digits, dots, - and _, got '\.\.'"),
        ('["a=b"]', "got 'a=b'"),
        ('["x$y"]', "got 'x.y'"),
        ("epochs = 1", "epochs must be a table of settings, or in \\[defaults\\]"),
        ("[defaults]", "names no student"),
        ("[a", "is not TOML"),
    ],
)
def test_wrong_settings_are_refused_before_anything_begins(tmp_path, text, complaint):
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=complaint):
        read_settings(path, "store", tmp_path)


def test_paths_and_whole_numbers_are_read_as_train_wants_them(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[a]\nwarm_start = 'w'\nlearning_rate = 1", encoding="utf-8")
    read = read_settings(path, "store", tmp_path)["a"]
    assert (read.warm_start, read.learning_rate) == (Path("w"), 1.0)


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ("student = 'bilstm-tny'", "static, mini-transformer, got 'bilstm-tny'"),
        ("student_pooling = 'none'", "idf, mean, learned, got 'none'"),
        ("precision = 'int3'", "precision must be auto, float32 or bfloat16, got 'int3'"),
        ("layers = 2", "only mini-transformer has layers, not bilstm"),
        ("warm_start = 'nowhere'", "nowhere has no sound checkpoint"),
    ],
)
def test_what_train_would_refuse_is_refused_before_the_first_training(
    world, tmp_path, own, complaint
):
    settings = tmp_path / "settings.toml"
    settings.write_text(f"{SETTINGS}\n[third]\n{own}", encoding="utf-8")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=f"settings.toml, third: .*{complaint}"):
        sweep(config(world, settings=settings, out=out))
    assert not out.exists()


def test_a_student_that_fails_takes_no_other_with_it(world, tmp_path):
    settings = tmp_path / "settings.toml"
    text = SETTINGS.replace("[whole]", "[diverges]\nlearning_rate = 1e30\n[whole]")
    settings.write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"diverges: .*; the others are in .*sweep\.md"):
        sweep(config(world, settings=settings, out=out))
    table = (out / TABLE).read_text(encoding="utf-8")
    assert "| whole |" in table
    assert "| few-tokens |" in table
    assert "diverges" not in table


@pytest.mark.parametrize("change", [{"minutes": 0}, {"parallel": -1}])
def test_a_sweep_that_cannot_work_is_refused(world, change):
    with pytest.raises(ValueError, match="must be"):
        config(world, **change)


@pytest.mark.cluster
def test_students_trained_at_once_by_ray_are_those_trained_in_turn(world, tmp_path):
    sweep(config(world))
    sweep(config(world, out=tmp_path / "out", parallel=2))
    for name in ("whole", "few-tokens"):
        one, other = (
            (folder / "exports" / name / "model.onnx").read_bytes()
            for folder in (config(world).out, tmp_path / "out")
        )
        assert one == other


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_settings_that_we_ship_are_settings_of_train(path, tmp_path):
    assert len(read_settings(path, "store", tmp_path)) > 5
