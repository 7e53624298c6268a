"""How a store keeps vectors, and how readers get them back: float32, float16 or int8.

int8 keeps each row's numbers as multiples of its own scale, the largest absolute number / 127.
Array letters: N rows, H the teacher's width, K numbers that are stored: H, or fewer under a
projection.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import parts, tables
from schemas.projection import Projection, load, projection_folder
from schemas.store import Store
from schemas.weights import Floats

_STEPS = 127  # of int8 on each side of 0: -128 stays unused, so that signs are alike


def columns(schema: pa.Schema, pooling: str) -> list[str]:
    """The columns of a store that hold the vectors of a pooling.

    Raises:
        ValueError: if there are none, naming the poolings that there are.
    """
    if f"vector_{pooling}" not in schema.names:
        raise ValueError(f"there are no {pooling} vectors, only {', '.join(poolings(schema))}")
    return [name for name in (f"vector_{pooling}", f"scale_{pooling}") if name in schema.names]


def poolings(schema: pa.Schema) -> list[str]:
    """The poolings that have a vector column, in order."""
    found = [name for name in schema.names if name.startswith("vector_")]
    return [name.removeprefix("vector_") for name in found]


def encode(vectors_NK: Floats, pooling: str, dtype: str) -> dict[str, pa.Array]:
    """The columns that hold vectors.

    Args:
        vectors_NK: finite.
        pooling: whose vectors they are.
        dtype: a key of `schemas.tables.DTYPES`.

    Raises:
        ValueError: if a number is not finite as it is stored; float16 ends at 65,504.

    >>> two = np.array([[1.27, -0.5], [0.0, 0.0]], np.float32)
    >>> {name: column.to_pylist() for name, column in encode(two, "idf", "int8").items()}
    {'vector_idf': [[127, -50], [0, 0]], 'scale_idf': [0.009999999776482582, 0.0]}
    """
    encoded: dict[str, pa.Array] = {}
    with np.errstate(over="ignore"):
        stored_NK = vectors_NK if dtype == "int8" else vectors_NK.astype(dtype)
    if not np.isfinite(stored_NK).all():
        raise ValueError(f"a number of a {pooling} vector is NaN, infinite or too large: {dtype}")
    if dtype == "int8":
        scales_N = (np.abs(vectors_NK).max(axis=1) / _STEPS).astype(np.float32)
        steps_N = np.where(scales_N > 0, scales_N, 1)
        rounded_NK = np.rint(vectors_NK / steps_N[:, None])
        stored_NK = rounded_NK.clip(-_STEPS, _STEPS).astype(np.int8)
        encoded = {f"scale_{pooling}": pa.array(scales_N)}
    rows, width = stored_NK.shape
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    type = tables.list_of(tables.DTYPES[dtype])
    values = pa.array(stored_NK.ravel())
    return {f"vector_{pooling}": pa.ListArray.from_arrays(offsets, values, type=type), **encoded}


def decode(table: pa.Table, pooling: str, projection: Projection | None = None) -> Floats:
    """The teacher's vectors from the columns that `columns` names.

    Args:
        table: rows of a store.
        pooling: whose vectors.
        projection: the store's for this pooling, if it has one.

    Returns:
        Vectors [N, H], an array of its own; [0, 0] for no rows.
    """
    column = table[f"vector_{pooling}"].combine_chunks()
    rows, numbers = table.num_rows, column.flatten().to_numpy(zero_copy_only=False)
    stored_NK: Floats = numbers.astype(np.float32).reshape(rows, len(numbers) // max(rows, 1))
    if pa.types.is_int8(column.type.value_type):
        stored_NK *= table[f"scale_{pooling}"].to_numpy()[:, None]
    return projection.restore(stored_NK) if projection and rows else stored_NK


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Holds how a store keeps the vectors of one pooling.

    Attributes:
        pooling: whose vectors.
        columns: what to read.
        projection: what to undo, if anything.
        then: what the reader makes of the vectors, if anything but themselves.
    """

    pooling: str
    columns: tuple[str, ...]
    projection: Projection | None = None
    then: Callable[[Floats], Floats] | None = None

    def decode(self, table: pa.Table) -> Floats:
        """Vectors [N, H] of rows that have the columns, as `schemas.vectors.decode` gives them."""
        vectors_NH = decode(table, self.pooling, self.projection)
        return self.then(vectors_NH) if self.then and table.num_rows else vectors_NH


def open_decoder(store: Store, pooling: str) -> Decoder:
    """What reads the vectors of a pooling from a store.

    Raises:
        FileNotFoundError: if the store's projection is not beside it.
        ValueError: if the store is empty, or has no such vectors.
    """
    if not store.parts:
        raise ValueError(f"{store.location} has no rows")
    with parts.open_part(store.path_of(store.parts[0])) as part:
        names = columns(part.schema_arrow, pooling)
    made_by = store.fingerprint.get("projection")
    if not made_by:
        return Decoder(pooling, tuple(names))
    projections = load(projection_folder(store.location, made_by))
    return Decoder(pooling, tuple(names), projections[pooling])


def row_cosines(one_NH: Floats, other_NH: Floats) -> npt.NDArray[np.float64]:
    """Cosine [N] of each row of one matrix with the same row of the other; 0 for a zero row.

    >>> row_cosines(np.float32([[1, 0], [0, 2]]), np.float32([[3, 0], [1, 0]]))
    array([1., 0.])
    """
    exact_NH, second_NH = one_NH.astype(np.float64), other_NH.astype(np.float64)
    lengths_N = np.linalg.norm(exact_NH, axis=1) * np.linalg.norm(second_NH, axis=1)
    cosines_N: npt.NDArray[np.float64] = (exact_NH * second_NH).sum(axis=1)
    cosines_N /= np.maximum(lengths_N, 1e-12)
    return cosines_N


def bytes_per_vector(numbers: int, dtype: str) -> int:
    """Bytes of a vector before compression, its scale included."""
    return numbers * np.dtype(dtype).itemsize + (4 if dtype == "int8" else 0)
