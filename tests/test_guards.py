"""evaluation/guards.py: a bad student is called bad; the students here are trained as any is."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distill_jobs.evaluate import EvaluateConfig, evaluate
from distill_jobs.evaluation.compare import compare
from distill_jobs.evaluation.models import Model
from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil
from schemas import parts, store, tables
from tests.evaluation_kit import classes_set, pairs_set, teacher_vectors

HELD_OUT = 90  # of 300 sentences, for the labelled sets


def broken(model: Model) -> list[str]:
    result = compare(
        [Model("teacher/idf", teacher_vectors), model],
        [pairs_set(), classes_set()],
        budgets=(),
        seed=0,
    )
    return result.broken(model.name)


def test_a_good_student_has_no_fault():
    assert broken(Model("mine", lambda texts: teacher_vectors(texts) + 0.3)) == []


def test_a_student_that_gives_nan_is_compared_and_named():
    def encode(texts):
        vectors = teacher_vectors(texts)
        if len(texts) > 4:
            vectors[:4] = np.nan
        return vectors

    faults = broken(Model("mine", encode))
    assert faults == ["4 of 32 vectors hold NaN or infinity (zeros stood for them)"]


def test_a_student_that_gives_only_nan_is_not_also_called_constant():
    faults = broken(Model("mine", lambda texts: np.full((len(texts), 8), np.inf)))
    assert faults == ["32 of 32 vectors hold NaN or infinity (zeros stood for them)"]


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_student_is_named(value):
    faults = broken(Model("mine", lambda texts: np.full((len(texts), 8), value)))
    assert faults == ["its vectors are the same for every text"]


def test_a_student_that_hardly_moves_is_named():
    faults = broken(Model("mine", lambda texts: 1e-3 * teacher_vectors(texts) + 1))
    assert "nearly the same for every text: two texts have a mean cosine of 1.0000" in faults[0]


def permuted(texts):
    vectors = teacher_vectors(sorted(texts))
    row = np.random.default_rng(1).permutation(len(vectors))
    places = {text: place for place, text in enumerate(sorted(texts))}
    return vectors[row[[places[text] for text in texts]]]


@pytest.mark.parametrize("objective", ["mse", "cosine=1,relational=20", None])
def test_a_student_of_permuted_texts_is_named(objective):
    card = {"objective": objective} if objective else {}
    (fault,) = broken(Model("mine", permuted, card))
    assert "no nearer to its teacher's than if the texts were permuted" in fault


def test_a_student_of_relations_alone_may_have_a_space_of_its_own():
    def turned(texts):
        return -teacher_vectors(texts)

    assert broken(Model("mine", turned, {"objective": "relational=1,gram_kl@64=2"})) == []
    assert len(broken(Model("mine", turned, {"objective": "mse"}))) == 1


def test_a_student_of_another_width_is_judged_by_its_pairs():
    assert broken(Model("mine", lambda texts: teacher_vectors(texts)[:, :4])) == []
    (fault,) = broken(Model("mine", lambda texts: permuted(texts)[:, 1:5]))
    assert "cosines of random pairs have nothing to do with its teacher's: Spearman" in fault


def with_targets(source: Path, folder: Path, change) -> str:
    """A copy of a store whose vectors are changed, as one array, by a function."""
    opened = store.open_store(source)
    read = [parts.read(opened.path_of(part)) for part in opened.parts]
    table = pa.concat_tables(read).sort_by("sentence_id").combine_chunks()
    at = table.column_names.index("vector_idf")
    changed = change(np.array(table["vector_idf"].to_pylist()))
    column = pa.array(changed.tolist(), table.schema.field(at).type)
    table = table.set_column(at, table.schema.field(at), column)
    part = parts.write(table, folder, "ingest_date=2026-01-01/all.parquet", row_group=16)
    commit = opened.commits[-1]
    store.commit(
        folder,
        table.schema.append(tables.INGEST_DATE),
        [part],
        run_id=commit.run_id,
        fingerprint=opened.fingerprint,
        summary=commit.summary,
    )
    shutil.copytree(f"{source}.preparer", f"{folder}.preparer")
    return str(folder)


def train(location: str, folder: Path, epochs: int = 30) -> str:
    settings = {"batch_size": 16, "validation_rows": 32, "precision": "float32", "embedding": 16}
    settings |= {"learning_rate": 0.01, "epochs": epochs}
    distil(TrainConfig(store=location, out=folder / "training", **settings))
    export(ExportConfig(training=folder / "training", out=folder / "export"))
    return str(folder / "export")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, embed, sentences):
    """A real student, one of permuted targets and one of (nearly) constant ones, and sets."""
    folder = tmp_path_factory.mktemp("guards")
    shuffled = np.random.default_rng(0).permutation(sentences).tolist()
    held_out, taught = shuffled[:HELD_OUT], shuffled[HELD_OUT:]
    for name, texts in (("taught", taught), ("labelled", held_out)):
        (folder / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")
        embed(folder / f"{name}.txt", out=folder / name)
    rng = np.random.default_rng(1)
    stores = {
        "good": str(folder / "taught"),
        "permuted": with_targets(folder / "taught", folder / "p", rng.permutation),
        "constant": with_targets(
            folder / "taught", folder / "c", lambda v: v.mean(0) + 1e-4 * rng.normal(size=v.shape)
        ),
    }
    students = {name: train(location, folder / name) for name, location in stores.items()}
    put_classes(folder / "sets" / "day", held_out)
    return folder, students


def put_classes(folder: Path, texts: list[str]) -> None:
    """Texts by their first two characters: the day."""
    folder.mkdir(parents=True)
    for name, some in (("test", texts[::2]), ("train", texts[1::2])):
        lines = ["text\tlabel", *(f"{text}\t{text[:2]}" for text in some)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def config(trained, out: str, *names: str, **changes) -> EvaluateConfig:
    folder, students = trained
    return EvaluateConfig(
        tasks=folder / "sets",
        teacher_store=str(folder / "labelled"),
        out=folder / out,
        student=tuple(f"{name}={students[name]}" for name in names),
        budgets=(),
        **changes,
    )


def test_students_trained_on_nonsense_are_named_and_the_good_one_is_not(trained):
    summary = evaluate(config(trained, "all", "good", "permuted", "constant"))
    models = summary["models"]
    assert models["good"]["broken"] == []
    assert "if the texts were permuted" in models["permuted"]["broken"][0]
    assert "nearly the same for every text" in models["constant"]["broken"][0]
    assert summary["best"] == "good"
    assert {"permuted", "constant"} <= set(summary["faults"])
    page = (trained[0] / "all" / "report.html").read_text(encoding="utf-8")
    for name in ("permuted", "constant"):
        assert f"<b>{name} does not stand in for its teacher:</b>" in page


def test_with_a_requirement_a_broken_student_fails_whatever_it_keeps(trained):
    with pytest.raises(ValueError, match="permuted does not stand in for its teacher: its vectors"):
        evaluate(config(trained, "required", "permuted", require_retention=0.0))
    assert (trained[0] / "required" / "report.html").is_file()
