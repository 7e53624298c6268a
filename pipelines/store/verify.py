"""Verb: check every part of a version, and the vectors of some rows against the teacher."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import tyro

from pipelines.embedding import Teacher
from pipelines.shards import Target
from pipelines.store.reembed import embed_again, load_teacher_of, target_of
from schemas import parts
from schemas.audit import row_fault
from schemas.command import run_job
from schemas.store import Store, open_store
from schemas.vectors import decode, row_cosines

_AGREE = {"float32": 0.9999, "bfloat16": 0.995}
"""Cosine above which two embeddings of one sentence count as the same: batches of another shape
round otherwise. Seen in 31 parts in bfloat16: at least 0.99998; against float32: 0.99996."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Check every part of a version: checksum, rows, vectors; exit 65 if one is not as it was."""

    location: tyro.conf.Positional[str]
    """Folder of the store."""
    version: int | None = None
    """By default the newest."""
    teacher: str | None = None
    """The store's teacher, to embed some rows again and compare."""
    canaries: int = 8
    """Rows of each part to embed again, if the teacher is given."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        if self.canaries < 1:
            raise ValueError(f"canaries must be at least 1, got {self.canaries}")


def main(argv: Sequence[str]) -> None:
    """Read the flags and verify."""
    run_job(VerifyConfig, argv, verify)


def verify(config: VerifyConfig) -> dict[str, object]:
    """Check a version.

    Returns:
        What was checked: parts, rows, bytes, canary rows and their lowest cosine.

    Raises:
        ValueError: naming every part that is damaged, and what is wrong with it.
    """
    began = time.monotonic()
    opened = open_store(config.location, config.version)
    damaged = dict(opened.faults())
    teacher = load_teacher_of(opened, config.teacher) if config.teacher else None
    lowest: list[float] = []
    for part in opened.parts:
        if part in damaged:
            continue
        table = parts.read(opened.path_of(part))
        fault = row_fault(table, part)
        if fault is None and teacher is not None and table.num_rows:
            target = target_of(opened, part, "verify")
            lowest.append(_canaries(table, teacher, target, config.canaries))
            if lowest[-1] < _AGREE[opened.fingerprint["dtype"]]:
                fault = f"the teacher gives another vector: cosine {lowest[-1]:.4f}"
        if fault is not None:
            damaged[part] = f"part {opened.path_of(part)}: {fault}"
    if damaged:
        raise ValueError(_complaint(opened, list(damaged.values())))
    return {
        "store": opened.location,
        "version": opened.version,
        "parts": len(opened.parts),
        "rows": opened.rows,
        "bytes": sum(part.size for part in opened.parts),
        "parts_compared_with_the_teacher": len(lowest),
        "lowest_cosine": min(lowest, default=None),
        "seconds": round(time.monotonic() - began, 2),
    }


def _canaries(table: pa.Table, teacher: Teacher, target: Target, count: int) -> float:
    """Lowest cosine between stored vectors and fresh ones, over rows spread over a part."""
    chosen = np.unique(np.linspace(0, table.num_rows - 1, count).astype(int))
    rows = table.take(pa.array(chosen)).combine_chunks()
    again = embed_again(rows, teacher, target)
    projections = target.projections()
    lowest = []
    for pooling in target.poolings:
        pair = (decode(one, pooling, projections.get(pooling)) for one in (rows, again))
        lowest.append(float(row_cosines(*pair).min()))
    return min(lowest)


def _complaint(opened: Store, faults: list[str]) -> str:
    listed = "\n  ".join(faults[:20])
    return (
        f"{len(faults)} of {len(opened.parts)} parts of {opened.location} at version "
        f"{opened.version} are damaged; `python -m pipelines store repair {opened.location} "
        f"--teacher ...` embeds them again:\n  {listed}"
    )
