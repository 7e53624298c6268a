"""What of a teacher's vector a student is to give: all of it, or an affine map of it.

| name | the student's vectors | source |
|---|---|---|
| teacher | the teacher's own [H] | LTD-BERT |
| centred | less their mean, which all of them share [H] | |
| pcaK | coordinates along the first K principal components [K] | tokenlearn |
| whitenK | these, each divided by its standard deviation [K] | BERT-whitening, arXiv 2103.15316 |

The map is fitted on the store's sentences and stays with the training and its export, so that the
teacher's vectors of documents can be put beside the student's of queries.
Array letters: N sentences, H the teacher's width, K numbers of the student's vectors.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from schemas.fingerprint import file_digest
from schemas.projection import Projection
from schemas.weights import Floats

FILE = "target.safetensors"


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """An affine map of the teacher's vectors.

    Attributes:
        mean_H: what is taken away.
        basis_HK: what they are then multiplied by; None for nothing.
    """

    mean_H: Floats
    basis_HK: Floats | None

    def of(self, teacher_NH: Floats) -> Floats:
        """Vectors [N, K] that the student is to give.

        >>> Target(np.float32([1, 1]), np.float32([[2], [0]])).of(np.float32([[3, 5]]))
        array([[4.]], dtype=float32)
        """
        centred_NH: Floats = teacher_NH - self.mean_H
        return centred_NH if self.basis_HK is None else centred_NH @ self.basis_HK

    def save(self, folder: Path) -> None:
        """Write it into a folder, at once."""
        arrays = {"mean": self.mean_H}
        if self.basis_HK is not None:
            arrays["basis"] = np.ascontiguousarray(self.basis_HK)
        temporary = folder / f"{FILE}.tmp"
        safetensors.numpy.save_file(arrays, temporary)
        os.replace(temporary, folder / FILE)


def read_target(name: str) -> tuple[str, int]:
    """What a name of the table says: the kind of map, and K or 0.

    Raises:
        ValueError: for a name that is none of the table's.

    >>> read_target("pca64"), read_target("teacher")
    (('pca', 64), ('teacher', 0))
    """
    found = re.fullmatch(r"(teacher|centred|(?:pca|whiten)(?=[1-9]))(\d*)", name)
    if not found or (found[2] and found[1] in ("teacher", "centred")):
        raise ValueError(f"target must be teacher, centred, or such as pca64, whiten64: {name!r}")
    return found[1], int(found[2] or 0)


def fit(name: str, sample_NH: Floats) -> Target | None:
    """The map of a name, None for the teacher's vectors as they are.

    Args:
        name: for `read_target`.
        sample_NH: the teacher's vectors of some sentences.

    Raises:
        ValueError: unless K is below both N and H, and the vectors vary along K directions.

    >>> sample_NH = np.float32([[0, 1], [2, 1], [0, 3], [2, 3]])
    >>> fit("centred", sample_NH).of(sample_NH[:1])
    array([[-1., -1.]], dtype=float32)
    """
    kind, size = read_target(name)
    if kind == "teacher":
        return None
    if kind == "centred":
        return Target(sample_NH.mean(axis=0, dtype=np.float64).astype(np.float32), None)
    try:
        found = Projection.fit(sample_NH, size)
    except ValueError as error:
        raise ValueError(f"target {name!r}: {error}") from error
    basis_HK = found.components_KH.T
    if kind == "whiten":
        variances_K = np.square(found.project(sample_NH).astype(np.float64)).mean(axis=0)
        if not variances_K.min() > 1e-7 * variances_K.max():
            raise ValueError(f"target {name!r}: the vectors have no {size} directions: lower it")
        basis_HK = (basis_HK / np.sqrt(variances_K)).astype(np.float32)
    return Target(found.mean_H, np.ascontiguousarray(basis_HK))


def load(folder: Path) -> Target:
    """The map that `save` wrote.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: the student's vectors are not the teacher's")
    arrays = safetensors.numpy.load_file(path)
    return Target(arrays["mean"], arrays.get("basis"))


def of_export(folder: Path, card: Mapping[str, Any]) -> Target | None:
    """The map of an exported student; None if its vectors are the teacher's, or nobody knows it.

    A student whose vectors were shortened afterwards has none.

    Raises:
        ValueError: if it has changed since it was exported.
    """
    known = card.get("target_sha256")
    if known is None:
        return None
    if file_digest(folder / FILE) != known:
        raise ValueError(f"{folder / FILE} has changed since it was exported")
    return load(folder)
