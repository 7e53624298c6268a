"""What a table was made from, as named parts; two tables with different parts never mix."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Fingerprint = Mapping[str, str]


def check_same(found: Fingerprint, expected: Fingerprint, *, of: str) -> None:
    """Refuse to go on when two fingerprints differ.

    Args:
        found: the fingerprint of the thing at hand.
        expected: what the caller was made for.
        of: what the thing is, for the message.

    Raises:
        ValueError: naming every part that differs, with both values.

    >>> check_same({"tokenizer": "a1"}, {"tokenizer": "b2"}, of="the store 'vectors'")
    Traceback (most recent call last):
    ...
    ValueError: the store 'vectors' was made under other conditions: tokenizer is 'a1', wanted 'b2'
    """
    names = sorted(found.keys() | expected.keys())
    differing = [name for name in names if found.get(name) != expected.get(name)]
    if differing:
        parts = "; ".join(
            f"{name} is {found.get(name)!r}, wanted {expected.get(name)!r}" for name in differing
        )
        raise ValueError(f"{of} was made under other conditions: {parts}")


def digest(fingerprint: object) -> str:
    """Name any JSON value in 16 hexadecimal digits."""
    canonical = json.dumps(fingerprint, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def seal(content: Mapping[str, object]) -> dict[str, object]:
    """Add a digest to the content of a JSON file, so that `read_sealed` notices a changed byte."""
    return {**content, "digest": digest(content)}


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON file whose content was sealed.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it has changed since it was written.
    """
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content = {name: value for name, value in found.items() if name != "digest"}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} has changed since it was written: {error}") from error
    if found.get("digest") not in (None, digest(content)):
        raise ValueError(f"{path} has changed since it was written")
    return found


def file_digest(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(folder: Path, names: Sequence[str]) -> str:
    """One digest, 16 hexadecimal digits, over the named files that a folder has."""
    paths = [folder / name for name in names if (folder / name).is_file()]
    return digest({path.name: file_digest(path) for path in paths})
