"""distill_jobs/evaluation/models.py: what is compared, and what turns texts into vectors."""

import numpy as np
import pytest

from distill_jobs.evaluation import models
from distill_jobs.evaluation.models import Model
from schemas import store
from tests.evaluation_kit import (
    FOOD,
    LOANS,
    TEXTS,
    classes_set,
    pairs_set,
    put_store,
    teacher_vector,
    teacher_vectors,
)


def test_every_vector_column_of_a_store_is_a_model(tmp_path):
    put_store(tmp_path / "t", TEXTS)
    found = models.teachers(store.open_store(tmp_path / "t"), TEXTS, tmp_path / "missing.txt")
    assert [model.name for model in found] == ["teacher/idf", "teacher/mean"]
    asked = [LOANS[3], FOOD[0], LOANS[3]]
    expected = np.stack([teacher_vector(text, "mean") for text in asked])
    np.testing.assert_array_equal(found[1].encode(asked), expected)


def test_vectors_that_a_store_keeps_less_of_are_compared_in_the_teacher_s_space(
    tmp_path, embed, sentences
):
    asked = sentences[:20]
    (tmp_path / "c.txt").write_text("\n".join(asked), encoding="utf-8")
    settings = {"vector_dtype": "int8", "pca": 6, "pooling": ("idf", "cls")}
    for name, way in {"whole": {"pooling": ("idf", "cls")}, "less": settings}.items():
        embed(tmp_path / "c.txt", out=tmp_path / name, **way)
    whole, less = (
        models.teachers(store.open_store(tmp_path / name), asked, tmp_path / "missing.txt")
        for name in ("whole", "less")
    )
    assert [model.name for model in less] == ["teacher/idf", "teacher/cls"]
    for exact, near in zip(whole, less, strict=True):
        exact_NH, near_NH = exact.encode(asked), near.encode(asked)
        spread = np.square(exact_NH - exact_NH.mean(axis=0)).sum()
        assert near_NH.shape == (20, 16)
        assert np.square(near_NH - exact_NH).sum() < 0.2 * spread


def test_a_sentence_may_be_in_any_part(tmp_path):
    put_store(tmp_path / "t", TEXTS[:20], "a")
    put_store(tmp_path / "t", TEXTS[20:], "b")
    found = models.teachers(store.open_store(tmp_path / "t"), TEXTS, tmp_path / "missing.txt")
    np.testing.assert_array_equal(found[0].encode(TEXTS), teacher_vectors(TEXTS))


def test_missing_sentences_are_counted_written_and_explained(tmp_path):
    put_store(tmp_path / "t", TEXTS[:30])
    missing = tmp_path / "out" / "missing.txt"
    message = "lacks 2 of the labelled sentences; .* python -m pipelines teacher --corpus .*missing"
    with pytest.raises(ValueError, match=message):
        models.teachers(store.open_store(tmp_path / "t"), TEXTS, missing)
    assert missing.read_text(encoding="utf-8").splitlines() == TEXTS[30:]


def test_a_table_without_vectors_is_no_teacher_store(tmp_path):
    import pyarrow as pa

    from schemas import parts

    schema = pa.schema([pa.field("word", pa.string(), nullable=False)])
    part = parts.write(pa.table({"word": ["a"]}, schema=schema), tmp_path / "t", "a.parquet")
    store.commit(tmp_path / "t", schema, [part], run_id="a", fingerprint={}, summary={})
    with pytest.raises(ValueError, match=r"is no teacher store: its columns are \['word'"):
        models.teachers(store.open_store(tmp_path / "t"), ["a"], tmp_path / "missing.txt")


def test_a_text_in_several_sets_is_encoded_once():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return teacher_vectors(texts)

    sets = [pairs_set(), classes_set()]
    for vectors, labelled in zip(models.embed(Model("m", encode), sets), sets, strict=True):
        np.testing.assert_array_equal(vectors.of(labelled.texts), teacher_vectors(labelled.texts))
    assert sorted(asked) == sorted(set(TEXTS))


def test_the_baseline_is_fitted_on_each_set_by_itself():
    asked = []
    baseline = models.tfidf(0)

    def encode(texts):
        asked.append(list(texts))
        return baseline.encode(texts)

    sets = [pairs_set(), classes_set()]
    list(models.embed(Model("b", encode, per_set=True), sets))
    assert asked == [labelled.texts for labelled in sets]


def test_the_baseline_puts_texts_of_the_same_characters_together():
    vectors = models.tfidf(0).encode(TEXTS)
    near = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert (near[:16] @ near[:16].T).mean() > (near[:16] @ near[16:].T).mean() + 0.3
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("texts", [["好"], ["好", "坏"], ["好", "好的", "坏"]])
def test_the_baseline_takes_very_small_sets(texts):
    assert np.isfinite(models.tfidf(0).encode(texts)).all()


def without_one(texts):
    vectors = teacher_vectors(texts)
    vectors[texts.index(FOOD[5])] = np.nan
    return vectors


def test_a_teacher_that_gives_nan_is_refused_with_the_sentence():
    with pytest.raises(ValueError, match=f"teacher/m gave NaN or infinity for '{FOOD[5]}'"):
        list(models.embed(Model("teacher/m", without_one), [classes_set()]))


def test_zeros_stand_for_a_student_s_nan_and_are_counted():
    (vectors,) = models.embed(Model("m", without_one), [classes_set()])
    assert vectors.flawed == 1
    np.testing.assert_array_equal(vectors.of([FOOD[5]]), np.zeros((1, 8), np.float32))
    np.testing.assert_array_equal(vectors.of(LOANS), teacher_vectors(LOANS))


def test_a_model_that_gives_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"m gave an array of shape \(2, 8\) for 32 texts"):
        list(models.embed(Model("m", lambda texts: np.zeros((2, 8))), [classes_set()]))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("folder", "a student must be NAME=FOLDER, got 'folder'"),
        ("=folder", "a student must be NAME=FOLDER"),
        ("teacher/idf=folder", "a student cannot be called 'teacher/idf'"),
    ],
)
def test_a_student_has_a_name_of_its_own_and_a_folder(argument, message):
    with pytest.raises(ValueError, match=message):
        models.student(argument)


def test_a_folder_that_is_no_export_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not an exported student"):
        models.student(f"mine={tmp_path}")
