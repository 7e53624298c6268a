"""Principal components of a teacher's vectors: fitted once, kept by the store, undone at reading.

One projection per pooling; those of a store are one Parquet file, named by their digest.
Array letters: N sentences, H the teacher's width, K components that are kept (K < H).
"""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import parts, tables
from schemas.fingerprint import digest
from schemas.weights import Floats

_FILE = "projection.parquet"


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    """A flat of K dimensions through the mean of the teacher's vectors.

    Attributes:
        mean_H: mean vector of the sample that it was fitted to.
        components_KH: orthonormal directions, the one with the most variance first.
        shares_K: share of the sample's variance along each direction.
    """

    mean_H: Floats
    components_KH: Floats
    shares_K: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, vectors_NH: Floats, size: int) -> "Projection":
        """Find the principal components of a sample.

        Args:
            vectors_NH: the sample.
            size: how many components to keep, K.

        Raises:
            ValueError: unless 0 < K < H and K < N, if a number is not finite, or if all vectors
                are the same.

        >>> flat = Projection.fit(np.array([[3, 1], [5, 1], [7, 1]], np.float32), 1)
        >>> flat.mean_H, flat.components_KH, flat.explained
        (array([5., 1.], dtype=float32), array([[1., 0.]], dtype=float32), 1.0)
        """
        rows, width = vectors_NH.shape
        if not 0 < size < width:
            raise ValueError(f"principal components must be 1 to {width - 1}, got {size}")
        if size >= rows:
            raise ValueError(f"{size} principal components need more than {rows} sentences")
        if not np.isfinite(vectors_NH).all():
            raise ValueError("a vector of the sample is NaN or infinite")
        exact_NH = vectors_NH.astype(np.float64)
        mean_H = exact_NH.mean(axis=0)
        centred_NH = exact_NH - mean_H
        variances_H, directions_HH = np.linalg.eigh(centred_NH.T @ centred_NH / rows)
        if not variances_H.sum() > 0:
            raise ValueError(f"all {rows} vectors of the sample are the same")
        # eigh sorts upwards, and leaves it open which way a direction points.
        components_KH = directions_HH[:, ::-1][:, :size].T
        strongest_K = np.abs(components_KH).argmax(axis=1)
        signs_K = np.sign(components_KH[np.arange(size), strongest_K])
        shares_K = variances_H[::-1][:size] / variances_H.sum()
        return cls(
            mean_H.astype(np.float32),
            (components_KH * signs_K[:, None]).astype(np.float32),
            np.clip(shares_K, 0.0, 1.0),
        )

    @property
    def size(self) -> int:
        """K."""
        return len(self.components_KH)

    @property
    def explained(self) -> float:
        """Share of the sample's variance that is kept, 0 to 1."""
        return float(self.shares_K.sum())

    def project(self, vectors_NH: Floats) -> Floats:
        """Coordinates [N, K] of vectors along the components."""
        # In float64, so that a vector's last bit does not depend on how many come with it.
        centred_NH = vectors_NH.astype(np.float64)
        centred_NH -= self.mean_H
        projected_NK: Floats = (centred_NH @ self.components_KH.T).astype(np.float32)
        return projected_NK

    def restore(self, projected_NK: Floats) -> Floats:
        """The nearest vectors [N, H] of the teacher's space that `project` can have come from."""
        restored_NH = projected_NK @ self.components_KH
        restored_NH += self.mean_H  # in place: with a second array it took 2.6 times as long
        return restored_NH

    def digest(self) -> str:
        """Name the mean and the components in 16 hexadecimal digits."""
        numbers = np.concatenate([self.mean_H[None], self.components_KH]).astype("<f4")
        return digest([numbers.shape, hashlib.sha256(numbers.tobytes()).hexdigest()])


Projections = Mapping[str, Projection]
"""The projection of each pooling."""


def digest_of(projections: Projections) -> str:
    """Name the projections of a store: what its fingerprint holds under ``projection``."""
    return digest({pooling: one.digest() for pooling, one in projections.items()})


def projection_folder(location: str, name: str) -> str:
    """Where a store keeps the projections of a digest."""
    return parts.join(f"{location.rstrip('/')}.projection", name)


def save(projections: Projections, folder: str) -> None:
    """Write projections into a folder, as one Parquet file: `schemas.tables.PROJECTION`."""
    rows = [
        {"pooling": pooling, "component": index, "vector": vector_H, "share": share}
        for pooling, one in sorted(projections.items())
        for index, (vector_H, share) in enumerate(
            zip([one.mean_H, *one.components_KH], [0.0, *one.shares_K], strict=True)
        )
    ]
    parts.write(pa.Table.from_pylist(rows, schema=tables.PROJECTION), folder, _FILE)
    parts.tidy(folder)


def load(folder: str) -> dict[str, Projection]:
    """The projections that `save` wrote into a folder that is named by their digest.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: if they are not those that the folder's name tells.
    """
    path = parts.join(folder, _FILE)
    if not parts.exists(path):
        raise FileNotFoundError(f"there is no projection at {path}; the store needs it")
    table = parts.read(path)
    tables.check_columns(table.schema, tables.PROJECTION, of=path)
    found = {
        pooling: _of_rows(table.filter(pc.equal(table["pooling"], pooling)))
        for pooling in table["pooling"].unique().to_pylist()
    }
    if digest_of(found) != folder.rsplit("/", 1)[-1]:
        raise ValueError(f"{path} has changed since it was written")
    return found


def _of_rows(rows: pa.Table) -> Projection:
    flat = rows["vector"].combine_chunks().flatten().to_numpy()
    vectors_RH = flat.reshape(rows.num_rows, -1)
    return Projection(vectors_RH[0], vectors_RH[1:], rows["share"].to_numpy()[1:])
