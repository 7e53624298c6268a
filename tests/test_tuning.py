"""distill_jobs/tuning: the jobs, with a real student of a real store."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch

from distill_jobs.__main__ import main
from distill_jobs.encoder import SentenceEncoder, preparer_of, read_card
from distill_jobs.evaluation.tasks import Row
from distill_jobs.export import ExportConfig, export
from distill_jobs.train import TrainConfig, distil
from distill_jobs.tuning.model import TunedModel
from distill_jobs.tuning.network import Tuned, features, load_student
from distill_jobs.tuning.task import draw, read_task
from distill_jobs.tuning.task_logits import TaskLogitsConfig, write_logits
from distill_jobs.tuning.transfer import open_soft, read_scores, read_soft
from distill_jobs.tuning.tune import TuneConfig, tune
from schemas import parts
from schemas.commits import Change
from schemas.store import open_store, rewrite
from schemas.vectors import open_decoder
from tests.bench.budgets import BudgetsConfig
from tests.bench.budgets import main as measure_budgets
from tests.test_house import modules_after

CLASSES = ("high", "low")


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def exported(store, folder, **changes):
    settings = {"epochs": 25, "batch_size": 32, "validation_rows": 40, "learning_rate": 0.02}
    settings |= {"precision": "float32", "embedding": 8, "checkpoint_every": 1000, **changes}
    distil(TrainConfig(store=str(store), out=folder / "training", **settings))
    export(ExportConfig(training=folder / "training", out=folder / "student"))
    return folder / "student"


@pytest.fixture(scope="module")
def student(small_store, tmp_path_factory):
    return exported(small_store, tmp_path_factory.mktemp("tuning"))


@pytest.fixture(scope="module")
def learned(small_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning-learned")
    return exported(small_store, folder, student_pooling="learned", epochs=1)


@pytest.fixture(params=["idf", "learned"])
def either(request, student, learned):
    return student if request.param == "idf" else learned


@pytest.fixture(scope="module")
def sets(small_store, tmp_path_factory):
    """Sets whose labels the teacher's vectors tell: the sign along their main direction."""
    store = open_store(small_store)
    table = pa.concat_tables([parts.read(store.path_of(part)) for part in store.parts])
    vectors = open_decoder(store, "idf").decode(table)
    texts = table["text"].to_pylist()
    centred = vectors - vectors.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    named = [(text, CLASSES[int(one < 0)]) for text, one in zip(texts, along, strict=True)]
    folder = tmp_path_factory.mktemp("sets")
    write(folder / "topic" / "train.tsv", "text\tlabel", named[:150])
    write(folder / "topic" / "test.tsv", "text\tlabel", named[150:])
    pairs = [(*a[:1], *b[:1], int(a[1] == b[1])) for a, b in zip(named, named[7:], strict=False)]
    write(folder / "same" / "train.tsv", "sentence1\tsentence2\tlabel", pairs[:140])
    write(folder / "same" / "test.tsv", "sentence1\tsentence2\tlabel", pairs[140:])
    near = [(a, b, 2.5 * same) for a, b, same in pairs]
    write(folder / "near" / "train.tsv", "sentence1\tsentence2\tscore", near[:140])
    write(folder / "near" / "test.tsv", "sentence1\tsentence2\tscore", near[140:])
    return folder


def config(student, sets, out, **changes):
    settings = {"student": student, "task": sets / "topic", "out": out, "epochs": 3}
    return TuneConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def tuned(student, sets, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "model"
    return out, tune(config(student, sets, out, epochs=10))


def test_with_few_labels_a_student_that_knows_beats_the_same_network_from_scratch(
    student, sets, tmp_path
):
    found = {}
    for scratch in (False, True):
        accuracies = []
        for seed in range(3):
            out = tmp_path / f"{scratch}{seed}"
            told = {"labels": 6, "seed": seed, "from_scratch": scratch, "epochs": 2}
            accuracies.append(tune(config(student, sets, out, **told))["scores"]["accuracy"])
        found[scratch] = np.mean(accuracies)
    assert found[False] > found[True] + 0.15
    assert found[False] > 0.75


def test_the_folder_predicts_what_was_scored(tuned, sets):
    out, result = tuned
    lines = (sets / "topic" / "test.tsv").read_text().splitlines()[1:]
    texts, labels = zip(*(line.split("\t") for line in lines), strict=True)
    said = TunedModel.load(out, "onnx").predict(texts)
    right = np.mean([one.label == label for one, label in zip(said, labels, strict=True)])
    assert right == pytest.approx(result["scores"]["accuracy"], abs=1e-4)
    assert right > 0.85
    for one in said[:5]:
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert one.probabilities[one.label] == max(one.probabilities.values())


@pytest.mark.parametrize("kind", ["topic", "same", "near"])
def test_what_is_served_is_what_torch_says(either, sets, tmp_path, kind):
    told = {"task": sets / kind, "epochs": 1, "labels": 60}
    result = tune(config(either, sets, tmp_path / "model", **told))
    rows = [line.split("\t") for line in (sets / kind / "test.tsv").read_text().splitlines()[1:9]]
    asked = [row[0] for row in rows] if kind == "topic" else [tuple(row[:2]) for row in rows]
    model = TunedModel.load(tmp_path / "model", "torch")
    found = model.outputs(asked)
    assert found.shape == (8, 1 if kind == "near" else 2)
    head = {k: torch.from_numpy(v) for k, v in model._head.items()}
    encoder = SentenceEncoder.load(tmp_path / "model", "torch")
    sides = zip(*asked, strict=True) if kind != "topic" else [asked]
    vectors = [torch.from_numpy(encoder.encode(list(side))) for side in sides]
    network = Tuned(load_student(tmp_path / "model"), len(vectors), found.shape[1])
    network.head.load_state_dict({k: v for k, v in head.items() if k not in ("offset", "factor")})
    inputs = features([(one - head["offset"]) * head["factor"] for one in vectors])
    wanted = network.head(inputs).detach().numpy()
    if kind == "near":
        mean, deviation = model.about["score_scale"]
        wanted = wanted * deviation + mean
        assert set(result["scores"]) == {"spearman"}
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_pairs_are_scored_by_accuracy_and_auc(student, sets, tmp_path):
    result = tune(config(student, sets, tmp_path / "model", task=sets / "same", epochs=6))
    assert set(result["scores"]) == {"accuracy", "auc"}
    assert result["scores"]["auc"] > 0.7
    said = TunedModel.load(tmp_path / "model").predict([("今天天气怎么样？", "明天会下雨吗")])
    assert set(said[0].probabilities) == {"0", "1"}


def test_frozen_the_encoder_s_vectors_stay_the_teacher_s(student, sets, tmp_path):
    tune(config(student, sets, tmp_path / "model", freeze=True))
    texts = ["今天北京天气怎么样？", "明天上海会下雨吗"]
    before, after = (SentenceEncoder.load(f, "torch") for f in (student, tmp_path / "model"))
    np.testing.assert_array_equal(before.encode(texts), after.encode(texts))


def test_the_same_command_again_finds_it_done_and_elsewhere_gives_the_same_bytes(
    student, sets, tuned, tmp_path
):
    out, result = tuned
    again = tune(config(student, sets, out, epochs=10))
    assert again == {**result, "reused": True}
    tune(config(student, sets, tmp_path / "other", epochs=10))
    for name in ("model.safetensors", "head.safetensors", "head.json"):
        assert (tmp_path / "other" / name).read_bytes() == (out / name).read_bytes()
    with pytest.raises(FileExistsError, match="holds something else"):
        tune(config(student, sets, out, seed=1))


@pytest.mark.parametrize("name", ["head.safetensors", "head.json", "model.onnx"])
def test_a_changed_byte_is_noticed(tuned, tmp_path, name):
    shutil.copytree(tuned[0], tmp_path / "model")
    content = bytearray((tmp_path / "model" / name).read_bytes())
    content[-9] ^= 1
    (tmp_path / "model" / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} has changed since"):
        TunedModel.load(tmp_path / "model")


def test_a_tuned_model_predicts_without_torch(tuned):
    code = f"from distill_jobs.tuning.model import TunedModel as M; M.load({str(tuned[0])!r})"
    code += ".predict(['今天天气怎么样？'])"
    assert {"torch", "ray", "transformers", "apache_beam"} & modules_after(code) == set()


def test_a_head_of_another_encoder_is_refused(student, sets, tuned, tmp_path):
    tune(config(student, sets, tmp_path / "other"))
    for name in ("head.safetensors", "head.json"):
        shutil.copy(tuned[0] / name, tmp_path / "other" / name)
    with pytest.raises(ValueError, match="belongs to another encoder"):
        TunedModel.load(tmp_path / "other")


def test_what_cannot_be_asked_is_refused(tuned, student):
    model = TunedModel.load(tuned[0])
    with pytest.raises(ValueError, match="takes a list of texts, got '今天'"):
        model.predict("今天")
    with pytest.raises(ValueError, match="takes texts, got"):
        model.predict([("今天", "明天")])
    with pytest.raises(FileNotFoundError, match=r"not a tuned model: it has no head\.json"):
        TunedModel.load(student)


def test_a_student_without_torch_weights_is_refused(student, sets, tmp_path):
    shutil.copytree(student, tmp_path / "student")
    (tmp_path / "student" / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors, which this needs"):
        tune(config(tmp_path / "student", sets, tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_labels_beyond_the_budget_are_refused(student, sets, tmp_path):
    with pytest.raises(ValueError, match="topic has 150 training rows"):
        tune(config(student, sets, tmp_path / "model", labels=151))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"epochs": 0}, "epochs must be above 0, got 0"),
        ({"alpha": 1.5}, "alpha must be from 0 to 1, got 1.5"),
        ({"kd": "l1"}, "kd of classes must be one of kl, ce, mse, got 'l1'"),
        ({"kd": "score_kl"}, "kd of classes must be one of kl, ce, mse, got 'score_kl'"),
        ({"scores": Path("x")}, "kd of scores must be one of mse, margin_mse, score_kl, got 'kl'"),
        ({"scores": Path("x"), "logits": "y", "store": "z", "kd": "mse"}, "give one of them"),
        ({"logits": "x"}, "logits and store belong together"),
        ({"from_scratch": True, "freeze": True}, "learns nothing"),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        config(tmp_path, tmp_path, tmp_path, **change)


@pytest.fixture(scope="module")
def logits(small_store, sets, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("logits") / "table")
    places = {"teacher_store": str(small_store), "store": str(small_store), "out": out}
    told = TaskLogitsConfig(task=sets / "topic", labels=100, **places)
    return told, write_logits(told)


def test_the_logits_of_every_sentence_are_the_head_s(small_store, sets, logits):
    told, summary = logits
    assert (summary["rows"], summary["labels"]) == (300, 80)
    assert summary["teacher_accuracy"] > 0.9
    table, store = open_store(told.out), open_store(small_store)
    assert json.loads(table.fingerprint["classes"]) == list(CLASSES)
    said = {}
    for part, source in zip(table.parts, store.parts, strict=True):
        rows = parts.read(table.path_of(part))
        assert rows["sentence_id"] == parts.read(store.path_of(source))["sentence_id"]
        said |= dict(zip(rows["sentence_id"].to_pylist(), rows["logits"].to_pylist(), strict=True))
    rows = pa.concat_tables([parts.read(store.path_of(part)) for part in store.parts])
    labels = dict(
        line.split("\t") for line in (sets / "topic" / "test.tsv").read_text().splitlines()[1:]
    )
    tested = [
        (i, labels[t])
        for i, t in zip(
            *map(pa.ChunkedArray.to_pylist, (rows["sentence_id"], rows["text"])), strict=True
        )
        if t in labels
    ]
    right = np.mean([CLASSES[int(np.argmax(said[i]))] == label for i, label in tested])
    assert right == pytest.approx(summary["teacher_accuracy"], abs=1e-4)
    assert np.abs([sum(one) for one in said.values()]).max() < 1e-4


def test_the_same_logits_again_are_found_done_and_others_refused(logits, sets):
    told, summary = logits
    assert write_logits(told) == {**summary, "already_done": True}
    other = TaskLogitsConfig(**{**vars(told), "seed": 1})
    with pytest.raises(ValueError, match="was made under other conditions: head is"):
        write_logits(other)
    pairs = TaskLogitsConfig(**{**vars(told), "task": sets / "same"})
    with pytest.raises(ValueError, match="same is of pairs: a store has single sentences"):
        write_logits(pairs)


def test_a_student_learns_from_the_task_s_teacher(student, sets, small_store, logits, tmp_path):
    told = {"logits": logits[0].out, "store": str(small_store), "labels": 10, "rows": 300}
    told |= {"alpha": 0.1, "epochs": 6}
    result = tune(config(student, sets, tmp_path / "model", **told))
    assert result["soft_rows"] == 300 - result["test_rows"] - result["dev_rows"]
    assert result["scores"]["accuracy"] > 0.85


@pytest.fixture
def soft_of(small_store, logits):
    """Function (rows, kept_back) that draws from the table of logits."""

    def read(rows, kept_back=(), store=None, classes=CLASSES):
        opened = open_soft(logits[0].out, str(store or small_store), classes)
        return read_soft(*opened, kept_back, rows, seed=0)

    return read


def test_soft_rows_are_the_store_s_tokens_beside_the_table_s_logits(small_store, soft_of):
    soft = soft_of(1000)
    assert (len(soft), soft.targets.shape) == (300, (300, 2))
    store = open_store(small_store)
    rows = pa.concat_tables([parts.read(store.path_of(part)) for part in store.parts])
    assert [one.token_ids.tolist() for one in soft.sides[0]] == rows["token_ids"].to_pylist()
    few, again = soft_of(20), soft_of(20)
    assert len(few) == 20
    assert torch.equal(few.targets, again.targets)


def test_sentences_to_stop_by_and_to_be_scored_on_are_no_soft_rows(small_store, soft_of):
    store = open_store(small_store)
    rows = pa.concat_tables([parts.read(store.path_of(part)) for part in store.parts])
    texts, ids = rows["text"].to_pylist(), rows["token_ids"].to_pylist()
    soft = soft_of(1000, [Row((text,), "high") for text in texts[:100]])
    assert [one.token_ids.tolist() for one in soft.sides[0]] == ids[100:]
    assert torch.equal(soft.targets, soft_of(1000).targets[100:])
    with pytest.raises(ValueError, match=r"all 300 rows of .* are rows to be scored on"):
        soft_of(1000, [Row((text,), "high") for text in texts])


def test_logits_of_other_classes_or_of_a_task_of_pairs_are_refused(
    student, sets, logits, soft_of, tmp_path
):
    with pytest.raises(ValueError, match=r"classes \['high', 'low'\], the task has"):
        soft_of(9, classes=("a", "b"))
    told = {"task": sets / "same", "logits": logits[0].out, "store": logits[0].store}
    with pytest.raises(ValueError, match="logits are of single sentences, no pairs"):
        tune(config(student, sets, tmp_path / "model", **told))


def test_logits_of_another_store_are_refused(small_corpus, embed, soft_of, tmp_path):
    embed(small_corpus, out=tmp_path / "store", rows_per_part=64)
    with pytest.raises(ValueError, match="was not made from"):
        soft_of(9, store=tmp_path / "store")


def test_a_table_of_logits_stays_one_whatever_the_test_rows_are(logits, sets, tmp_path):
    told, summary = logits
    task = shutil.copytree(sets / "topic", tmp_path / "topic")
    lines = (task / "test.tsv").read_text().splitlines()
    (task / "test.tsv").write_text("\n".join(lines[:40]) + "\n")
    again = write_logits(TaskLogitsConfig(**{**vars(told), "task": task}))
    assert again["already_done"]
    assert (again["teacher_accuracy_rows"], summary["teacher_accuracy_rows"]) == (39, 150)
    assert open_store(told.out).rows == 300


@pytest.fixture(scope="module")
def scored(sets):
    """What a teacher that reads both sentences may say of the pairs, in a unit of its own."""
    rows = [line.split("\t") for line in (sets / "same" / "train.tsv").read_text().splitlines()[1:]]
    rows += [line.split("\t") for line in (sets / "same" / "test.tsv").read_text().splitlines()[1:]]
    path = sets.parent / "scored.tsv"
    said = [
        (one, other, 7.5 * int(same) - 30 + 0.1 * (i % 5))
        for i, (one, other, same) in enumerate(rows)
    ]
    write(path, "sentence1\tsentence2\tscore", said)
    return path


@pytest.mark.parametrize("kd", ["mse", "margin_mse", "score_kl"])
def test_a_student_learns_pairs_from_a_teacher_that_reads_both(student, sets, scored, tmp_path, kd):
    kind = "near" if kd == "score_kl" else "same"
    told = {"task": sets / kind, "scores": scored, "kd": kd, "alpha": 0.0, "labels": 20}
    result = tune(config(student, sets, tmp_path / "model", **told, epochs=6))
    # The test pairs and those to stop by are in the file too, and none is learned from.
    assert result["soft_rows"] == 140 - result["dev_rows"]
    assert result["scores"]["auc" if kind == "same" else "spearman"] > 0.6
    assert tune(config(student, sets, tmp_path / "model", **told, epochs=6))["reused"]


def test_scores_are_drawn_without_kept_back_pairs_and_scaled(student, scored):
    prepare = preparer_of(student, read_card(student)).prepare
    rows = [line.split("\t") for line in scored.read_text().splitlines()[1:]]
    soft = read_scores(scored, prepare, [Row((rows[0][1], rows[0][0]), "1")], 10_000, seed=0)
    assert soft.targets.shape == (len(rows) - 1, 1)
    assert float(soft.targets.mean()) == pytest.approx(0, abs=1e-5)
    assert float(soft.targets.std(correction=0)) == pytest.approx(1, abs=1e-5)
    tokens = {
        tuple(one.token_ids.tolist() + other.token_ids.tolist()): float(target)
        for one, other, target in zip(*soft.sides, soft.targets[:, 0], strict=True)
    }
    said = np.array([float(row[2]) for row in rows[1:]])
    for row, value in zip(rows[1:40], said, strict=False):
        one, other = prepare(row[:2])
        wanted = (value - said.mean()) / said.std()
        assert tokens[(*one.token_ids, *other.token_ids)] == pytest.approx(wanted, abs=1e-5)


def test_scores_that_do_not_fit_are_refused(student, sets, scored, tmp_path):
    told = {"scores": scored, "kd": "mse"}
    with pytest.raises(ValueError, match="topic is of classes: scores are of pairs"):
        tune(config(student, sets, tmp_path / "model", **told))
    told = {"task": sets / "same", "kd": "mse"}
    with pytest.raises(ValueError, match=r"must have the columns .* it is pairs"):
        tune(config(student, sets, tmp_path / "a", **told, scores=sets / "same" / "train.tsv"))
    path = tmp_path / "scores.tsv"
    write(path, "sentence1\tsentence2\tscore", [("天气好吗", "会下雨吗", "nan"), ("甲", "乙", 1)])
    with pytest.raises(ValueError, match="column score must hold numbers, got 'nan'"):
        tune(config(student, sets, tmp_path / "b", **told, scores=path))
    write(path, "sentence1\tsentence2\tscore", [("天气好吗", "会下雨吗", 1), ("甲", "乙", 2)])
    with pytest.raises(ValueError, match="has 1 pairs to learn from"):
        read_scores(path, None, [Row(("甲", "乙"), "2")], 9, seed=0)


def test_scores_are_in_the_unit_of_the_labels_that_were_drawn(student, sets, tmp_path):
    task = shutil.copytree(sets / "near", tmp_path / "near")
    lines = (task / "train.tsv").read_text().splitlines()
    told = {"task": task, "labels": 10, "epochs": 1}
    tune(config(student, sets, tmp_path / "one", **told))
    drawn = json.loads((tmp_path / "one" / "head.json").read_text())["score_scale"]
    rows = [line.split("\t") for line in lines[1:]]
    seen = {row.sentences for row in draw(read_task(task), 10, 0)[0]}
    far = [row if tuple(row[:2]) in seen else [*row[:2], "1000"] for row in rows]
    write(task / "train.tsv", lines[0], far)
    tune(config(student, sets, tmp_path / "two", **told))
    assert json.loads((tmp_path / "two" / "head.json").read_text())["score_scale"] == drawn


def test_a_new_class_beyond_the_budget_is_another_training(student, sets, tmp_path):
    task = shutil.copytree(sets / "topic", tmp_path / "topic")
    lines = (task / "train.tsv").read_text().splitlines()
    told = {"task": task, "labels": 10, "epochs": 1}
    tune(config(student, sets, tmp_path / "model", **told))
    learned, stopped = draw(read_task(task), 10, 0)
    seen = {row.sentences[0] for row in (*learned, *stopped)}
    at = next(i for i in range(1, len(lines)) if lines[i].split("\t")[0] not in seen)
    lines[at] = lines[at].split("\t")[0] + "\tmiddle"
    (task / "train.tsv").write_text("\n".join(lines) + "\n")
    with pytest.raises(FileExistsError, match="holds something else"):
        tune(config(student, sets, tmp_path / "model", **told))


def test_a_store_that_has_moved_is_read_as_the_table_of_logits_knew_it(
    student, sets, small_store, logits, tmp_path
):
    store = tmp_path / "store"
    for path in small_store.parent.iterdir():
        shutil.copytree(path, tmp_path / path.name.replace(small_store.name, store.name, 1))
    opened = open_store(store)
    moved = {**opened.fingerprint, "idf": "another"}
    rewrite(opened, Change(None, (), "moved", moved, {"job": "move"}, moves=True))
    told = {"logits": logits[0].out, "store": str(store), "rows": 50, "epochs": 1}
    assert tune(config(student, sets, tmp_path / "model", **told))["soft_rows"] > 0


def test_both_jobs_run_from_the_command_line(student, sets, small_store, tmp_path, capsys):
    places = ["--teacher-store", str(small_store), "--store", str(small_store)]
    task = ["--task", str(sets / "topic")]
    main(["task-logits", *task, *places, "--out", str(tmp_path / "table")])
    assert json.loads(capsys.readouterr().out)["rows"] == 300
    soft = ["--logits", str(tmp_path / "table"), "--store", str(small_store), "--kd", "mse"]
    out = ["--out", str(tmp_path / "model"), "--epochs", "1"]
    main(["tune", "--student", str(student), *task, *out, *soft])
    assert json.loads(capsys.readouterr().out)["settings"]["kd"] == "mse"
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--student", str(student), "--task", str(sets / "no"), *out])
    assert ended.value.code == 74


def test_the_weights_on_disk_are_the_network_that_was_scored(tuned, student):
    weights = safetensors.torch.load_file(tuned[0] / "model.safetensors")
    before = safetensors.torch.load_file(student / "model.safetensors")
    assert weights.keys() == before.keys()
    assert torch.equal(weights["offset"], before["offset"])
    assert not torch.equal(weights["encoder.embedding.weight"], before["encoder.embedding.weight"])


def test_budgets_go_on_where_they_stopped_and_refuse_another_student(
    student, learned, sets, small_store, tmp_path
):
    told = {"tasks": sets, "sets": ("topic",), "student": student, "out": tmp_path / "out"}
    told |= {"teacher_store": str(small_store), "budgets": (), "arms": ("student probe",)}
    measure_budgets(BudgetsConfig(**told))
    rows = (tmp_path / "out" / "rows.jsonl").read_bytes()
    measure_budgets(BudgetsConfig(**told))
    assert (tmp_path / "out" / "rows.jsonl").read_bytes() == rows
    with pytest.raises(ValueError, match="was made under other conditions: student is"):
        measure_budgets(BudgetsConfig(**{**told, "student": learned}))
    other = {**told, "sets": ("near",), "out": tmp_path / "other"}
    with pytest.raises(ValueError, match="near is of graded: a probe needs classes"):
        measure_budgets(BudgetsConfig(**other))
