"""Principal components: the same as scikit-learn's, the same each time, and safe on disk."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from schemas import parts, projection, tables
from schemas.projection import Projection, digest_of, load, projection_folder, save


def sample(rows=400, width=12, seed=0):
    """Vectors of unlike spread about a mean that is not 0, as a teacher's are."""
    rng = np.random.default_rng(seed)
    spread = 2.0 ** -np.arange(width)
    turn, _ = np.linalg.qr(rng.normal(size=(width, width)))
    return (rng.normal(size=(rows, width)) * spread @ turn + 3).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    return sample()


@pytest.mark.parametrize("size", [1, 5, 11])
def test_it_agrees_with_scikit_learn(vectors, size):
    mine, theirs = Projection.fit(vectors, size), PCA(size, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(mine.mean_H, theirs.mean_, atol=1e-5)
    turns = np.sign((mine.components_KH * theirs.components_).sum(axis=1))
    np.testing.assert_allclose(mine.components_KH, theirs.components_ * turns[:, None], atol=2e-3)
    np.testing.assert_allclose(mine.shares_K, theirs.explained_variance_ratio_, atol=1e-5)
    np.testing.assert_allclose(mine.project(vectors), theirs.transform(vectors) * turns, atol=1e-2)
    np.testing.assert_allclose(
        mine.restore(mine.project(vectors)),
        theirs.inverse_transform(theirs.transform(vectors)),
        atol=1e-4,
    )


def test_what_is_kept_is_what_it_says(vectors):
    for size in (2, 6, 11):
        flat = Projection.fit(vectors, size)
        lost = np.square(vectors - flat.restore(flat.project(vectors))).sum()
        spread = np.square(vectors - vectors.mean(axis=0)).sum()
        assert flat.explained == pytest.approx(1 - lost / spread, abs=1e-5)
        assert flat.size == size
    assert flat.explained > 0.999999


def test_projecting_what_was_restored_changes_nothing(vectors):
    flat = Projection.fit(vectors, 4)
    projected = flat.project(vectors)
    np.testing.assert_allclose(flat.project(flat.restore(projected)), projected, atol=1e-5)
    assert projected.dtype == flat.restore(projected).dtype == np.float32


def test_every_component_points_where_its_largest_number_is_positive(vectors):
    for one in (vectors, -vectors):
        components = Projection.fit(one, 6).components_KH
        strongest = np.abs(components).argmax(axis=1)
        assert (components[np.arange(6), strongest] > 0).all()
    np.testing.assert_allclose(components, Projection.fit(vectors, 6).components_KH, atol=1e-5)


def test_a_vector_is_projected_the_same_alone_and_among_others(vectors):
    flat = Projection.fit(vectors, 5)
    alone = np.concatenate([flat.project(row[None]) for row in vectors])
    assert np.array_equal(flat.project(vectors), alone)


def test_the_same_sample_gives_the_same_projection(vectors):
    assert Projection.fit(vectors, 3).digest() == Projection.fit(vectors.copy(), 3).digest()
    assert Projection.fit(vectors, 3).digest() != Projection.fit(vectors, 4).digest()
    assert Projection.fit(vectors, 3).digest() != Projection.fit(sample(seed=1), 3).digest()


@pytest.mark.parametrize(
    ("spoil", "size", "rule"),
    [
        (lambda v: v, 12, "principal components must be 1 to 11, got 12"),
        (lambda v: v, 0, "principal components must be 1 to 11, got 0"),
        (lambda v: v[:5], 5, "5 principal components need more than 5 sentences"),
        (lambda v: np.ones_like(v), 2, "all 400 vectors of the sample are the same"),
        (lambda v: np.where(v > 3.5, np.nan, v), 2, "a vector of the sample is NaN or infinite"),
    ],
)
def test_a_sample_that_gives_no_components_is_refused(vectors, spoil, size, rule):
    with pytest.raises(ValueError, match=rule):
        Projection.fit(spoil(vectors), size)


@pytest.fixture
def saved(tmp_path, vectors):
    both = {"mean": Projection.fit(sample(seed=2), 4), "idf": Projection.fit(vectors, 4)}
    folder = projection_folder(f"{tmp_path}/store/", digest_of(both))
    save(both, folder)
    return both, folder


def test_what_was_saved_is_loaded(tmp_path, saved, vectors):
    both, folder = saved
    found = load(folder)
    assert list(found) == ["idf", "mean"]
    for pooling, one in both.items():
        assert found[pooling].digest() == one.digest()
        assert found[pooling].explained == pytest.approx(one.explained)
        assert np.array_equal(found[pooling].project(vectors), one.project(vectors))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.projection"]


def test_saving_it_twice_writes_the_same_bytes(saved):
    both, folder = saved
    before = parts.sha256(f"{folder}/projection.parquet")
    save(both, folder)
    assert parts.sha256(f"{folder}/projection.parquet") == before


def test_any_parquet_reader_can_undo_it(saved, vectors):
    both, folder = saved
    table = parts.read(f"{folder}/projection.parquet")
    assert table.schema.equals(tables.PROJECTION)
    rows = [row for row in table.to_pylist() if row["pooling"] == "idf"]
    mean, components = np.array(rows[0]["vector"]), np.array([row["vector"] for row in rows[1:]])
    projected = both["idf"].project(vectors)
    np.testing.assert_allclose(
        mean + projected @ components, both["idf"].restore(projected), rtol=1e-5
    )


def test_a_projection_of_another_name_or_a_changed_one_is_refused(saved):
    both, folder = saved
    other = projection_folder(folder, "0123456789abcdef")
    save(both, other)
    with pytest.raises(ValueError, match="has changed since it was written"):
        load(other)


def test_a_missing_projection_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no projection at .*; the store needs it"):
        load(projection.projection_folder(f"{tmp_path}/store", "0123456789abcdef"))
