"""tests/bench/augmentation: whose variants a student learns, and the table that comes of it."""

import json

import numpy as np
import pytest

from distill_jobs.evaluation.tasks import Row
from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil
from distill_jobs.tuning.task import draw
from pipelines.augment import AugmentConfig, augment
from schemas.store import open_store
from schemas.text import sentence_id
from tests.bench import augmentation as bench


def of(*texts) -> dict[str, dict[int, str]]:
    """Three variants of each text."""
    return {sentence_id(text): {n: f"{text}{n}" for n in range(3)} for text in texts}


def test_a_row_s_variants_are_those_of_its_own_sentence():
    rows = [Row(("北京",), "0"), Row(("上海",), "1"), Row(("没有",), "1")]
    found = bench.variant_rows(rows, of("北京", "上海", "广州"), [])
    assert [row.sentences[0] for row in found] == [
        "北京0",
        "北京1",
        "北京2",
        "上海0",
        "上海1",
        "上海2",
    ]
    assert {row.label for row in found} == {""}


def test_of_pairs_the_first_the_second_and_both_vary_in_turn():
    found = bench.variant_rows([Row(("北京", "上海"), "1")], of("北京", "上海"), [])
    assert [row.sentences for row in found] == [
        *(("北京0", "上海"), ("北京", "上海1"), ("北京2", "上海2")),
    ]
    found = bench.variant_rows([Row(("北京", "上海"), "1")], of("上海"), [])
    assert [row.sentences for row in found] == [("北京", "上海1"), ("北京", "上海2")]


def test_what_a_held_out_row_says_is_not_learned():
    held_out = [Row(("上海1", "北京2"), "1"), Row(("北京0",), "0")]
    found = bench.variant_rows([Row(("北京",), "0")], of("北京"), held_out)
    assert [row.sentences for row in found] == [("北京1",)]


@pytest.fixture(scope="module")
def settings(small_store, small_corpus, embed, sentences, tmp_path_factory):
    folder = tmp_path_factory.mktemp("augmentation")
    shuffled = [sentences[i] for i in np.random.default_rng(0).permutation(len(sentences))]
    named = [(text, "天气" if "天气" in text or "雨" in text else "其他") for text in shuffled]
    pairs = [(a, b, int(x == y)) for (a, x), (b, y) in zip(named, named[7:], strict=False)]
    for name, header, rows in (("topic", "text\tlabel", named), ("same", PAIR, pairs)):
        (folder / name).mkdir()
        for split, some in (("train", rows[:200]), ("test", rows[200:])):
            lines = [header, *("\t".join(map(str, row)) for row in some)]
            (folder / name / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    made = {"epochs": 2, "validation_rows": 40, "precision": "float32", "embedding": 8}
    distil(TrainConfig(store=str(small_store), out=folder / "training", **made))
    export(ExportConfig(training=folder / "training", out=folder / "student"))
    table, store = folder / "variants", folder / "variants-teacher"
    augment(AugmentConfig(corpus=(str(small_corpus),), out=str(table), variants=3))
    embed(f"{table}/*.parquet", out=store, pooling=("idf", "mean", "cls"))
    return {
        **{"tasks": folder, "student": folder / "student", "teacher_store": str(small_store)},
        **{"variants": str(table), "variants_store": str(store), "budgets": (40,), "seeds": 2},
    }


PAIR = "sentence1\tsentence2\tlabel"


def config(settings, *sets, **changes) -> bench.AugmentationConfig:
    return bench.AugmentationConfig(sets=sets, epochs=2, **{**settings, **changes})


def test_the_table_has_all_arms_and_both_arms_of_equal_steps_learn_as_many_rows(settings, capsys):
    bench.main(config(settings, "topic", "same"))
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert lines[0] == "| set | labels | " + " | ".join(bench.ARMS) + " |"
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| topic", "| same", "| same, AUC"]
    assert all(line.count("±") == len(bench.ARMS) for line in lines[2:])
    rows = [json.loads(line) for line in told.err.splitlines() if line.startswith('{"set"')]
    for seed in range(2):
        of_arm = {r["arm"]: r for r in rows if (r["set"], r["seed"]) == ("topic", seed)}
        assert of_arm[bench.STEPS]["soft_rows"] == of_arm[bench.VARIANTS]["soft_rows"]
        assert of_arm[bench.VARIANTS]["soft_rows"] > 2 * of_arm[bench.PASSES]["soft_rows"]
        assert of_arm[bench.STEPS]["steps"] == of_arm[bench.VARIANTS]["steps"]
        assert of_arm[bench.HARD]["soft_rows"] == 0


def test_the_parents_are_the_sentences_that_are_drawn_and_no_others(settings, tmp_path, capsys):
    given = config(settings, "topic", parents=tmp_path / "parents.txt")
    bench.main(given)
    written = (tmp_path / "parents.txt").read_text(encoding="utf-8").splitlines()
    task = bench.held_task(given, "topic", open_store(given.teacher_store))
    drawn = {row.sentences[0] for seed in range(2) for row in draw(task, 40, seed)[0]}
    assert written == sorted(drawn)
    assert capsys.readouterr().out == f"{len(drawn)} sentences\n"
    assert not drawn & {row.sentences[0] for row in task.test}


def test_variants_of_another_teacher_s_store_are_refused(settings, small_corpus, embed, tmp_path):
    embed(small_corpus, out=tmp_path / "other", pooling=("mean",))
    with pytest.raises(ValueError, match="poolings is 'mean', wanted 'idf,mean,cls'"):
        bench.Bench(config(settings, "topic", variants_store=str(tmp_path / "other")), "topic")
