"""A date -> its files, as they are now: there, not empty, and which ones."""

import dataclasses
import fnmatch
from collections.abc import Sequence

from pyarrow import fs

from schemas import parts
from schemas.command import redact


@dataclasses.dataclass(frozen=True)
class Partition:
    """The files of a date.

    Attributes:
        paths: sorted; empty if any of the patterns has no file yet.
        missing: the first pattern that has none.
        empty: the first file without a byte.
        bytes: of all files.
        identity: names and contents; that of a remote file is its size and time.
    """

    paths: tuple[str, ...]
    missing: str | None
    empty: str | None
    bytes: int
    identity: tuple[str, ...]


def find(patterns: Sequence[str], date: str) -> Partition:
    """Look for a date's files.

    Args:
        patterns: with {date} in them; the last name may have wildcards.
        date: checked.
    """
    found: dict[str, fs.FileInfo] = {}
    missing = None
    for pattern in patterns:
        matched = _match(pattern.replace("{date}", date))
        if not matched and missing is None:
            missing = redact(pattern.replace("{date}", date))
        found |= matched
    if missing is not None:
        return Partition((), missing, None, 0, ())
    paths = sorted(found)
    empty = next((redact(path) for path in paths if not found[path].size), None)
    identity = tuple(f"{found[path].base_name} {_content(path, found[path])}" for path in paths)
    return Partition(tuple(paths), None, empty, sum(found[p].size for p in paths), identity)


def _match(pattern: str) -> dict[str, fs.FileInfo]:
    folder, _, name = pattern.rpartition("/")
    files, where = parts.filesystem(folder)
    selector = fs.FileSelector(where, allow_not_found=True)
    return {
        f"{folder}/{one.base_name}": one
        for one in files.get_file_info(selector)
        if one.type == fs.FileType.File and fnmatch.fnmatchcase(one.base_name, name)
    }


def _content(path: str, info: fs.FileInfo) -> str:
    return f"{info.size} bytes of {info.mtime_ns}" if "://" in path else parts.sha256(path)
