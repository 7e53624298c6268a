"""Numbers <-> few bits each, by groups that have a scale and a least number of their own (Q-BERT).

Q-BERT (Shen et al. 2019) quantises by groups too; theirs are rows of a matrix, these are as many
numbers as wanted, one after another. A byte holds 8 / b codes, from as many stretches of a group:

    group of 8 at 2 bits   a0 a1 | b0 b1 | c0 c1 | d0 d1   ->   bytes  d0 c0 b0 a0,  d1 c1 b1 a1

Array letters: G groups, n numbers of a group, b bits of a number, B bytes of a group.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.weights import Floats

BITS = (2, 4, 8)
_ROUNDS = 8  # of fitting; nothing moves afterwards
_SMALLEST = 1e-7  # a step below what float16 can tell from 0 is none

Half = npt.NDArray[np.float16]
Bytes = npt.NDArray[np.uint8]


class Packed(NamedTuple):
    """An array in few bits: ``least + scale * code``.

    Attributes:
        codes_GB: bytes.
        scales_G1: the step between two codes.
        least_G1: the number that code 0 stands for.
        shape: of the array; the last group is filled up.
        bits: b.
    """

    codes_GB: Bytes
    scales_G1: Half
    least_G1: Half
    shape: tuple[int, ...]
    bits: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.codes_GB.nbytes + self.scales_G1.nbytes + self.least_G1.nbytes


def pack(values: Floats, bits: int, group: int, *, fit: bool = True) -> Packed:
    """Round an array to ``2 ** bits`` numbers per group.

    Args:
        values: of any shape, finite, within float16's range.
        bits: one of `BITS`.
        group: n, a multiple of 8.
        fit: below 8 bits, choose scale and least number for the least squared error instead of
            reaching from the least to the greatest number of the group. Cosines of a bilstm at 2
            bits in groups of 128: 0.907 for 0.821, at 4 bits 0.993 for 0.992 (2026-11-21).

    Raises:
        ValueError: for other bits or groups, or numbers that float16 cannot hold.
    """
    if bits not in BITS:
        raise ValueError(f"bits must be one of {BITS}, got {bits}")
    if group < 8 or group % 8:
        raise ValueError(f"group must be a multiple of 8 numbers, got {group}")
    check_range(values)
    flat = values.ravel().astype(np.float64)
    grouped_Gn = np.pad(flat, (0, -len(flat) % group), mode="edge").reshape(-1, group)
    least_G1, greatest_G1 = (way(grouped_Gn, axis=1, keepdims=True) for way in (np.min, np.max))
    scales_G1 = (greatest_G1 - least_G1) / (2**bits - 1)
    if fit and bits < 8:
        scales_G1, least_G1 = _fit(grouped_Gn, scales_G1, least_G1, bits)
    scales_G1 = np.where(scales_G1 < _SMALLEST, 0, scales_G1)
    halves = scales_G1.astype(np.float16), least_G1.astype(np.float16)
    codes_Gn = _codes(grouped_Gn, halves[0], halves[1], bits)
    return Packed(to_bytes(codes_Gn.astype(np.uint8), bits), *halves, values.shape, bits)


def check_range(values: Floats) -> None:
    """Refuse numbers that float16 cannot hold.

    Raises:
        ValueError: if there is one.
    """
    if not np.abs(values).max(initial=0) <= np.finfo(np.float16).max:
        raise ValueError("a number is not finite, or too large for float16")


def _codes(
    grouped_Gn: npt.NDArray[np.float64],
    scales_G1: npt.NDArray[np.floating],
    least_G1: npt.NDArray[np.floating],
    bits: int,
) -> npt.NDArray[np.float64]:
    """The nearest codes [G, n], 0 to 2 ** b - 1."""
    steps_G1 = np.where(scales_G1 > 0, scales_G1, 1).astype(np.float64)
    found: npt.NDArray[np.float64] = np.rint((grouped_Gn - least_G1) / steps_G1)
    return found.clip(0, 2**bits - 1)


def _fit(
    grouped_Gn: npt.NDArray[np.float64],
    scales_G1: npt.NDArray[np.float64],
    least_G1: npt.NDArray[np.float64],
    bits: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Round, fit a line from codes to numbers by least squares, and again (Lloyd 1982)."""
    mean_G1 = grouped_Gn.mean(axis=1, keepdims=True)
    for _ in range(_ROUNDS):
        codes_Gn = _codes(grouped_Gn, scales_G1, least_G1, bits)
        moved_Gn = codes_Gn - codes_Gn.mean(axis=1, keepdims=True)
        squares_G1 = (moved_Gn**2).sum(axis=1, keepdims=True)
        along_G1 = (moved_Gn * (grouped_Gn - mean_G1)).sum(axis=1, keepdims=True)
        flat_G1 = squares_G1 == 0
        scales_G1 = np.where(flat_G1, scales_G1, along_G1 / np.where(flat_G1, 1, squares_G1))
        least_G1 = mean_G1 - scales_G1 * codes_Gn.mean(axis=1, keepdims=True)
    return scales_G1, least_G1


def to_bytes(codes_Gn: Bytes, bits: int) -> Bytes:
    """Put 8 / b codes into each byte [G, B].

    >>> to_bytes(np.array([[1, 2, 3, 4]], np.uint8), 4)
    array([[49, 66]], dtype=uint8)
    """
    planes = np.split(codes_Gn, 8 // bits, axis=1)
    found = np.zeros_like(planes[0])
    for place, plane in enumerate(planes):
        found |= plane << np.uint8(bits * place)
    return found


def from_bytes(codes_GB: Bytes, bits: int) -> Bytes:
    """The codes [G, n] that `to_bytes` was given."""
    mask = np.uint8(2**bits - 1)
    planes = [(codes_GB >> np.uint8(bits * place)) & mask for place in range(8 // bits)]
    return np.concatenate(planes, axis=1)


def unpack(packed: Packed) -> Floats:
    """The rounded array, as the ONNX graph makes it when it is loaded."""
    codes_Gn = from_bytes(packed.codes_GB, packed.bits).astype(np.float32)
    grouped_Gn = codes_Gn * packed.scales_G1.astype(np.float32) + packed.least_G1.astype(np.float32)
    found: Floats = grouped_Gn.ravel()[: int(np.prod(packed.shape))].reshape(packed.shape)
    return found
