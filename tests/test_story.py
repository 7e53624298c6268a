"""evaluation/story.py: what a reader needs in a minute, with the numbers of the result."""

import numpy as np

from distill_jobs.evaluation.compare import compare
from distill_jobs.evaluation.models import Model, tfidf
from distill_jobs.evaluation.story import story
from tests.evaluation_kit import classes_set, pairs_set, teacher_vectors


def student(name: str, noise: float, **card: object) -> Model:
    def encode(texts):
        own = np.random.default_rng(0).normal(size=(len(texts), 8))
        return teacher_vectors(texts) + noise * own

    return Model(name, encode, card)


def told(*models: Model) -> dict[str, str]:
    compared = [Model("teacher/idf", teacher_vectors), *models]
    result = compare(compared, [pairs_set(), classes_set()], budgets=(), seed=0)
    return dict(story(result))


def test_teachers_alone_have_no_story():
    assert told() == {}


def test_a_story_says_how_close_where_not_and_what_it_costs():
    card = {"file_bytes": 2_000_000, "teacher_bytes": 20_000_000, "train_seconds": 90.0}
    found = told(student("mine", 0.1, **card))
    assert list(found) == ["How close", "Where not", "What it costs", "What to choose"]
    assert "mine keeps " in found["How close"]
    assert "of teacher/idf's mean over 4 task metrics" in found["How close"]
    assert "2.0 MB of weights where the teacher has 20.0 MB (1/10.0)" in found["What it costs"]
    assert "90 s of training" in found["What it costs"]
    assert found["What to choose"].startswith("mine is the only student.")


def test_of_students_that_cannot_be_told_apart_the_smallest_is_named():
    few, many = {"file_bytes": 1_000_000}, {"file_bytes": 9_000_000}
    found = told(student("big", 0.0, **many), student("small", 0.0, **few))["What to choose"]
    assert "big cannot be told from small." in found
    assert "The smallest of all these is small (1.0 MB)." in found


def test_a_broken_student_is_not_the_best_and_not_to_be_used():
    constant = Model("constant", lambda texts: np.ones((len(texts), 8)))
    found = told(student("mine", 0.1), constant)
    assert "mine keeps " in found["How close"]
    assert "Do not use constant." in found["What to choose"]
    alone = told(constant)["What to choose"]
    assert alone.startswith("None: no student stands in for its teacher.")


def test_a_baseline_that_is_as_good_is_not_kept_quiet():
    said = "which knows no teacher, is not shown to be worse"
    assert f"baseline/tfidf, {said}" in told(student("mine", 3.0), tfidf(0))["What to choose"]
    dice = Model("baseline/dice", lambda texts: np.random.default_rng(0).random((len(texts), 8)))
    assert said not in told(student("mine", 0.0), dice)["What to choose"]
