"""The end of a Parquet file, looked at before pyarrow reads it.

pyarrow brings an extension type to life as soon as it opens a file, with the code of whoever
registered the type, and some of that code unpickles what the file says (CVE-2026-41486,
GHSA-whgc-7wqm-hx2r). ``arrow_extensions_enabled=False`` does not prevent it (pyarrow 25.0.1).
"""

import base64
import io
from typing import Protocol

_MAGIC = b"PAR1"
_EXTENSION = b"ARROW:extension:name"


class Seekable(Protocol):
    """What Python's files and pyarrow's have in common."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...  # noqa: D102

    def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102


def refuse_extensions(file: Seekable, name: str) -> None:
    """Look for an extension type in a file; it is left at its start.

    Args:
        file: Parquet; whatever else it is, pyarrow will say.
        name: of the file, for the message.

    Raises:
        ValueError: if there is one.
    """
    size = file.seek(0, io.SEEK_END)
    tail = b""
    if size >= 8:
        file.seek(size - 8)
        tail = file.read(8)
    if tail[4:] == _MAGIC:
        length = min(int.from_bytes(tail[:4], "little"), size - 8)
        file.seek(size - 8 - length)
        footer = file.read(length)
        if any(one in footer for one in _in_base64(_EXTENSION)):
            raise ValueError(f"{name} has an extension type, which could run code: write it plain")
    file.seek(0)


def _in_base64(text: bytes) -> list[bytes]:
    """What a text looks like inside of base64, as which the footer holds Arrow's schema.

    >>> alignments = enumerate(_in_base64(b"secret"))
    >>> [one in base64.b64encode(b"x" * shift + b"secret") for shift, one in alignments]
    [True, True, True]
    """
    found = []
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + text + bytes(3))
        found.append(encoded[-(-8 * shift // 6) : 8 * (shift + len(text)) // 6])
    return found
