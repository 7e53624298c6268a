"""distill_jobs/evaluate.py and its parts: compare, scoring, result, latency, scoreboard."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch

from distill_jobs.evaluate import EvaluateConfig, evaluate, main, training_stores
from distill_jobs.evaluation import latency, models, scoreboard
from distill_jobs.evaluation.compare import compare
from distill_jobs.evaluation.models import Model, Vectors
from distill_jobs.evaluation.result import Facts, Result, Score
from distill_jobs.evaluation.scoring import Scorer
from schemas import parts, store
from tests.evaluation_kit import (
    FOOD,
    LOANS,
    TEXTS,
    WIDTH,
    classes_set,
    pairs_set,
    put_sets,
    put_store,
    teacher_vectors,
)


class TableEncoder:
    """An encoder as `SentenceEncoder` is one: the teacher's vectors with some noise."""

    def __init__(self, folder: Path) -> None:
        self.card = json.loads((Path(folder) / "config.json").read_text())

    @classmethod
    def load(cls, folder: Path, threads: int) -> "TableEncoder":
        return cls(folder)

    def encode(self, texts):
        noise = np.random.default_rng(0).normal(size=(len(texts), WIDTH))
        return (teacher_vectors(texts) + self.card["noise"] * noise).astype(np.float32)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Sets, a teacher store, a training store that has one labelled sentence, and a student."""
    monkeypatch.setattr(models, "SentenceEncoder", TableEncoder)
    put_sets(tmp_path / "sets")
    put_store(tmp_path / "teacher", TEXTS)
    put_store(tmp_path / "trained", ["别的句子", FOOD[4]])
    card = {
        "noise": 0.5,
        "student": "bilstm",
        "store": str(tmp_path / "trained"),
        "store_version": 0,
        "store_rows": 2,
        "idf_words": 131939,
        "file_bytes": 1000,
        "teacher_bytes": 20000,
        "teacher_seconds": 10.0,
        "teacher_sentences_per_second": 5.0,
        "train_seconds": 3.0,
        "parameters": 250,
        "validation": {"spearman": 0.9},
    }
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "config.json").write_text(json.dumps(card))
    return tmp_path


def config(world: Path, **changes: object) -> EvaluateConfig:
    settings: dict[str, object] = {
        "tasks": world / "sets",
        "teacher_store": str(world / "teacher"),
        "out": world / "out",
        "student": (f"mine={world / 'student'}",),
        "budgets": (4,),
    }
    return EvaluateConfig(**{**settings, **changes})


def rows_of(world: Path) -> dict[tuple[str, str, str], dict[str, object]]:
    opened = store.open_store(world / "out" / "evaluation")
    rows = [row for p in opened.parts for row in parts.read(opened.path_of(p)).to_pylist()]
    return {(row["model"], row["task"], row["metric"]): row for row in rows}


PAIR_SCORES = (("near", "spearman"), ("same", "auc"))


def test_every_model_has_a_row_for_every_task_and_metric(world):
    summary = evaluate(config(world))
    rows = rows_of(world)
    assert {key[1:] for key in rows if key[0] == "mine"} == {
        ("near", "spearman"),
        ("same", "auc"),
        ("same", "mrr@10"),
        ("same", "ndcg@10"),
        ("same", "index_mrr@10"),
        ("same", "index_ndcg@10"),
        ("topic", "accuracy"),
        ("topic", "accuracy@4"),
        ("topic", "v_measure"),
        *(("*", f"mean{kind}") for kind in ("", "_pairs", "_probes", "_clusters", "_retrieval")),
        ("*", "mean_minus_reference"),
        ("*", "neighbours@10"),
    }
    assert {key[0] for key in rows} == {"teacher/idf", "teacher/mean", "mine", "baseline/tfidf"}
    assert summary["rows"] == len(rows)
    assert next(iter(summary["models"])) == "teacher/idf"


def test_rows_with_a_sentence_trained_on_are_left_out_and_counted(world):
    summary = evaluate(config(world))
    rows = rows_of(world)
    assert summary["overlaps"] == {"near": 3, "same": 3, "topic": 1}
    assert (rows["mine", "same", "auc"]["rows"], rows["mine", "same", "auc"]["overlaps"]) == (29, 3)
    assert rows["teacher/idf", "topic", "accuracy"]["rows"] == 15


def test_retention_is_the_share_of_the_references_value(world):
    evaluate(config(world))
    rows = rows_of(world)
    for (model, task, metric), row in rows.items():
        if metric == "mean_minus_reference":
            assert math.isnan(row["retention"])
            continue
        base = rows["teacher/idf", task, metric.removeprefix("index_")]["value"]
        assert row["retention"] == pytest.approx(row["value"] / base)
        assert row["low"] <= row["high"]
        assert model != "teacher/idf" or row["retention"] == 1


def test_what_is_kept_is_said_by_kind_of_task_too(world):
    summary, rows = evaluate(config(world)), rows_of(world)
    of_pairs = [rows["mine", task, metric]["value"] for task, metric in PAIR_SCORES]
    assert rows["mine", "*", "mean_pairs"]["value"] == pytest.approx(sum(of_pairs) / 2)
    kept = rows["mine", "*", "mean_pairs"]["retention"]
    assert summary["models"]["mine"]["kept_pairs"][0] == pytest.approx(kept, abs=1e-4)
    assert summary["models"]["teacher/idf"]["kept_probes"] == [1, 1, 1]


def test_the_difference_from_the_reference_is_that_of_the_means(world):
    summary = evaluate(config(world, student=(f"a={world / 'student'}", f"b={world / 'student'}")))
    rows, mine = rows_of(world), summary["models"]["a"]
    row = rows["a", "*", "mean_minus_reference"]
    means = [rows[model, "*", "mean"]["value"] for model in ("a", "teacher/idf")]
    assert row["value"] == pytest.approx(means[0] - means[1])
    kept = [row["value"], row["low"], row["high"]]
    assert mine["minus_reference"]["value"] == pytest.approx(kept, abs=1e-4)
    # The two are the same student, and the same rows were drawn for both.
    assert (summary["best"], mine["minus_best"]["value"]) == ("b", [0, 0, 0])
    assert mine["minus_best"]["verdict"] == "no difference shown"
    assert summary["as_good_as_best"] == ["a", "b"]


def test_the_summary_says_how_the_vectors_lie(world):
    found = evaluate(config(world))["models"]
    assert found["teacher/idf"]["neighbours@10"] == [1, 1, 1]
    assert 0.3 < found["mine"]["neighbours@10"][0] < 1
    for model in ("mine", "teacher/idf", "teacher/mean"):
        assert -1 < found[model]["pair_cosine"] < 0.2
        assert 1 / WIDTH < found[model]["first_component"] < 1
    assert "pair_cosine" not in found["baseline/tfidf"]


def test_a_student_that_keeps_enough_stands_in_and_one_that_does_not_fails_if_asked(world, capsys):
    summary = evaluate(config(world, require_retention=0.5))
    assert (summary["models"]["mine"]["verdict"], summary["faults"]) == ("stands in", {})
    again = evaluate(config(world, require_retention=0.5))
    assert (again["already_done"], again["faults"]) == (True, {})
    asked = config(world, require_retention=1.5)
    message = r"mine does not stand in for its teacher: it keeps [\d.]+%, less than 150.0%. The rep"
    for _ in range(2):  # the second finds the first's report
        with pytest.raises(ValueError, match=message):
            evaluate(asked)
    page = (world / "out" / "report.html").read_text(encoding="utf-8")
    assert "<b>mine does not stand in for its teacher:</b> it keeps" in page
    assert store.open_store(world / "out" / "evaluation").version == 0


def test_an_unmet_requirement_ends_the_command_with_65_and_none_with_0(world, capsys):
    words = config(world, require_retention=1.5).command.split(" --")[1:]
    flags = [word for flag in words for word in f"--{flag}".split()]
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 65
    assert "mine does not stand in for its teacher: it keeps" in capsys.readouterr().err
    assert (world / "out" / "report.txt").is_file()
    main(flags[:-2])
    summary = json.loads(capsys.readouterr().out)
    assert summary["models"]["mine"]["verdict"] == "stands in"


def test_the_same_again_is_found_done(world, capsys):
    first = evaluate(config(world))
    table = capsys.readouterr().err
    again = evaluate(config(world))
    assert (first.pop("already_done"), again.pop("already_done")) == (False, True)
    assert again == first
    assert capsys.readouterr().err.strip() in table
    assert store.open_store(world / "out" / "evaluation").version == 0


def test_a_report_that_is_gone_is_written_again_without_a_second_commit(world):
    evaluate(config(world))
    (world / "out" / "report.html").unlink()
    assert evaluate(config(world))["already_done"] is False
    assert (world / "out" / "report.html").is_file()
    assert store.open_store(world / "out" / "evaluation").version == 0


def test_another_student_is_added_to_the_same_table(world):
    evaluate(config(world))
    evaluate(config(world, student=(f"other={world / 'student'}",)))
    assert store.open_store(world / "out" / "evaluation").version == 1
    assert {"mine", "other"} < {model for model, _, _ in rows_of(world)}


def test_evaluations_of_other_sets_do_not_mix(world):
    evaluate(config(world))
    with pytest.raises(ValueError, match="was made under other conditions: sets is"):
        evaluate(config(world, sets=("same", "topic")))


def test_a_student_whose_store_is_gone_needs_to_be_told(world):
    lost = Model("mine", teacher_vectors, {"store": "/nowhere", "store_version": 3})
    with pytest.raises(ValueError, match="mine was trained from /nowhere, which is not there"):
        training_stores(config(world), [lost])
    told = config(world, train_store=str(world / "trained"))
    assert [opened.rows for opened in training_stores(told, [lost])] == [2]


def test_a_student_can_be_the_reference(world):
    summary = evaluate(config(world, reference="mine"))
    assert summary["models"]["mine"]["verdict"] == "stands in"
    assert summary["models"]["mine"]["neighbours@10"] == [1, 1, 1]
    assert rows_of(world)["mine", "*", "mean_minus_reference"]["value"] == 0
    assert summary["models"]["teacher/idf"]["minus_reference"]["value"][0] != 0


def test_only_known_models_can_be_the_reference(world):
    with pytest.raises(ValueError, match="must be one of teacher/idf, teacher/mean, mine, got 'x'"):
        evaluate(config(world, reference="x"))


def test_two_students_cannot_share_a_name(world):
    with pytest.raises(ValueError, match="students must have different names"):
        config(world, student=("a=x", "a=y"))


@pytest.mark.parametrize("least", [-0.1, math.inf, math.nan])
def test_a_requirement_is_a_share(world, least):
    with pytest.raises(ValueError, match="require_retention must be 0 or more, got"):
        config(world, require_retention=least)


def test_the_command_line_prints_a_table_and_a_summary(world, capsys):
    c = config(world)
    flags = [word for flag in c.command.split(" --")[1:] for word in f"--{flag}".split()]
    main(flags)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["report"] == str(world / "out" / "report.html")
    assert "IDF of 131,939 words · 2 sentences · teacher 10 s · student 3 s" in shown.err
    assert "1/20.0" in shown.err


def vectors_for(labelled) -> Vectors:
    return Vectors(labelled.texts, teacher_vectors(labelled.texts))


def test_scores_on_pairs_are_scikit_learns():
    labelled = pairs_set()
    found = {s.metric: s for s in Scorer(labelled, (), 0).scores("m", vectors_for(labelled), None)}
    first, second = (teacher_vectors([r.sentences[i] for r in labelled.test]) for i in (0, 1))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(1) / lengths
    truth = [int(row.label) for row in labelled.test]
    assert found["auc"].value == pytest.approx(sklearn.metrics.roc_auc_score(truth, cosines))
    assert set(found) == {"auc", "mrr@10", "ndcg@10"}


def test_two_topics_far_apart_are_told_apart():
    labelled = classes_set()
    found = Scorer(labelled, (4,), 0).scores("m", vectors_for(labelled), None)
    values = {score.metric: score.value for score in found}
    assert values["v_measure"] == 1
    assert values["accuracy"] > 0.9
    assert values["accuracy@4"] < values["accuracy"]


def test_a_score_does_not_depend_on_the_other_models_or_sets():
    student = Model("mine", lambda texts: teacher_vectors(texts) + 0.5)
    teacher = Model("teacher/idf", teacher_vectors)
    sets = [classes_set(), pairs_set()]
    alone = compare([teacher], sets[1:], budgets=(), seed=0)
    both = compare([teacher, student], sets, budgets=(), seed=0)
    column = ("same", "auc")
    a, b = alone.score("teacher/idf", column), both.score("teacher/idf", column)
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.samples_R, b.samples_R)


def test_a_copy_of_the_teacher_keeps_all_of_it_with_no_doubt():
    copy, teacher = Model("copy", teacher_vectors), Model("teacher/idf", teacher_vectors)
    result = compare([teacher, copy], [pairs_set(), classes_set()], budgets=(), seed=0)
    kept = result.mean_retention("copy")
    assert (kept.value, kept.low, kept.high) == (1, 1, 1)
    assert result.facts["copy"].alignment == pytest.approx(1)
    assert result.best_student() == "copy"


def test_a_student_of_another_width_is_scored_but_not_aligned():
    narrow = Model("narrow", lambda texts: teacher_vectors(texts)[:, :4])
    teacher = Model("teacher/idf", teacher_vectors)
    result = compare([teacher, narrow], [pairs_set()], budgets=(), seed=0)
    assert result.facts["narrow"].alignment is None
    assert result.score("narrow", ("same", "index_ndcg@10")) is None
    assert result.score("narrow", ("same", "ndcg@10")) is not None


def of(model: str, task: str, value: float) -> Score:
    return Score(model, task, "v_measure", np.array([value, value, value]), 10, 0)


def test_a_share_of_next_to_nothing_is_no_number():
    scores = (of("t", "a", 0.01), of("s", "a", 0.2), of("t", "b", 0.5), of("s", "b", 0.4))
    result = Result(("t", "s"), (), scores, {}, {"s": {}}, {})
    assert math.isnan(result.retention(scores[1]).value)
    assert result.retention(scores[3]).value == 0.8
    assert result.mean_retention("s").value == pytest.approx(0.6 / 0.51)


def test_timing_leaves_the_threads_as_they_were():
    before, during = torch.get_num_threads(), []

    def encode(texts):
        during.append((torch.get_num_threads(), len(texts)))

    timed = latency.measure(encode, LOANS)
    assert set(during) == {(1, 1), (1, 64)}
    assert torch.get_num_threads() == before
    assert 0 < timed.p50_us <= timed.p99_us


def test_names_in_chinese_keep_the_columns_of_the_scoreboard_in_line():
    scores = (of("t", "聚类", 0.5), of("s", "聚类", 0.4))
    lines = scoreboard.text(Result(("t", "s"), (), scores, {"s": Facts()}, {"s": {}}, {}))
    assert "聚类  v_measure" in lines
    assert "mean             " in lines
