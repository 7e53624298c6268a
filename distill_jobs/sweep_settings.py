"""A TOML file with a table of `train` flags for each student -> their trainings.

[defaults]
epochs = 1

[bilstm-small-learned]
student = "bilstm-small"
student_pooling = "learned"
"""

import os
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_jobs.train import TrainConfig

_OWN = ("store", "out", "plan")  # the sweep's to say
_NAME = re.compile(r"[\w.-]*\w[\w.-]*")  # it becomes a folder, and stands in tables and plots


def read_settings(path: Path, store: str, trainings: Path) -> dict[str, TrainConfig]:
    """The training of each student in a settings file.

    Args:
        path: of the file.
        store: that all are trained from.
        trainings: where each gets a folder of its name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the student, and the setting that is wrong.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    strays = [name for name, one in read.items() if not isinstance(one, dict)]
    if strays:
        raise ValueError(f"{path}: {strays[0]} must be a table of settings, or in [defaults]")
    defaults = read.pop("defaults", {})
    if not read:
        raise ValueError(f"{path} names no student")
    store = store if "://" in store else os.path.abspath(store)  # Ray's tasks may be elsewhere
    for name in read:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{path}: a name has letters, digits, dots, - and _, got {name!r}")
    return {
        name: _training(f"{path}, {name}", {**defaults, **own}, store, trainings / name)
        for name, own in read.items()
    }


def _training(where: str, settings: Mapping[str, Any], store: str, out: Path) -> TrainConfig:
    known = typing.get_type_hints(TrainConfig)
    for name in settings:
        if name not in known or name in _OWN:
            has = sorted(set(known) - set(_OWN))
            raise ValueError(f"{where}: train has no setting {name!r}; it has {', '.join(has)}")
    typed = {name: _typed(where, name, value, known[name]) for name, value in settings.items()}
    try:
        return TrainConfig(store=store, out=out, **typed)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _typed(where: str, name: str, value: object, kind: Any) -> Any:
    """A value as the setting wants it; TOML has no paths, and writes 1.0 as 1."""
    kinds = typing.get_args(kind) or (kind,)
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        wanted = " or ".join(one.__name__ for one in kinds if one is not type(None))
        raise ValueError(f"{where}: {name} must be {wanted}, got {value!r}")
    return value
