"""A store and a night's dates -> the night's rows, the earlier ones, and students' vectors of them.

Rows are read as they are stored, tokens and weights included: no text and no dictionary is needed.
Array letters: N rows, H the teacher's width.
"""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill_jobs.backends import choose, open_backend
from distill_jobs.reader import Group, read_group, row_groups, to_batch
from schemas.store import Store
from schemas.vectors import Decoder, open_decoder
from schemas.weights import Floats

_MOST_NEW, _MOST_OLD = 4096, 8192  # rows looked at: bounds the time, not the night
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a store.

    Attributes:
        table: token_ids, weights and the columns of their vectors.
        decoder: reads the vectors.
    """

    table: pa.Table
    decoder: Decoder

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def teacher_NH(self) -> Floats:
        """The teacher's vectors."""
        return self.decoder.decode(self.table)

    @property
    def lengths_N(self) -> npt.NDArray[np.int64]:
        """Tokens of each row, special ones included."""
        lengths: npt.NDArray[np.int64] = pc.list_value_length(self.table["token_ids"]).to_numpy()
        return lengths

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        """The tokens of all rows that have a weight, one after another."""
        flat = [self.table[name].combine_chunks().flatten() for name in ("token_ids", "weights")]
        ids, weights = (one.to_numpy() for one in flat)
        found: npt.NDArray[np.int32] = ids[weights > 0]
        return found


def new_and_old(store: Store, pooling: str, dates: Collection[str], seed: int) -> tuple[Rows, Rows]:
    """Up to 4,096 rows of some dates, and up to 8,192 of all others, drawn by the seed."""
    decoder = open_decoder(store, pooling)
    chosen = [
        (_groups(store, [part for part in store.parts if (part.date in dates) == new]), most)
        for new, most in ((True, _MOST_NEW), (False, _MOST_OLD))
    ]
    new, old = (_draw(groups, most, decoder, seed) for groups, most in chosen)
    return Rows(new, decoder), Rows(old, decoder)


def vectors_of(folder: Path, card: Mapping[str, Any], rows: Rows) -> Floats:
    """An exported student's vectors [N, H] of rows, from the file that it is served from."""
    vectorise = open_backend(folder, card, choose(card, "auto"), 1)
    found = []
    for start in range(0, len(rows), _BATCH):
        piece = rows.table.slice(start, _BATCH).combine_chunks()
        batch = to_batch(piece, rows.decoder, piece.num_rows)
        found.append(vectorise(batch.ids_BT.numpy(), batch.weights_BT.numpy()))
    return np.concatenate(found)


def _groups(store: Store, parts: Sequence[object]) -> list[Group]:
    return row_groups(dataclasses.replace(store, parts=tuple(parts)))  # type: ignore[arg-type]


def _draw(groups: list[Group], most: int, decoder: Decoder, seed: int) -> pa.Table:
    """Whole row groups in a drawn order, the last one cut."""
    columns = ["token_ids", "weights", *decoder.columns]
    tables: list[pa.Table] = []
    rows = 0
    for index in np.random.default_rng([seed, 13]).permutation(len(groups)).tolist():
        if rows >= most:
            break
        tables.append(read_group(groups[index], columns))
        rows += tables[-1].num_rows
    return pa.concat_tables(tables).slice(0, most) if tables else pa.table({})
