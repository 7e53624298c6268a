"""distill_jobs/tuning: losses, heads, draws and networks, against closed forms."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from distill_jobs.evaluation.tasks import Kind, Row
from distill_jobs.student import Student
from distill_jobs.student_config import preset
from distill_jobs.tokens import Tokens
from distill_jobs.tuning import losses
from distill_jobs.tuning.examples import Examples, in_order, pad, passes, targets_of
from distill_jobs.tuning.fit import Recipe, fit, predict, scores, warm_head
from distill_jobs.tuning.network import Tuned, features
from distill_jobs.tuning.task import Task, among, draw, read_task
from distill_jobs.tuning.teacher_head import STRENGTH, fit_head, pair_features
from schemas.store import open_store
from tests.evaluation_kit import FOOD, LOANS, put_sets, put_store

ROWS = [Row((f"第{i}句",), "abc"[i % 3]) for i in range(60)]
TASK = Task("made-up", Kind.CLASSES, ("a", "b", "c"), tuple(ROWS), (), (), ("train", "test"))


def gradient(loss, student, teacher, temperature):
    student = student.clone().requires_grad_()
    loss(student, teacher, temperature).backward()
    return student.grad


def logits(seed, rows=64, classes=5):
    found = torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed)).double() * 3
    return found - found.mean(dim=1, keepdim=True)


@pytest.mark.parametrize("loss", [losses.kl, losses.ce])
def test_at_a_high_temperature_the_gradients_are_those_of_mse_on_logits(loss):
    mine, theirs = logits(1), logits(2)
    wanted = gradient(losses.mse, mine, theirs, 1.0)
    torch.testing.assert_close(gradient(loss, mine, theirs, 1e4), wanted, rtol=2e-3, atol=1e-5)
    torch.testing.assert_close(wanted, (mine - theirs) / mine.numel())


def test_at_a_high_temperature_a_mean_of_the_logits_that_is_not_0_makes_no_difference():
    mine, theirs = logits(1) + 7, logits(2)
    found = gradient(losses.kl, mine, theirs, 1e4)
    centred = gradient(losses.mse, mine - 7, theirs, 1.0)
    torch.testing.assert_close(found, centred, rtol=2e-3, atol=1e-5)


def test_the_temperature_hardly_changes_how_strong_soft_labels_pull():
    mine, theirs = logits(1), logits(2)
    norms = [float(gradient(losses.kl, mine, theirs, t).norm()) for t in (4.0, 16.0, 64.0, 256.0)]
    assert max(norms) / min(norms) < 1.5
    plain = [norm / t**2 for norm, t in zip(norms, (4.0, 16.0, 64.0, 256.0), strict=True)]
    assert max(plain) / min(plain) > 1000


def test_ce_and_kl_pull_alike_and_differ_by_the_teacher_s_own_entropy():
    mine, theirs = logits(1), logits(2)
    torch.testing.assert_close(
        gradient(losses.ce, mine, theirs, 3.0), gradient(losses.kl, mine, theirs, 3.0)
    )
    shares = torch.softmax(theirs / 3, dim=1)
    entropy = -(shares * shares.log()).sum(dim=1).mean()
    apart = losses.ce(mine, theirs, 3.0) - losses.kl(mine, theirs, 3.0)
    assert float(apart) == pytest.approx(9 * float(entropy))


def test_at_a_high_temperature_score_kl_pulls_as_margin_mse_does():
    mine, theirs = logits(1)[:, :1], logits(2)[:, :1]
    wanted = gradient(losses.margin_mse, mine, theirs, 1.0)
    found = gradient(losses.score_kl, mine, theirs, 1e4)
    torch.testing.assert_close(found, wanted, rtol=2e-3, atol=1e-5)
    centred = mine - mine.mean(), theirs - theirs.mean()
    torch.testing.assert_close(wanted, gradient(losses.mse, *centred, 1.0))


def test_margin_mse_is_over_all_pairs_of_rows_and_blind_to_what_all_are_off_by():
    mine, theirs = logits(1, rows=7)[:, :1], logits(2, rows=7)[:, :1]
    margins = [
        float((mine[i] - mine[j]) - (theirs[i] - theirs[j])) ** 2
        for i in range(7)
        for j in range(7)
    ]
    found = losses.margin_mse(mine, theirs, 1.0)
    assert float(found) == pytest.approx(np.mean(margins) / 4)
    assert float(losses.margin_mse(mine + 5, theirs, 1.0)) == pytest.approx(float(found))
    assert float(losses.mse(mine + 5, theirs, 1.0)) > float(found) + 1


def test_score_kl_in_a_closed_form():
    mine = torch.tensor([[2 * np.log(3.0)], [0.0]])
    found = losses.score_kl(mine, torch.zeros(2, 1), 2.0)
    assert float(found) == pytest.approx(
        4 * (0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)), rel=1e-5
    )


@pytest.mark.parametrize("loss", [losses.margin_mse, losses.score_kl])
def test_a_batch_of_one_pair_says_nothing(loss):
    pulled = gradient(loss, torch.tensor([[3.0]]), torch.tensor([[1.0]]), 2.0)
    assert pulled.tolist() == [[0.0]]


def test_the_score_of_a_pair_is_the_network_s_or_the_log_odds_of_the_same_meaning():
    two = torch.tensor([[1.0, 4.0], [2.0, 0.0]])
    assert losses.score(two).tolist() == [[3.0], [-2.0]]
    assert losses.score(two[:, :1]).tolist() == [[1.0], [2.0]]
    odds = torch.softmax(two, dim=1)
    torch.testing.assert_close(losses.score(two)[:, 0], (odds[:, 1] / odds[:, 0]).log())


def test_soft_labels_of_a_sure_teacher_are_hard_labels():
    mine, classes = logits(1), torch.arange(64) % 5
    sure = 1000.0 * torch.nn.functional.one_hot(classes, 5).double()
    found = losses.ce(mine, sure, 1.0)
    assert float(found) == pytest.approx(float(losses.hard(mine, classes)))


def test_kl_in_a_closed_form():
    found = losses.kl(torch.tensor([[np.log(3.0), 0.0]]), torch.zeros(1, 2), 1.0)
    assert float(found) == pytest.approx(0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))


def test_rows_of_an_unknown_class_and_scores():
    two = torch.tensor([[2.0, 0.0], [5.0, 5.0]])
    assert float(losses.hard(two, torch.tensor([0, -1]))) == pytest.approx(np.log1p(np.exp(-2)))
    assert float(losses.hard(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]))) == 1.25


def test_the_head_is_scikit_learn_s():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(90, 4)).astype(np.float32) * [1, 5, 0.1, 2] + 3
    labels = (inputs[:, 0] > 3).astype(int) + (inputs[:, 1] > 3)
    head = fit_head(inputs.astype(np.float32), labels, ("a", "b", "c"))
    scaled = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    model = LogisticRegression(C=STRENGTH, fit_intercept=False, tol=1e-8, max_iter=1000)
    model.fit(np.hstack([scaled, np.ones((90, 1))]), labels)
    wanted = model.decision_function(np.hstack([scaled, np.ones((90, 1))]))
    np.testing.assert_allclose(head.logits(inputs), wanted, atol=2e-4)
    np.testing.assert_allclose(head.logits(inputs).mean(axis=1), 0, atol=1e-5)


def test_a_class_without_a_row_gets_low_logits_that_are_finite():
    inputs = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    head = fit_head(inputs, (inputs[:, 0] > 0).astype(int), ("a", "b", "never"))
    found = head.logits(inputs)
    assert np.isfinite(found).all()
    assert (found.argmax(axis=1) < 2).all()


def test_a_head_of_one_class_is_refused():
    with pytest.raises(ValueError, match="at least 2 classes, got 3 of one"):
        fit_head(np.zeros((3, 2), np.float32), np.zeros(3, int), ("a", "b"))


def test_pair_features_are_the_same_in_numpy_and_torch():
    one, other = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    found = features([torch.from_numpy(one), torch.from_numpy(other)]).numpy()
    np.testing.assert_array_equal(found, pair_features(one, other))
    np.testing.assert_array_equal(found[:, 8:12], one * other)
    np.testing.assert_array_equal(found[:, 12:], np.abs(one - other))


def test_a_small_budget_is_part_of_a_larger_one_and_stops_by_no_more_rows():
    task = dataclasses.replace(TASK, dev=tuple(ROWS[:40]), train=tuple(ROWS[40:]))
    few, stop = draw(task, 5, seed=1)
    more, _ = draw(task, 12, seed=1)
    assert more[:5] == few
    assert len(stop) == 5
    assert draw(task, 5, seed=1) == (few, stop)
    assert draw(task, 5, seed=2)[0] != few


def test_without_a_dev_split_a_fifth_of_the_labels_says_when_to_stop():
    learned, stop = draw(TASK, 50, seed=0)
    assert (len(learned), len(stop)) == (40, 10)
    assert not {*learned} & {*stop}


def test_a_row_to_stop_by_is_not_learned_from_either_way_round():
    rows = tuple(Row((f"第{i}句", "句"), "01"[i % 2]) for i in range(20))
    turned = tuple(Row(row.sentences[::-1], row.label) for row in rows[:12])
    task = Task("made-up", Kind.PAIRS, ("0", "1"), rows, turned, (), ("train", "test"))
    learned, stop = draw(task, None, seed=0)
    assert (len(learned), len(stop)) == (8, 12)
    assert {row.sentences for row in learned} == {row.sentences for row in rows[12:]}
    with pytest.raises(ValueError, match="all 0 rows drawn"):
        draw(dataclasses.replace(task, train=rows[:12]), None, seed=0)


def test_rows_to_stop_by_of_classes_that_nobody_learns_are_refused():
    task = dataclasses.replace(TASK, dev=(Row(("别的",), "z"),))
    with pytest.raises(ValueError, match=r"none of the 1 rows .* has a class .* first is 'z'"):
        draw(task, None, seed=0)


@pytest.mark.parametrize("labels", [1, 61])
def test_more_labels_than_there_are_or_a_single_one_are_refused(labels):
    with pytest.raises(ValueError, match="made-up has 60 training rows, labels must be 2 to that"):
        draw(TASK, labels, seed=0)


def test_a_draw_of_one_class_is_refused():
    task = dataclasses.replace(TASK, train=tuple(Row((str(i),), "a") for i in range(9)))
    with pytest.raises(ValueError, match="have the label 'a': there is nothing to tell apart"):
        draw(task, None, seed=0)


def write_set(folder, **splits):
    folder.mkdir(parents=True)
    for name, rows in splits.items():
        lines = ["\t".join(row) for row in rows]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


PAIRS = [("sentence1", "sentence2", "label"), ("花呗怎么还", "花呗如何还款", "1")]
PAIRS += [("花呗怎么还", "借呗在哪", "0"), ("天气好吗", "天气怎么样", "1")]


def test_dev_is_learned_from_where_only_test_is_beside_it_and_test_rows_are_left_out(tmp_path):
    turned = [PAIRS[0], (PAIRS[1][1], PAIRS[1][0], "1"), PAIRS[2]]
    task = read_task(write_set(tmp_path / "lcqmc", dev=PAIRS, test=turned))
    assert task.splits == ("dev", "test")
    assert [row.sentences[0] for row in task.train] == ["天气好吗"]
    assert task.in_test == 2
    assert task.dev == ()


def test_a_set_that_cannot_be_learned_is_refused_with_the_reason(tmp_path):
    put_sets(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"beside it are .*'near', 'same', 'topic'"):
        read_task(tmp_path / "tnews")
    with pytest.raises(ValueError, match=r"needs two of train, dev, test .* has \['test'\]"):
        read_task(tmp_path / "same")
    one = [("text", "label"), ("面很好吃", "food"), ("饭很好吃", "food")]
    with pytest.raises(ValueError, match="column label has one value only, 'food'"):
        read_task(write_set(tmp_path / "one", train=one, test=one))
    asked = [("query", "document"), ("花呗怎么还", "花呗如何还款")]
    with pytest.raises(ValueError, match="is for retrieval"):
        read_task(write_set(tmp_path / "asked", train=asked, test=asked))


def test_rows_that_a_teacher_store_lacks_are_left_out_and_counted(tmp_path):
    put_sets(tmp_path / "sets")
    put_store(tmp_path / "store", [*FOOD, *LOANS[:10]])
    task = among(read_task(tmp_path / "sets" / "topic"), open_store(tmp_path / "store"))
    assert (len(task.train), task.not_held) == (13, 3)


def examples(rows=40, sides=1, seed=0):
    """The class is whether a sentence's tokens are below 10 on average."""
    rng = np.random.default_rng(seed)
    found, targets = [], []
    for _ in range(sides):
        tokens = [rng.integers(1, 20, size=rng.integers(1, 9)) for _ in range(rows)]
        found.append([Tokens(t.astype(np.int32), np.ones(len(t), np.float32)) for t in tokens])
        targets = [int(t.mean() < 10) for t in tokens]
    return Examples(tuple(found), torch.tensor(targets))


def network(sides=1, seed=0):
    torch.manual_seed(seed)
    shape = preset("bilstm", vocabulary=20, width=8, embedding=6, pooling="mean")
    return Tuned(Student(shape), sides, 2)


def test_a_pass_has_every_row_once_and_the_next_another_order():
    given = examples()
    numbered = Examples(given.sides, torch.arange(40))
    batches = passes(numbered, 16, seed=0)
    both = ([next(batches).targets for _ in range(3)] for _ in range(2))
    first, second = (torch.cat(one).tolist() for one in both)
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_logits_do_not_depend_on_the_rows_beside_them():
    given, model = examples(sides=2), network(sides=2).eval()
    together = predict(model, given)
    for row in (0, 17, 39):
        with torch.no_grad():
            torch.testing.assert_close(together[row], model(pad(given, np.array([row])))[0])
    assert sorted(row for rows, _ in in_order(given, 7) for row in rows) == list(range(40))


def test_a_network_learns_the_same_twice_and_ends_with_its_best_epoch():
    found = []
    for _ in range(2):
        model = network()
        fitted = fit(
            model, examples(200), examples(60, seed=1), Recipe(epochs=4, learning_rate=0.01)
        )
        found.append((fitted, predict(model, examples(60, seed=1))))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
    fitted, logits_NC = found[0]
    assert scores(logits_NC, examples(60, seed=1))["accuracy"] == pytest.approx(fitted.dev)
    assert fitted.dev > 0.8


@pytest.mark.parametrize("sides", [1, 2])
def test_a_warm_head_is_the_logistic_head_of_the_students_vectors(sides):
    given, model = examples(sides=sides), network(sides=sides)
    warm_head(model, given)
    vectors = predict(model, given, model.read).numpy()
    wanted = fit_head(vectors, given.targets.numpy(), ("0", "1")).logits(vectors)
    np.testing.assert_allclose(predict(model, given).numpy(), wanted, atol=1e-4)


def test_a_training_that_only_does_harm_ends_where_it_began():
    given = examples(200)
    model = network()
    fit(model, given, given, Recipe(epochs=4, learning_rate=0.01))
    before = predict(model, given)
    wrong = Examples(given.sides, 1 - given.targets)
    assert fit(model, wrong, given, Recipe(epochs=2, learning_rate=0.01)).epoch == 0
    assert torch.equal(predict(model, given), before)


def test_a_network_that_ran_away_is_never_kept():
    given = examples(200)
    with pytest.raises(ValueError, match="ran away to NaN or infinity: try a lower"):
        fit(network(), given, given, Recipe(epochs=2, learning_rate=1e37))


def test_a_frozen_student_does_not_change():
    model = network()
    before = {name: value.clone() for name, value in model.student.state_dict().items()}
    model.freeze()
    fit(model, examples(), examples(seed=1), Recipe(epochs=1))
    assert all(
        torch.equal(value, before[name]) for name, value in model.student.state_dict().items()
    )


@pytest.mark.parametrize("kd", ["kl", "ce", "mse"])
def test_soft_labels_alone_teach_the_task(kd):
    given = examples(300)
    margin = 4.0 * given.targets - 2.0
    soft = Examples(given.sides, torch.stack([-margin, margin], dim=1))
    wrong = Examples(given.sides, 1 - given.targets)
    model, recipe = network(), Recipe(alpha=0.0, kd=kd, epochs=4, learning_rate=0.01)
    fit(model, wrong, examples(60, seed=1), recipe, soft)
    assert scores(predict(model, examples(60, seed=1)), examples(60, seed=1))["accuracy"] > 0.8


def test_pairs_have_an_auc_and_graded_pairs_a_correlation():
    pairs = Examples(examples(4, 2).sides, torch.tensor([0, 1, 0, 1]))
    said = torch.tensor([[0.0, -1.0], [0.0, 3.0], [0.0, 1.0], [0.0, 0.5]])
    assert scores(said, pairs) == {"accuracy": 0.75, "auc": 0.75}
    graded = Examples(pairs.sides, torch.tensor([0.0, 3.0, 1.0, 2.0]))
    assert scores(said[:, 1:], graded)["spearman"] == pytest.approx(0.8)


def test_a_class_that_was_never_trained_is_none_of_the_classes():
    assert targets_of(TASK, [Row(("甲",), "b"), Row(("乙",), "zzz")]).tolist() == [1, -1]
