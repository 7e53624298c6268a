"""Batches -> a count and a digest of the rows that were learned, to hold against the store's.

The digest of a row is a hash of its tokens, that of many rows the sum of theirs modulo 2^64: it
does not depend on their order, nor on which worker had which. Checkpoints hold the sums, so the
steps that a restart throws away and does again count once.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import distributed

from distill_jobs.padding import Ids
from distill_jobs.reader import Group, content, read_group

Learned = tuple[int, int]
"""Rows, and the sum of their digests."""

_BASE = 0x9E3779B97F4A7C15  # odd: its powers are all different from 0
_Counts = npt.NDArray[np.uint64]  # [..., 2]: rows and digest


class Tally:
    """What this worker has learned in each epoch, beside what all had before it began."""

    def __init__(self, epochs: int, before: Sequence[Learned] | None) -> None:
        """Begin to count.

        Args:
            epochs: of the whole training.
            before: by epoch, from the checkpoint that is gone on from; None if it does not say.
        """
        self._known = before is not None
        self._mine: _Counts = np.zeros((epochs, 2), np.uint64)
        self._before: _Counts = self._mine.copy()
        if before:
            self._before[:] = before

    def add(self, epoch: int, ids_BT: Ids) -> None:
        """Count a batch that has changed the student; padding is 0."""
        self._mine[epoch] += count(ids_BT)

    def total(self) -> tuple[Learned, ...] | None:
        """What all workers have learned, by epoch; None if it is not known. All must call it."""
        every = [self._mine]
        if distributed.is_initialized():
            every *= distributed.get_world_size()
            distributed.all_gather_object(every, self._mine)
        if not self._known:
            return None
        return tuple((rows, digest) for rows, digest in sum(every, start=self._before).tolist())


def count(ids_BT: Ids) -> _Counts:
    """Rows and the sum of their digests, [2].

    >>> one, other = np.array([[5, 6], [7, 0]]), np.array([[7, 0, 0], [5, 6, 0]])
    >>> bool((count(one) == count(other)).all())
    True
    """
    powers_T = np.cumprod(np.full(ids_BT.shape[1], _BASE, np.uint64))
    hashes_B = ids_BT.astype(np.uint64) @ powers_T
    # The finaliser of SplitMix64 (Steele et al., 2014): without it, sums of rows would be sums of
    # tokens, and two rows could trade theirs.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes_B = (hashes_B ^ (hashes_B >> np.uint64(shift))) * np.uint64(factor)
    hashes_B ^= hashes_B >> np.uint64(31)
    return np.array([len(ids_BT), hashes_B.sum(dtype=np.uint64)], np.uint64)


def in_store(groups: Sequence[Group]) -> Learned:
    """What one epoch is to teach, read straight from the parts, group after group."""
    found = np.zeros(2, np.uint64)
    for group in groups:
        found += count(content(read_group(group, ("token_ids", "weights")))[0])
    return int(found[0]), int(found[1])


def check(learned: Sequence[Learned] | None, groups: Sequence[Group]) -> None:
    """Hold what was learned against the store; nothing is said of what is not known.

    Raises:
        ValueError: naming the first epoch that did not teach every row once.
    """
    if learned is None:
        return
    rows, digest = in_store(groups)
    for epoch, found in enumerate(learned, start=1):
        if found != (rows, digest):
            raise ValueError(
                f"epoch {epoch} taught {found[0]} rows with digest {found[1]:016x}; each of the "
                f"store's once are {rows} with {digest:016x}: this student is not what its "
                "settings say, train it again in another folder"
            )
