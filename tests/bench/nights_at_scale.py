"""What a night costs a store that has grown for many nights: open, anti-join, commit.

    python -m tests.bench.nights_at_scale --out work/scale --parts 100 1000 10000 --nights 100

Real: the measured nights' commits go through `schemas.store.commit` into a Delta log, every open
reads that log, and one part of every night is a real part, whose keys the anti-join reads. Made up:
the other parts are sparse files of the right size without content (they are only asked for their
size), a vector is one number, and the entries of the nights between are written straight into the
log. No sentence is prepared or embedded, and no part is digested. Every cell is measured in a
process of its own; a million parts take 1 GB of disk. Prints a Markdown table.
"""

import dataclasses
import gc
import hashlib
import json
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tyro

from pipelines.blocks import id_range, pack
from pipelines.known import Known, new_sentences
from pipelines.sentences import SENTENCES
from schemas import delta, parts, store, tables
from schemas.commits import Change, write_commit
from schemas.parts import Part

ROWS = 32_768  # of a part, as --rows-per-part has it
ROW_BYTES = 1100  # of a row with a vector of 256 float32 (docs/measured.md, storage formats)
SCHEMA = tables.teacher_schema(("idf",), 1, text=False)
COLUMNS = {
    "parts a night": "parts",
    "night": "night",
    "parts in all": "held",
    "log, MB": "log_mb",
    "of the night": "entry_mb",
    "driver opens, s (processor)": "plan_seconds",
    "peak MB": "plan_mb",
    "first partition, s (processor)": "first_seconds",
    "next, s (processor)": "next_seconds",
    "parts read": "read",
    "worker's peak MB": "worker_mb",
    "commit, s (processor)": "commit_seconds",
    "its peak MB": "commit_mb",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NightsAtScaleConfig:
    """Let stores grow night by night, and measure some nights."""

    out: Path
    """Folder for the stores; one that is there already grows on."""
    parts: tuple[int, ...] = (100, 1000)
    """Parts that each night adds, a store for each number; also the number of partitions."""
    nights: int = 25
    """Nights that each store has in the end."""
    shown: tuple[int, ...] = (1, 10, 25, 50, 100)
    """Nights that are measured."""


def main(config: NightsAtScaleConfig) -> None:
    """Grow, measure and print."""
    config.out.mkdir(parents=True, exist_ok=True)
    nothing = alone(len, "")
    sys.stdout.write(f"A process that only imports: {nothing['mb']:,} MB.\n\n")
    sys.stdout.write(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n")
    for count in config.parts:
        location = str(config.out / f"store-{count}")
        for night in range(nights_of(location), config.nights):
            if night + 1 in config.shown:
                row = measure(location, night, count)
                sys.stdout.write(f"| {' | '.join(row)} |\n")
                sys.stdout.flush()
            else:
                append_night(location, night, write_night(location, night, count))


def measure(location: str, night: int, count: int) -> list[str]:
    """One row: a night's open, anti-join and commit, on top of the nights before it."""
    plan: dict[str, Any] = {"seconds": "", "mb": "", "said": None}
    first = plan
    if night:
        plan = alone(plan_night, location)
        first = alone(join_twice, location, night - 1, count)
    added = write_night(location, night, count)
    committed = alone(commit_night, location, night, added)
    entries = sorted(Path(location, "_delta_log").glob("*.json"))
    said = first["said"] or {"first": "", "next": "", "read": ""}
    values = {
        "parts": count,
        "night": night + 1,
        "held": count * (night + 1),
        "log_mb": sum(path.stat().st_size for path in Path(location, "_delta_log").iterdir()) / 1e6,
        "entry_mb": entries[-1].stat().st_size / 1e6,
        "plan_seconds": plan["seconds"],
        "plan_mb": plan["mb"],
        "first_seconds": said["first"],
        "next_seconds": said["next"],
        "read": said["read"],
        "worker_mb": first["mb"],
        "commit_seconds": committed["seconds"],
        "commit_mb": committed["mb"],
    }
    shown = (values[name] for name in COLUMNS.values())
    return [_told(one) for one in shown]


def _told(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def alone(function: Any, *arguments: Any) -> dict[str, Any]:
    """Call a function in a process of its own: what it said, seconds, peak memory in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_timed, (function, arguments))


def _timed(function: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    gc.collect()
    said, seconds = clocked(function, *arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"said": said, "seconds": seconds, "mb": peak}


def clocked(function: Any, *arguments: Any) -> tuple[Any, str]:
    """What a function gives, and its wall and processor seconds: a busy machine moves the first."""
    began = time.perf_counter(), time.process_time()
    said = function(*arguments)
    wall, processor = time.perf_counter() - began[0], time.process_time() - began[1]
    return said, f"{wall:,.2f} ({processor:,.2f})"


def plan_night(location: str) -> None:
    """What the driver asks before it submits anything, but for digests of parts."""
    assert store.exists(location)
    store.open_store(location, expected=fingerprint())
    assert store.committed(location, "of this night") is None


def join_twice(location: str, version: int, count: int) -> dict[str, Any]:
    """A worker that is handed two partitions: here the same one twice, the one with real parts."""
    arguments = [sentences(location, count)], watched(count), count, Known(location, version)
    taken = []
    for _ in range(2):
        (rows, counts), seconds = clocked(new_sentences, *arguments)
        taken.append(seconds)
        assert counts["reused"] == ROWS // 10, counts
        assert rows.num_rows == ROWS - ROWS // 10
    return {"first": taken[0], "next": taken[1], "read": version + 1}


def commit_night(location: str, night: int, added: list[Part]) -> int:
    """As the teacher job's last step."""
    full = SCHEMA.append(tables.INGEST_DATE)
    return store.commit(
        location,
        full,
        added,
        run_id=f"night-{night}",
        fingerprint=fingerprint(),
        summary={"job": "bench"},
        after=night - 1,
    )


def append_night(location: str, night: int, added: list[Part]) -> None:
    """A night that is not measured: its entry as delta-rs writes it, without reading the others."""
    about = (f"night-{night}", fingerprint(), {"job": "bench"})
    said = write_commit(Change(None, tuple(added), *about))
    lines: list[dict[str, object]] = [{"commitInfo": {"timestamp": night, **said}}]
    for part in added:
        action = {
            "path": part.path,
            "partitionValues": {tables.INGEST_DATE.name: part.date},
            "size": part.size,
            "modificationTime": 0,
            "dataChange": True,
            "stats": json.dumps({"numRecords": part.rows}),
        }
        nothing = ("tags", "baseRowId", "defaultRowCommitVersion", "clusteringProvider")
        lines.append({"add": {**action, **dict.fromkeys(nothing)}})
    lines.append({"txn": {"appId": f"night-{night}", "version": 1}})
    entry = Path(location, "_delta_log", f"{night:020d}.json")
    entry.write_text("\n".join(json.dumps(line, separators=(",", ":")) for line in lines))


def nights_of(location: str) -> int:
    """Nights that a store has had; not opened, since children inherit this process's peak."""
    return delta.version(location) + 1


def write_night(location: str, night: int, count: int) -> list[Part]:
    """A night's parts: one real, the others sparse files."""
    date = np.datetime64("2026-01-01") + night
    folder = f"{tables.INGEST_DATE.name}={date}"
    Path(location, folder).mkdir(parents=True, exist_ok=True)
    return [
        write_part(location, folder, night, count)
        if index == watched(count)
        else fake_part(location, folder, index, count)
        for index in range(count)
    ]


def fake_part(location: str, folder: str, index: int, count: int) -> Part:
    """A part that has everything but content."""
    low, high = id_range(index, count)
    name = hashlib.sha256(f"{folder}/{index}".encode()).hexdigest()
    path = f"{folder}/part-{index:05d}-{name[:16]}-{name[16:24]}.parquet"
    size = ROWS * ROW_BYTES + index % 1000
    with Path(location, path).open("wb") as file:
        os.truncate(file.fileno(), size)
    return Part(path, ROWS, size, name, low, high)


def write_part(location: str, folder: str, night: int, count: int) -> Part:
    """A real part, with the ids of the watched partition; all but the ids is made up."""
    one = pa.ListArray.from_arrays(np.arange(ROWS + 1, dtype=np.int32), np.ones(ROWS, np.float32))
    columns = {
        "sentence_id": [key.hex() for key in ids(night, count)],
        "source": ["bench"] * ROWS,
        "n_tokens": np.ones(ROWS, np.int32),
        "token_ids": pa.ListArray.from_arrays(one.offsets, np.ones(ROWS, np.int32)),
        "weights": one,
        "vector_idf": one,
        "norm": np.ones(ROWS, np.float32),
    }
    arrays = [
        pa.array(value).cast(field.type)
        for value, field in zip(columns.values(), SCHEMA, strict=True)
    ]
    path = f"{folder}/part-{watched(count):05d}-0123456789abcdef-*.parquet"
    return parts.write(pa.table(arrays, schema=SCHEMA), location, path)


def watched(count: int) -> int:
    """The partition whose parts are real."""
    return count // 2


def ids(night: int, count: int) -> list[bytes]:
    """Ids of the watched partition, sorted; other ones each night."""
    low, high = (int(key[:8], 16) for key in id_range(watched(count), count))
    random = np.random.default_rng([night, count])
    starts = random.integers(low, high, ROWS, endpoint=True).tolist()
    return sorted(start.to_bytes(4) + random.bytes(12) for start in starts)


def sentences(location: str, count: int) -> bytes:
    """A block as a reader sends it: sentences of the watched partition, one in ten known."""
    mixed = ids(0, count)[: ROWS // 10] + ids(1_000_000, count)[ROWS // 10 :]
    texts = [f"第{number}句" for number in range(ROWS)]
    columns = [mixed, texts, ["bench"] * ROWS, list(range(ROWS))]
    return pack(pa.table(columns, schema=SENTENCES))


def fingerprint() -> dict[str, str]:
    """Of the same size as the teacher job's."""
    return {f"condition-{number}": f"{number:064x}" for number in range(12)}


if __name__ == "__main__":
    main(tyro.cli(NightsAtScaleConfig))
