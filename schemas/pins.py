"""Which versions of a store are still needed: students name the one that they were trained on.

A pin is a small JSON file in ``<store>.pins``; vacuuming keeps every pinned version.
"""

import dataclasses
import json
from pathlib import Path

from pyarrow import fs

from schemas import parts
from schemas.fingerprint import digest


@dataclasses.dataclass(frozen=True)
class Pin:
    """A version that somebody needs.

    Attributes:
        version: of the store.
        by: folder of the training or export that names it.
    """

    version: int
    by: str


def pin(location: str, version: int, by: Path) -> bool:
    """Keep a version from being vacuumed; doing it twice changes nothing.

    Returns:
        Whether it is pinned: a store that may only be read cannot be, and can still be trained on.
    """
    one = Pin(version, str(by.absolute()))
    folder = f"{location}.pins"
    try:
        parts.write_bytes(
            json.dumps(dataclasses.asdict(one)).encode(), folder, f"{digest(vars(one))}.json"
        )
        parts.tidy(folder)
    except OSError:
        return False
    return True


def pins(location: str) -> list[Pin]:
    """All pins of a store, by version."""
    files, folder = parts.filesystem(f"{location}.pins")
    found = files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    paths = [one.base_name for one in found if one.base_name.endswith(".json")]
    read = [Pin(**json.loads(parts.read_bytes(f"{location}.pins/{name}"))) for name in paths]
    return sorted(read, key=lambda one: (one.version, one.by))


def unpin(location: str, one: Pin) -> None:
    """Give a version up, as far as this student is concerned."""
    files, folder = parts.filesystem(f"{location}.pins")
    files.delete_file(f"{folder}/{digest(vars(one))}.json")
