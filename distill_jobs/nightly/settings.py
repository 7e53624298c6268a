"""The settings file of nightly retraining: TOML -> frozen dataclasses; see deploy/nightly.toml.

Relative paths are relative to the file.
"""

import dataclasses
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_jobs.nightly import dates
from distill_jobs.nightly.gate import GateRules
from distill_jobs.nightly.toml_tables import read_table, typed_values
from distill_jobs.train import TrainConfig

_OWN = ("store", "out", "plan", "store_version", "warm_start", "pooling")  # the night's to say
_TABLES = ("train", "first", "gate", "evaluate")
_LOCATIONS = ("home", "store", "idf", "tasks", "labelled", "corpus", "user_dictionary")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How champion and challenger are compared; see `distill_jobs.evaluate`."""

    sets: tuple[str, ...] = ()
    """Only these sets of the folder; all if none is named."""
    max_rows: int = 4000
    """Rows of a test split."""
    budgets: tuple[int, ...] = (100, 1000)
    """Numbers of labels for probes."""
    seed: int = 0
    """Of every draw."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything but the tables for training and the gate."""

    home: Path
    """Folder of nights, students and the champion."""
    corpus: tuple[str, ...]
    """A day's files, with {date} in them; the last name may have wildcards."""
    teacher: str
    """Folder of the teacher, or its name on the hub."""
    idf: str
    """The pinned IDF table."""
    store: str
    """The teacher store that grows."""
    tasks: Path
    """Folder of labelled sets."""
    labelled: str
    """Teacher store of the labelled sentences."""
    fields: tuple[str, ...] = ("text",)
    """Text fields of jsonl, tsv and Parquet records."""
    pooling: str = "idf"
    """Which of the store's vectors students learn."""
    user_dictionary: Path | None = None
    """The user dictionary that the IDF table was made with."""
    teacher_flags: tuple[str, ...] = ()
    """Further flags of `python -m pipelines teacher`."""
    runner_options: tuple[str, ...] = ()
    """Beam's own options, for both pipelines."""
    max_bad_fraction: float = 0.01
    """A partition with a larger share of bad records is rejected."""
    timezone: str = "UTC"
    """Whose days the dates are, an IANA name."""
    late_hours: float = 6.0
    """How long after the end of its day a partition may come; until then the exit code is 75."""
    wait_minutes: float = 60.0
    """How long to wait for another night that is running; then the exit code is 75."""
    keep: int = 5
    """Promoted students to keep."""

    def __post_init__(self) -> None:
        """Reject settings that cannot work."""
        dates.zone_of(self.timezone)
        _check_corpus(self.corpus)
        if self.keep < 2:
            raise ValueError(f"keep must be at least 2, for rollback, got {self.keep}")
        if not 0 <= self.max_bad_fraction <= 1:
            raise ValueError(f"max_bad_fraction must be 0 to 1, got {self.max_bad_fraction}")
        for name in ("late_hours", "wait_minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NightlySettings(Settings):
    """A settings file.

    Attributes:
        train: flags of `distill_jobs train`.
        first: flags that differ where there is no champion to begin from.
        evaluation: how students are compared.
        gate: when a challenger is promoted.
    """

    train: Mapping[str, Any]
    first: Mapping[str, Any]
    evaluation: Evaluation
    gate: GateRules


def read_settings(path: Path) -> NightlySettings:
    """Read a settings file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the setting that is wrong, and its value.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    tables = {name: read.pop(name, {}) for name in _TABLES}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {name} must be a table, got {table!r}")
    plain = read_table(str(path), {**read, **_placed(read, path.parent)}, Settings)
    train, first = (_flags(f"{path}, [{name}]", tables[name], tables) for name in _TABLES[:2])
    return NightlySettings(
        **vars(plain),
        train=train,
        first=first,
        gate=read_table(f"{path}, [gate]", tables["gate"], GateRules),
        evaluation=read_table(f"{path}, [evaluate]", tables["evaluate"], Evaluation),
    )


def _check_corpus(patterns: Sequence[str]) -> None:
    if not patterns:
        raise ValueError("corpus must name at least one file, got []")
    for pattern in patterns:
        folder, _, name = pattern.rpartition("/")
        if "{date}" not in pattern or re.search(r"[{}]", pattern.replace("{date}", "")):
            raise ValueError(f"corpus must have {{date}} in it, and no other {{}}, got {pattern!r}")
        if set("*?[") & set(folder):
            raise ValueError(f"only the last name of corpus may have wildcards, got {pattern!r}")
        if not name:
            raise ValueError(f"corpus must name files, not a folder, got {pattern!r}")


def _placed(read: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The locations, absolute; a teacher is one only if it is there, else a name on the hub."""
    root = os.path.abspath(folder)

    def place(value: Any) -> Any:
        if isinstance(value, list):
            return [place(one) for one in value]
        known = isinstance(value, str) and "://" not in value
        return os.path.normpath(os.path.join(root, value)) if known else value

    found = {name: place(read[name]) for name in _LOCATIONS if name in read}
    teacher = place(read.get("teacher"))
    if isinstance(teacher, str) and os.path.isdir(teacher):
        found["teacher"] = teacher
    return found


def _flags(where: str, table: Mapping[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    """Flags of the training, checked together with those that they stand beside."""
    values = typed_values(where, table, TrainConfig, _OWN)
    beside = typed_values(where, {**tables["train"], **table}, TrainConfig, _OWN)
    try:
        TrainConfig(store="", out=Path(), **beside)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return values
