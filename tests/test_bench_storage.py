"""tests/bench/storage.py: the encodings are real stores, and the numbers are about them."""

import pytest

from schemas import store
from tests.bench.storage import StorageConfig, markdown, measure


def test_every_encoding_is_written_as_a_store_and_measured(tmp_path, small_store):
    encodings = ("float32", "float16", "int8", "pca-4", "pca-12+int8", "pca-16")
    asked = StorageConfig(
        store=str(small_store),
        out=tmp_path / "work",
        rows=200,
        encodings=encodings,
        students=(),
        rounds=1,
    )
    found = {row["encoding"]: row for row in measure(asked)}
    assert list(found) == list(encodings[:-1])  # 16 components of 16 numbers save nothing
    assert {store.open_store(tmp_path / "work" / name).rows for name in found} == {200}
    assert found["float32"]["cosine_mean"] == pytest.approx(1)
    assert found["float32"]["neighbours_kept"] == 1
    assert 0.99 < found["int8"]["cosine_1st_percentile"] < 1
    assert found["pca-4"]["cosine_mean"] < found["pca-12+int8"]["cosine_mean"]
    sizes = [found[name]["vector_bytes_per_row"] for name in ("float32", "float16", "int8")]
    assert sizes == sorted(sizes, reverse=True)
    assert markdown(list(found.values())).count("\n") == 2 + len(found)
    with pytest.raises(ValueError, match="exists; the stores need a folder of their own"):
        measure(asked)
