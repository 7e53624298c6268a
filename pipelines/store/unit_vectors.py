"""A store's vectors -> the same, each divided by its length, in a file, to be found by id.

Array letters: N rows of the store, B of a row group or part, H vector width.
"""

from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import parts
from schemas.store import Store
from schemas.vectors import open_decoder
from schemas.weights import Floats

Ids = npt.NDArray[np.bytes_]
"""Sentence ids as 16 bytes each: with a place of 8, 24 MB for a million sentences."""


class UnitVectors(NamedTuple):
    """Vectors of length 1 that lie in a file.

    Attributes:
        ids_N: sorted.
        places_N: where each id's vector is.
        vectors_NH: mapped from the file.
    """

    ids_N: Ids
    places_N: npt.NDArray[np.int64]
    vectors_NH: Floats

    def find(self, ids_B: Ids) -> tuple[npt.NDArray[np.bool_], Floats]:
        """Which of some ids are there [B], and the vectors of those."""
        at_B = np.searchsorted(self.ids_N, ids_B).clip(max=len(self.ids_N) - 1)
        held_B: npt.NDArray[np.bool_] = self.ids_N[at_B] == ids_B
        return held_B, self.vectors_NH[self.places_N[at_B[held_B]]]


def write_vectors(store: Store, pooling: str, file: IO[bytes]) -> UnitVectors:
    """Write a store's vectors, each divided by its length, into a file.

    Args:
        store: of one teacher.
        pooling: whose vectors.
        file: empty; takes N * H * 4 bytes.

    Raises:
        ValueError: if a part has changed, or a vector has no length.
    """
    decoder = open_decoder(store, pooling)
    columns = ["sentence_id", *decoder.columns]
    keys, width = [], 0
    for part in store.parts:
        store.check(part)
        with parts.open_part(store.path_of(part)) as opened:
            for group in range(opened.num_row_groups):
                rows = opened.read_row_group(group, columns, use_threads=False)
                found_BH = unit(decoder.decode(rows), store)
                keys.append(ids_of(rows["sentence_id"]))
                # One after the other: into a map by id they would be written all over the disk.
                file.write(found_BH.tobytes())
                width = found_BH.shape[1]
    file.flush()
    ids_N = np.concatenate(keys)
    order_N = np.argsort(ids_N)
    vectors_NH = np.memmap(file, np.float32, "r", shape=(len(ids_N), width))
    return UnitVectors(ids_N[order_N], order_N, vectors_NH)


def ids_of(column: pa.ChunkedArray) -> Ids:
    """Hexadecimal ids as 16 bytes each; they sort alike."""
    return np.frombuffer(bytes.fromhex("".join(column.to_pylist())), dtype="S16")


def unit(vectors_BH: Floats, store: Store) -> Floats:
    """Vectors divided by their lengths.

    Raises:
        ValueError: if one has none.
    """
    lengths_B1 = np.linalg.norm(vectors_BH, axis=1, keepdims=True)
    if not (lengths_B1 > 0).all():
        raise ValueError(f"a vector of {store.location} is zero: it has no direction")
    unit_BH: Floats = vectors_BH / lengths_B1
    return unit_BH
