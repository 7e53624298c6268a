"""Flipped bits, early ends, other runs' files: whoever reads says so before anything is used."""

import shutil
from pathlib import Path

import pytest

from distill_jobs import checkpoint
from distill_jobs.encoder import SentenceEncoder
from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil
from schemas import projection
from schemas.idf import IdfTable
from schemas.prepare import load_preparer
from schemas.store import committed, open_store
from tests.faults.committer import commit_part, write_part
from tests.faults.kit import spoiled, unnoticed

pytestmark = pytest.mark.faults

TRIED = 220  # a file: 200 flipped bits, 20 early ends
CHECKPOINT = ("student.safetensors", "optimizer.safetensors", "state.json")
EXPORT = (
    *("model.safetensors", "model.onnx", "model.int8.onnx", "config.json"),
    *("tokenizer.json", "idf.parquet", "preparer.json"),
)


@pytest.fixture(scope="module")
def trainings(small_store, tmp_path_factory) -> list[Path]:
    """Two finished trainings that differ in their seed."""
    settings = {
        "student_pooling": "idf",
        "epochs": 2,
        "batch_size": 32,
        "validation_rows": 40,
        "precision": "float32",
    }
    found = []
    for seed in (0, 1):
        out = tmp_path_factory.mktemp("training") / "training"
        config = TrainConfig(
            store=str(small_store), out=out, embedding=8, seed=seed, checkpoint_every=4, **settings
        )
        distil(config)
        found.append(out)
    return found


@pytest.fixture(scope="module")
def exports(trainings, tmp_path_factory) -> list[Path]:
    """Their exports."""
    folders = [tmp_path_factory.mktemp("export") / "student" for _ in trainings]
    for training, out in zip(trainings, folders, strict=True):
        export(ExportConfig(training=training, out=out))
    return folders


def steps(training: Path) -> list[Path]:
    return sorted((training / "checkpoints").glob("step-*"))


def test_a_spoiled_part_of_a_store_is_named_by_verify(small_store, matrix, tmp_path):
    matrix.rows(5)
    shutil.copytree(small_store, tmp_path / "store")
    opened = open_store(tmp_path / "store")
    first, second = (Path(opened.path_of(part)) for part in opened.parts[:2])

    def check() -> None:
        open_store(tmp_path / "store").verify()

    assert unnoticed(first, check, [second]) == []
    first.unlink()
    with pytest.raises(ValueError, match=f"part .*{first.name} is missing"):
        check()
    matrix.count(mutations=TRIED + 2)


def test_a_spoiled_idf_table_is_not_loaded(small_idf, count, sentences, matrix, tmp_path):
    matrix.rows(5)
    (tmp_path / "other.txt").write_text("\n".join(sentences[:40]) + "\n", encoding="utf-8")
    count(tmp_path / "other.txt", out=tmp_path / "other")
    shutil.copytree(small_idf, tmp_path / "idf")
    (path,) = (tmp_path / "idf").glob("*.parquet")
    others = list((tmp_path / "other").glob("*.parquet"))
    assert unnoticed(path, lambda: IdfTable.load(tmp_path / "idf").digest(), others) == []
    matrix.count(mutations=TRIED + 1)


def test_a_spoiled_preparer_is_not_loaded(small_store, exports, matrix, tmp_path):
    matrix.rows(6, 21, 22)
    (folder,) = (one for one in Path(f"{small_store}.preparer").iterdir() if one.is_dir())
    shutil.copytree(folder, tmp_path / "preparer")
    files = sorted((tmp_path / "preparer").iterdir())
    assert [path.name for path in files] == ["idf.parquet", "preparer.json", "tokenizer.json"]
    for path in files:
        assert unnoticed(path, lambda: load_preparer(tmp_path / "preparer").fingerprint) == []
    matrix.count(mutations=TRIED * len(files))


def test_a_spoiled_checkpoint_is_passed_over_for_the_one_before(trainings, matrix, tmp_path):
    matrix.rows(6)
    shutil.copytree(trainings[0] / "checkpoints", tmp_path / "checkpoints")
    *_, before, last = steps(tmp_path)
    other = steps(trainings[1])[-1]

    def check() -> object:
        found, complaints = checkpoint.newest(tmp_path / "checkpoints")
        assert found in (last, before)
        if found == before:
            raise ValueError(complaints[0])
        # If all that changed is the word digest, nothing of the state has.
        files = [(last / name).read_bytes() for name in CHECKPOINT[:2]]
        return checkpoint.read_state(last), files

    for name in CHECKPOINT:
        assert unnoticed(last / name, check, [before / name, other / name]) == []
    matrix.count(mutations=(TRIED + 2) * len(CHECKPOINT))


@pytest.mark.parametrize("name", EXPORT)
def test_a_spoiled_export_is_not_loaded(exports, name, matrix, tmp_path):
    matrix.rows(6)
    shutil.copytree(exports[0], tmp_path / "student")
    others = [exports[1] / name] if name in ("model.safetensors", "config.json") else []
    path = tmp_path / "student" / name
    assert {one.name for one in path.parent.iterdir()} == {*EXPORT, "README.md"}
    names = SentenceEncoder.load(path.parent).card.keys() - {"digest"}

    def read() -> object:
        card = SentenceEncoder.load(path.parent).card
        return {name: card.get(name) for name in names}

    assert unnoticed(path, read, others) == []
    matrix.count(mutations=TRIED + len(others))


def test_a_spoiled_projection_is_not_loaded(small_corpus, embed, matrix, tmp_path):
    matrix.rows(6)
    embed(small_corpus, out=tmp_path / "store", pca=4)
    (path,) = tmp_path.glob("store.projection/*/*.parquet")

    def read() -> object:
        found = projection.load(str(path.parent))["idf"]
        return [one.tolist() for one in (found.mean_H, found.components_KH, found.shares_K)]

    assert unnoticed(path, read) == []
    matrix.count(mutations=TRIED)


@pytest.mark.parametrize("entry", [0, 1])
def test_a_spoiled_log_gives_an_error_or_an_older_version_and_never_other_rows(
    entry, matrix, tmp_path
):
    matrix.rows(5)
    out = str(tmp_path / "store")
    for run, text in (("r1", "甲"), ("r2", "乙")):
        commit_part(out, run, write_part(out, run, text))
    versions = [seen(out, version) for version in (0, 1)]
    path = tmp_path / "store" / "_delta_log" / f"{entry:020d}.json"
    whole = path.read_bytes()
    outcomes = {"error": 0, "the same": 0, "an older version": 0}
    for what, content in spoiled(whole, seed=entry, flips=600):
        path.write_bytes(content)
        try:
            found = seen(out)
        except ValueError:
            outcomes["error"] += 1
            continue
        assert found in versions, what
        outcomes["the same" if found == versions[1] else "an older version"] += 1
    # What changes nothing that we read: times, the engine's name, what Delta says of the columns.
    assert outcomes["error"] > outcomes["the same"] / 2
    assert outcomes["an older version"] == entry
    matrix.count(**{f"mutations of the log: {name}": n for name, n in outcomes.items()})


def seen(out: str, version: int | None = None) -> object:
    """All that a reader gets of a store, but for the number of its version."""
    opened = open_store(out, version)
    opened.verify()
    rows = opened.dataset().to_table().sort_by("sentence_id").to_pylist()
    commits = [(one.run_id, one.fingerprint, one.added, one.summary) for one in opened.commits]
    return opened.fingerprint, opened.parts, commits, rows


def test_after_an_entry_that_a_power_cut_emptied_the_same_run_commits_again(matrix, tmp_path):
    matrix.rows(2)
    out = str(tmp_path / "store")
    for run, text in (("r1", "甲"), ("r2", "乙")):
        part = write_part(out, run, text)
        commit_part(out, run, part)
    (tmp_path / "store" / "_delta_log" / f"{1:020d}.json").write_bytes(b"")
    assert committed(out, "r2") is None
    assert open_store(out).rows == 1
    assert commit_part(out, "r2", part) == 2
    opened = open_store(out)
    opened.verify()
    assert opened.rows == 2
