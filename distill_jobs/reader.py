"""From a store to training batches: shuffled, length-bucketed, and resumable at any step.

The order of rows is a function of (seed, epoch) alone. It is cut into V streams of equal size
(give or take a row); worker r of W reads streams r, r+W, ...; a global batch is one slice of every
stream. So the batch of step s is the same set of rows whatever W is (the canonical nodes of
MosaicML Streaming), and the state of the reader is (epoch, step), nothing else.

    stream 0 | window 0: k slices of b rows, sorted by length, slices shuffled | window 1 | ...
    stream 1 | ...                                                batch of step s = column s
"""

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from distill_jobs.padding import Ids, pad_content
from schemas import parts, tables
from schemas.store import Store
from schemas.vectors import Decoder
from schemas.weights import Floats

WINDOW_STEPS = 32  # k: slices that are sorted by length together
_AHEAD = 4  # batches decoded in advance, by a thread: pyarrow lets go of the interpreter lock


@dataclasses.dataclass(frozen=True)
class Group:
    """One row group of a part: the unit that is read and shuffled."""

    path: str
    index: int
    rows: int


@dataclasses.dataclass(frozen=True)
class Batch:
    """Array letters: B sentences, T tokens, H the teacher's width.

    Attributes:
        ids_BT: tokens without special ones, padded with 0.
        weights_BT: sum 1; 0 for padding.
        teacher_BH: target vectors.
        rows: sentences of this worker; 0 if the single row is only there to keep step.
        global_rows: sentences of all workers at this step.
    """

    ids_BT: torch.Tensor
    weights_BT: torch.Tensor
    teacher_BH: torch.Tensor
    rows: int
    global_rows: int


def row_groups(store: Store) -> list[Group]:
    """All row groups of a store, in the order of its parts.

    Raises:
        ValueError: if a part has other columns than a teacher store, or than the first part.
    """
    found: list[Group] = []
    wanted: pa.Schema | None = None
    for part in store.parts:
        path = store.path_of(part)
        with parts.open_part(path) as file:
            wanted = wanted or tables.teacher_schema_like(file.schema_arrow)
            tables.check_columns(file.schema_arrow, wanted, of=f"part {path}")
            counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        found += [Group(path, index, rows) for index, rows in enumerate(counts)]
    return found


def hold_out(groups: Sequence[Group], rows: int, seed: int) -> tuple[list[Group], list[Group]]:
    """Set aside whole row groups with about `rows` rows for validation.

    Rows are sorted by a hash of their text, so a row group is a random sample of the sentences.

    Returns:
        The groups to train on, and those held out.

    Raises:
        ValueError: if the store is too small to hold anything out.
    """
    if len(groups) < 2:
        raise ValueError(
            f"the store has {len(groups)} row group; at least 2 are needed, one for validation"
        )
    held: set[int] = set()
    for index in np.random.default_rng([seed, 7]).permutation(len(groups))[:-1].tolist():
        if sum(groups[one].rows for one in held) >= rows:
            break
        held.add(index)
    training = [group for index, group in enumerate(groups) if index not in held]
    return training, [groups[index] for index in sorted(held)]


def draw(groups: Sequence[Group], rows: int, seed: int, since: str = "") -> list[Group]:
    """As many row groups, drawn at random, as have about `rows` rows; all if there are fewer.

    Args:
        groups: to draw from.
        rows: wanted in all.
        seed: of the draw.
        since: groups of this ingest date and later are all taken, however many; of none if empty.
    """
    drawn = {index for index, group in enumerate(groups) if since and _ingest_date(group) >= since}
    held = sum(groups[index].rows for index in drawn)
    for index in np.random.default_rng([seed, 11]).permutation(len(groups)).tolist():
        if held >= rows:
            break
        if index not in drawn:
            drawn.add(index)
            held += groups[index].rows
    return [groups[index] for index in sorted(drawn)]


def _ingest_date(group: Group) -> str:
    """The date in a part's path, empty if there is none."""
    return group.path.rpartition("ingest_date=")[2].partition("/")[0]


class Plan:
    """The order of one epoch."""

    def __init__(
        self, groups: Sequence[Group], *, streams: int, batch: int, seed: int, epoch: int
    ) -> None:
        """Lay out an epoch.

        Args:
            groups: what to read.
            streams: V; divides the global batch, and is at least the number of workers.
            batch: rows of a global batch.
            seed: of the whole training.
            epoch: counted from 0.

        Raises:
            ValueError: if the streams do not divide the batch.
        """
        if batch % streams:
            raise ValueError(f"the batch size must be a multiple of {streams}, got {batch}")
        self._groups = groups
        self._streams = streams
        self._slice = batch // streams
        self._key = [seed, epoch]
        self._order = np.random.default_rng(self._key).permutation(len(groups)).tolist()
        rows = sum(group.rows for group in groups)
        self._bounds = [rows * stream // streams for stream in range(streams + 1)]
        self.steps = -(-max(self._load(stream) for stream in range(streams)) // self._slice)

    def _load(self, stream: int) -> int:
        return self._bounds[stream + 1] - self._bounds[stream]

    def global_rows(self, step: int) -> int:
        """Rows of all workers at a step; all batches but a few are full."""
        at = self._position(step)
        return sum(
            min(max(self._load(stream) - at, 0), self._slice) for stream in range(self._streams)
        )

    def _position(self, step: int) -> int:
        """Where in its stream's sorted windows the slice of a step begins."""
        window, within = divmod(step, WINDOW_STEPS)
        return (window * WINDOW_STEPS + int(self._slice_order(window)[within])) * self._slice

    def _slice_order(self, window: int) -> npt.NDArray[np.int64]:
        """In what order a window's slices are used: the same in all streams, lengths alike."""
        slices = min(WINDOW_STEPS, self.steps - window * WINDOW_STEPS)
        return np.random.default_rng([*self._key, window]).permutation(slices)

    def slices(self, stream: int, start: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The slices of one stream from a step on; empty tables at the end where rows run out."""
        first, skipped = divmod(start, WINDOW_STEPS)
        rows = self._rows(stream, first * WINDOW_STEPS * self._slice, columns)
        for window in range(first, -(-self.steps // WINDOW_STEPS)):
            table = next(rows)
            lengths = pc.list_value_length(table["token_ids"]).to_numpy()
            table = table.take(pa.array(np.argsort(lengths, kind="stable")))
            order = self._slice_order(window).tolist()
            for number in order[skipped if window == first else 0 :]:
                yield table.slice(number * self._slice, self._slice)

    def _rows(self, stream: int, skip: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of a stream in windows, the last one short; whole groups are skipped unread."""
        size = WINDOW_STEPS * self._slice
        held: list[pa.Table] = []
        count = 0
        low, high = self._bounds[stream] + skip, self._bounds[stream + 1]
        at = 0
        for index in self._order:
            group = self._groups[index]
            begin, end = max(low - at, 0), min(high - at, group.rows)
            at += group.rows
            if begin >= end:
                continue
            shuffled = np.random.default_rng([*self._key, 1, index]).permutation(group.rows)
            held.append(read_group(group, columns).take(pa.array(shuffled[begin:end])))
            count += end - begin
            while count >= size:
                table = pa.concat_tables(held).combine_chunks()
                yield table.slice(0, size)
                held, count = [table.slice(size)], count - size
        table = pa.concat_tables(held).combine_chunks() if held else None
        yield table if table is not None else read_group(self._groups[0], columns).slice(0, 0)


def read_group(group: Group, columns: Sequence[str]) -> pa.Table:
    """Read a row group, its page checksums verified."""
    with parts.open_part(group.path, memory_map=True) as file:
        return file.read_row_group(group.index, columns=list(columns), use_threads=False)


def batches(  # noqa: PLR0913 - three of them are the place among the workers
    plan: Plan, decoder: Decoder, *, rank: int, world: int, streams: int, start: int = 0
) -> Iterator[Batch]:
    """This worker's share of every batch of an epoch, from a step on, decoded ahead by a thread.

    Raises:
        ValueError: if there are more workers than streams.
    """
    if world > streams:
        raise ValueError(f"there must be at most {streams} workers, one a stream, got {world}")
    columns = ["token_ids", "weights", *decoder.columns]

    def decode() -> Iterator[Batch]:
        mine = [plan.slices(stream, start, columns) for stream in range(rank, streams, world)]
        for step in range(start, plan.steps):
            table = pa.concat_tables([next(slices) for slices in mine]).combine_chunks()
            yield to_batch(table, decoder, plan.global_rows(step))

    return ahead(decode())


def to_batch(table: pa.Table, decoder: Decoder, global_rows: int) -> Batch:
    """Pad rows into tensors; an empty table becomes one row that counts for nothing."""
    rows = table.num_rows
    if not rows:
        nothing = torch.zeros(1, 1)
        return Batch(nothing.long(), nothing, nothing, 0, global_rows)
    ids_BT, weights_BT = content(table)
    return Batch(
        torch.from_numpy(ids_BT),
        torch.from_numpy(weights_BT),
        torch.from_numpy(decoder.decode(table)),
        rows,
        global_rows,
    )


def content(table: pa.Table) -> tuple[Ids, Floats]:
    """Padded ids and weights [B, T] of a table's rows, without special tokens."""
    ids = table["token_ids"].combine_chunks()
    weights = table["weights"].combine_chunks().flatten().to_numpy()
    lengths = pc.list_value_length(ids).to_numpy()
    return pad_content(ids.flatten().to_numpy(), weights, lengths)


def ahead(items: Iterator[Batch]) -> Iterator[Batch]:
    """Compute the next items in a thread while the current one is used; errors come through."""
    with ThreadPoolExecutor(1) as thread:
        waiting = collections.deque(thread.submit(next, items, None) for _ in range(_AHEAD))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, items, None))
            yield item
