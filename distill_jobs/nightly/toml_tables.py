"""A table of a TOML file -> a dataclass, strictly: names and types are checked, and told."""

import dataclasses
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

Read = TypeVar("Read")


def read_table(where: str, table: Mapping[str, Any], kind: type[Read]) -> Read:
    """Fill a dataclass from a table.

    Args:
        where: file and table, for messages.
        table: as `tomllib` read it.
        kind: the dataclass.

    Raises:
        ValueError: naming what is unknown, missing, or not as it must be.
    """
    values = typed_values(where, table, kind)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        has_none = field.default_factory is dataclasses.MISSING
        if field.default is dataclasses.MISSING and has_none and field.name not in values:
            raise ValueError(f"{where}: {field.name} is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def typed_values(
    where: str, table: Mapping[str, Any], kind: type, own: Collection[str] = ()
) -> dict[str, Any]:
    """The values of a table as the fields of a dataclass want them.

    Args:
        where: file and table, for messages.
        table: as `tomllib` read it.
        kind: the dataclass.
        own: its fields that the file may not set.

    Raises:
        ValueError: for an unknown name, or a value of another type.
    """
    hints = {name: hint for name, hint in typing.get_type_hints(kind).items() if name not in own}
    for name in table:
        if name not in hints:
            raise ValueError(f"{where} has no setting {name!r}; it has {', '.join(sorted(hints))}")
    return {name: _typed(where, name, value, hints[name]) for name, value in table.items()}


def _typed(where: str, name: str, value: object, hint: Any) -> Any:
    """TOML has no paths and no tuples, and writes 1.0 as 1."""
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        items = value if isinstance(value, list) else [value]
        return tuple(_typed(where, name, one, item) for one in items)
    union = isinstance(hint, types.UnionType)
    kinds = [one for one in typing.get_args(hint) if one is not types.NoneType] if union else [hint]
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        wanted = " or ".join("str" if one is Path else one.__name__ for one in kinds)
        raise ValueError(f"{where}: {name} must be {wanted}, got {value!r}")
    return value
