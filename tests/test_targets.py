"""targets.py: what of the teacher's vectors is learned, from training to evaluation."""

import numpy as np
import pytest

from distill_jobs import targets
from distill_jobs.encoder import SentenceEncoder
from distill_jobs.evaluation.models import student
from distill_jobs.export import ExportConfig, export
from distill_jobs.preflight import preflight
from distill_jobs.reader import Group, draw
from distill_jobs.targets import Target, fit, of_export, read_target
from distill_jobs.train import TrainConfig, distil
from schemas.store import open_store
from schemas.vectors import open_decoder, row_cosines

NAMES = ("centred", "pca4", "whiten4")


@pytest.fixture(scope="module")
def sample_NH():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) + 3).astype(np.float32)


def test_principal_coordinates_are_uncorrelated_and_whitened_ones_have_variance_1(sample_NH):
    of_pca, of_whiten = (fit(name, sample_NH).of(sample_NH) for name in ("pca3", "whiten3"))
    covariance_KK = np.cov(of_pca.T, bias=True)
    assert np.abs(covariance_KK - np.diag(np.diag(covariance_KK))).max() < 1e-4
    assert list(np.diag(covariance_KK)) == sorted(np.diag(covariance_KK), reverse=True)
    np.testing.assert_allclose(np.cov(of_whiten.T, bias=True), np.eye(3), atol=1e-4)


def test_all_but_one_component_keep_the_distances_but_for_that_one(sample_NH):
    full, short = sample_NH - sample_NH.mean(axis=0), fit("pca5", sample_NH).of(sample_NH)
    lost = 1 - np.square(short).sum() / np.square(full).sum()
    assert (
        0
        <= lost
        == pytest.approx(np.linalg.eigvalsh(np.cov(full.T))[0] / np.trace(np.cov(full.T)), abs=1e-4)
    )


@pytest.mark.parametrize(
    "name", ["", "pca", "pca0", "whiten", "centred3", "teacher1", "64", "PCA4"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="target must be teacher, centred"):
        read_target(name)


def test_more_components_than_there_are_directions_are_refused(sample_NH):
    with pytest.raises(ValueError, match="'pca6': principal components must be 1 to 5, got 6"):
        fit("pca6", sample_NH)
    flat_NH = sample_NH.copy()
    flat_NH[:, 3:] = 0
    with pytest.raises(ValueError, match="'whiten4': the vectors have no 4 directions"):
        fit("whiten4", flat_NH)


def test_a_map_is_read_as_it_was_written(sample_NH, tmp_path):
    for name in NAMES:
        written = fit(name, sample_NH)
        written.save(tmp_path)
        np.testing.assert_array_equal(targets.load(tmp_path).of(sample_NH), written.of(sample_NH))


def settings(small_store, out, **changes):
    return TrainConfig(
        **{
            **{"store": str(small_store), "out": out, "epochs": 30, "batch_size": 32},
            **{"validation_rows": 40, "embedding": 8, "precision": "float32"},
            **changes,
        }
    )


@pytest.fixture(scope="module", params=NAMES)
def trained(request, small_store, tmp_path_factory):
    """Name of the target, training, export."""
    folder = tmp_path_factory.mktemp(request.param)
    summary = distil(settings(small_store, folder / "training", target=request.param))
    assert summary["unexplained"] < 0.9
    card = export(ExportConfig(training=folder / "training", out=folder / "student"))
    assert card["target"] == request.param
    return request.param, folder


def test_a_student_is_near_the_mapped_teacher(trained, small_store):
    name, folder = trained
    opened = open_store(str(small_store))
    table = opened.dataset().to_table()
    teacher_NH = open_decoder(opened, "idf").decode(table)
    encoder = SentenceEncoder.load(folder / "student")
    mine_NK = encoder.encode(table["text"].to_pylist())
    mapped_NK = of_export(folder / "student", encoder.card).of(teacher_NH)
    assert mine_NK.shape == mapped_NK.shape == (len(teacher_NH), 16 if name == "centred" else 4)
    near = row_cosines(mine_NK, mapped_NK).mean()
    assert near > row_cosines(mine_NK, np.roll(mapped_NK, 1, axis=0)).mean() + 0.2


def test_a_map_that_changed_is_noticed(trained, tmp_path):
    _, folder = trained
    model = student(f"it={folder / 'student'}")
    assert model.target is not None
    path = folder / "student" / targets.FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"target\.safetensors has changed"):
        student(f"it={folder / 'student'}")
    path.write_bytes(content)


def test_a_warm_start_keeps_the_map_and_refuses_another_target(trained, small_store, tmp_path):
    name, folder = trained
    warm = {"warm_start": folder / "training", "epochs": 1, "seed": 5}
    distil(settings(small_store, tmp_path / "warm", target=name, **warm))
    written = [
        (one / targets.FILE).read_bytes() for one in (folder / "training", tmp_path / "warm")
    ]
    assert written[0] == written[1]
    with pytest.raises(ValueError, match=f"has target {name}, not teacher"):
        preflight(settings(small_store, tmp_path / "other", **warm))


def test_states_are_measured_by_the_teacher_not_by_the_shorter_vectors(small_store, tmp_path):
    for kind, shape in (("bilstm", (4, 16)), ("static", (4, 16))):
        asked = {"student": kind, "target": "pca4", "embedding": None}
        run, facts, target = preflight(settings(small_store, tmp_path / kind, **asked))
        assert (run.student.width, run.student.states) == shape
        assert isinstance(target, Target)
        assert facts["parameters"] > 0


def test_rows_bound_what_is_trained_on_and_leave_what_is_held_out(small_store, tmp_path):
    few, all_rows = (
        preflight(settings(small_store, tmp_path / "t", rows=rows))[:2] for rows in (100, None)
    )
    assert few[0].groups()[1] == all_rows[0].groups()[1]
    assert 100 <= few[1]["training_rows"] < all_rows[1]["training_rows"]
    assert set(few[0].groups()[0]) < set(all_rows[0].groups()[0])


def test_rows_of_a_date_and_later_are_taken_in_any_case():
    days = ("2026-01-01", "2026-01-02", "2026-01-03")
    groups = [Group(f"s/ingest_date={day}/p.parquet", n, 10) for day in days for n in range(20)]
    drawn = draw(groups, rows=250, seed=0, since=days[1])
    assert len(drawn) == 40  # those of both days, though they are more than were asked for
    drawn = draw(groups, rows=300, seed=0, since=days[2])
    assert [one for one in groups if days[2] in one.path] == drawn[-20:]
    assert len(drawn) == 30
    assert len(draw(groups, rows=300, seed=0)) == 30


def test_since_without_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"since says which of --rows .* '2026-01-01'"):
        settings("store", tmp_path, since="2026-01-01")


def test_the_card_says_how_many_sentences_were_learned(small_store, tmp_path):
    summary = distil(settings(small_store, tmp_path / "training", rows=100, epochs=1))
    card = export(ExportConfig(training=tmp_path / "training", out=tmp_path / "student"))
    assert card["train_rows"] == summary["training_rows"] < card["store_rows"]
    said = (tmp_path / "student" / "README.md").read_text(encoding="utf-8")
    assert f"on {card['train_rows']:,}" in said
