"""distill_jobs/compress: what each technique does to a student; equal where the maths is exact."""

import dataclasses

import numpy as np
import pytest
import torch

from distill_jobs.compress.dimensions import gaussian, principal, with_components
from distill_jobs.compress.fidelity import likeness, random_sentences
from distill_jobs.compress.rank import directions_of, with_rank
from distill_jobs.compress.sparsity import with_zeros, zlib_bytes
from distill_jobs.compress.tensors import arrays_of, assembled, matrices
from distill_jobs.compress.units import best, fit_projection, importance, with_units
from distill_jobs.compress.vocabulary import with_vocabulary
from distill_jobs.student import parameters
from tests.compress_kit import KINDS, WIDTH, make_student, vectors

LSTMS = [kind for kind in KINDS if kind.startswith("bilstm")]
FOLDABLE = [kind for kind in KINDS if kind != "transformer"]


def near(found, wanted):
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_arrays_put_together_again_are_the_same_student(kind):
    student = make_student(kind)
    near(vectors(assembled(student.config, arrays_of(student))), vectors(student))


@pytest.mark.parametrize("kind", FOLDABLE)
def test_the_full_rank_changes_no_vector(kind):
    student = make_student(kind)
    directions, shares = directions_of(student, np.arange(130))
    near(vectors(with_rank(student, directions, len(directions))), vectors(student))
    assert shares[-1] == pytest.approx(1)


@pytest.mark.parametrize("kind", FOLDABLE)
def test_a_lower_rank_folded_is_the_low_rank_table_unfolded(kind):
    student = make_student(kind)
    directions, _ = directions_of(student, None)
    folded = with_rank(student, directions, 3)
    arrays = arrays_of(student)
    arrays["encoder.embedding.weight"] @= directions[:3].T @ directions[:3]
    near(vectors(folded), vectors(assembled(student.config, arrays)))
    assert folded.config.embedding == 3
    assert parameters(folded) < parameters(student)


def test_without_counts_the_rank_is_that_of_the_plain_svd():
    student = make_student("bilstm")
    directions, shares = directions_of(student, None)
    table = arrays_of(student)["encoder.embedding.weight"]
    singular = np.linalg.svd(table, compute_uv=False)
    near(shares, np.cumsum(singular**2) / (singular**2).sum())
    kept = table @ directions[:4].T @ directions[:4]
    assert np.linalg.norm(table - kept) == pytest.approx(np.linalg.norm(singular[4:]), rel=1e-4)


def test_frequent_tokens_lose_less_by_a_lower_rank():
    student = make_student("bilstm")
    counts = np.where(np.arange(130) < 20, 100_000, 0)
    table = arrays_of(student)["encoder.embedding.weight"][:20]

    def lost(found):
        return np.linalg.norm(table - table @ found[:3].T @ found[:3])

    assert lost(directions_of(student, counts)[0]) < lost(directions_of(student, None)[0])


def test_a_transformer_cannot_fold_a_lower_rank():
    student = make_student("transformer")
    with pytest.raises(ValueError, match="normalises"):
        with_rank(student, directions_of(student, None)[0], 3)


@pytest.mark.parametrize("kind", LSTMS)
def test_all_units_are_the_same_student(kind):
    student = make_student(kind)
    hidden = student.config.states // 2
    near(vectors(with_units(student, np.stack([np.arange(hidden)] * 2))), vectors(student))


@pytest.mark.parametrize("kind", LSTMS)
def test_units_that_nothing_reads_are_pruned_without_a_trace(kind):
    student = make_student(kind)
    hidden = student.config.states // 2
    arrays = arrays_of(student)
    for direction in ("forwards", "backwards"):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):  # unit 2 says always 0
            arrays[f"encoder.{direction}.{name}_l0"].reshape(4, hidden, -1)[:, 2] = 0
    student = assembled(student.config, arrays)
    kept = best(importance(student, random_sentences(student.config)), hidden - 1)
    assert (kept != 2).all()
    smaller = with_units(student, kept)
    near(vectors(smaller), vectors(student))
    assert smaller.config.hidden == hidden - 1


def test_units_chosen_by_importance_and_fitted_keep_more_than_random_unfitted_ones():
    student = make_student("bilstm")
    batches = random_sentences(student.config)
    wanted, offset = vectors(student), student.offset.numpy()

    def cosine(smaller):
        return likeness(wanted, vectors(smaller), (offset, offset))["cosine"]

    chosen = with_units(student, best(importance(student, batches), 4))
    fitted = fit_projection(chosen, student, batches)
    random = with_units(student, best(np.random.default_rng(0).random(16), 4))
    assert cosine(fitted) > cosine(chosen) > cosine(random)


def test_states_of_the_vectors_width_keep_a_projection():
    student = make_student("bilstm", hidden=12)  # 24 states, 16 numbers
    kept = np.stack([np.arange(8)] * 2)  # 16 states, 16 numbers
    arrays = arrays_of(student)
    for direction in ("forwards", "backwards"):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            arrays[f"encoder.{direction}.{name}_l0"].reshape(4, 12, -1)[:, 8:] = 0
    student = assembled(student.config, arrays)
    smaller = with_units(student, kept)
    assert (smaller.config.hidden, smaller.config.projected) == (8, True)
    near(vectors(smaller), vectors(student))


def test_all_dimensions_are_a_rotation():
    components, kept = principal(vectors(make_student("bilstm")), WIDTH)
    near(components @ components.T, np.eye(WIDTH))
    assert kept == pytest.approx(1)


@pytest.mark.parametrize("keep", [1, 5, 12, 15])
@pytest.mark.parametrize("kind", list(KINDS))
def test_fewer_dimensions_folded_are_the_vectors_projected(kind, keep):
    student = make_student(kind)
    components = gaussian(keep, WIDTH, np.random.default_rng(0))
    shorter = with_components(student, components)
    assert shorter.config.width == keep
    np.testing.assert_allclose(vectors(shorter), vectors(student) @ components.T, atol=1e-4)


def test_pca_keeps_dot_products_as_well_as_any_matrix_can():
    found = vectors(make_student("bilstm"))
    components, _ = principal(found, 5)
    exact, short = found @ found.T, (found @ components.T) @ (found @ components.T).T
    squares = np.linalg.svd(found, compute_uv=False) ** 2
    assert np.linalg.norm(exact - short) == pytest.approx(np.linalg.norm(squares[5:]), rel=1e-3)


def test_frequent_tokens_keep_their_rows_and_the_others_share_their_mean():
    student = make_student("bilstm")
    counts = np.arange(130)[::-1].copy()
    smaller, unknown = with_vocabulary(student, counts, 100)
    table, before = (arrays_of(one)["encoder.embedding.weight"] for one in (smaller, student))
    rows = smaller.rows.numpy()
    near(table[rows[:100]], before[:100])
    near(table[0], np.average(before[100:], axis=0, weights=counts[100:]))
    assert (rows[100:] == 0).all()
    assert unknown == round(counts[100:].sum() / counts.sum(), 6)


def test_a_pruned_student_pruned_again_is_pruned_at_once():
    student, counts = make_student("bilstm"), np.random.default_rng(0).permutation(130) + 1
    once, _ = with_vocabulary(student, counts, 40)
    twice, _ = with_vocabulary(with_vocabulary(student, counts, 80)[0], counts, 40)
    assert once.config == twice.config
    for name, value in arrays_of(once).items():
        near(arrays_of(twice)[name], value)


def test_a_token_without_a_row_of_its_own_gets_none_again():
    student = make_student("bilstm, pruned")  # tokens 10 to 69
    smaller, _ = with_vocabulary(student, np.full(130, 9), 59)
    assert np.flatnonzero(smaller.rows.numpy()).tolist() == list(range(10, 69))


@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize("scope", ["global", "tensor"])
def test_the_asked_share_of_the_big_weights_is_zero(scope, random):
    student = make_student("bilstm, learned")
    rng = np.random.default_rng(0) if random else None
    sparse = with_zeros(student, 0.75, scope, rng)
    found = {name: (arrays_of(sparse)[name] == 0).mean() for name in matrices(student)}
    sizes = {name: arrays_of(student)[name].size for name in found}
    shares, weights = list(found.values()), list(sizes.values())
    assert np.average(shares, weights=weights) == pytest.approx(0.75, abs=0.01)
    if scope == "tensor":
        assert shares == pytest.approx([0.75] * len(shares), abs=0.03)
    assert zlib_bytes(sparse) < zlib_bytes(student)
    assert parameters(sparse) == parameters(student)


def test_the_smallest_weights_are_those_set_to_zero():
    student = make_student("static")
    table = arrays_of(student)["encoder.embedding.weight"]
    left = arrays_of(with_zeros(student, 0.5, "global"))["encoder.embedding.weight"]
    assert np.abs(left[left != 0]).min() >= np.abs(table[left == 0]).max()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda one: with_vocabulary(one, np.ones(130, np.int64), 130), "keep must be 1 to 129"),
        (lambda one: with_vocabulary(one, np.ones(130, np.int64), 0), "keep must be 1 to 129"),
        (lambda one: with_rank(one, np.eye(8, dtype=np.float32), 9), "rank must be 1 to 8, got 9"),
        (lambda one: with_units(one, np.zeros((2, 9), int)), "keep must be 1 to 8 units, got 9"),
        (lambda one: with_components(one, np.zeros((17, 16))), "keep must be 1 to 15"),
        (lambda one: with_components(one, np.eye(16)), "keep must be 1 to 15 .* got 16"),
        (lambda one: principal(np.ones((5, 16), np.float32), 5), "more than 5 sentences"),
    ],
)
def test_what_a_student_does_not_have_cannot_be_kept(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        change(make_student("bilstm"))


def test_a_student_whose_units_could_not_be_measured_keeps_its_projection():
    student = make_student("bilstm, projected")
    (batch,) = random_sentences(student.config)
    wanted = vectors(student)
    too_high = dataclasses.replace(batch, ids_BT=batch.ids_BT + student.config.vocabulary)
    with pytest.raises(IndexError):
        importance(student, [batch, too_high])
    near(vectors(student), wanted)


@pytest.mark.parametrize("kind", ["static", "transformer"])
def test_only_an_lstm_has_units(kind):
    with pytest.raises(ValueError, match="only an LSTM"):
        with_units(make_student(kind), np.zeros((2, 4), int))


def test_an_empty_sentence_has_the_mean_vector_after_every_change():
    student = make_student("bilstm, learned")
    nothing = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1)
    smaller = with_units(student, np.stack([np.arange(4)] * 2))
    smaller = with_rank(smaller, directions_of(smaller, None)[0], 4)
    near(smaller.vectors(*nothing)[0].detach(), student.offset)
    shorter = with_components(smaller, np.eye(WIDTH, dtype=np.float32)[:3])
    near(shorter.vectors(*nothing)[0].detach(), student.offset[:3])
    assert dataclasses.replace(shorter.config, width=WIDTH) == smaller.config
