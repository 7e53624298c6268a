"""The files that a run reads: as they were at its planning, and whether they still are so."""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

from schemas.code_version import code_version
from schemas.command import redact
from schemas.fingerprint import file_digest

_THREADS = 8  # a digest goes at 0.95 GB/s a core, and lets go of the interpreter lock


@dataclasses.dataclass(frozen=True)
class InputFile:
    """An input file as it was when the run was planned.

    Attributes:
        path: as Beam opens it.
        size: in bytes.
        modified: time of its last change, in seconds since 1970.
        sha256: of its bytes, hexadecimal; None for whatever is not a local regular file.
    """

    path: str
    size: int
    modified: float
    sha256: str | None

    @property
    def identity(self) -> tuple[str, str]:
        """Its name without folder, and what it holds: a copied or touched file stays the same."""
        name = redact(self.path).rsplit("/", 1)[-1]
        return name, self.sha256 or f"{self.size} bytes of {self.modified}"


def find_files(patterns: Sequence[str]) -> tuple[InputFile, ...]:
    """Match the patterns, each file once, and digest the local ones.

    Raises:
        FileNotFoundError: if a pattern matches no file.
        OSError: naming a file that cannot be read.
    """
    found: dict[str, FileMetadata] = {}
    for pattern in patterns:
        # One at a time: of several, Beam asks the first one's file system for all.
        (match,) = FileSystems.match([pattern])
        if not match.metadata_list:
            raise FileNotFoundError(f"no file matches {pattern!r}")
        found |= {metadata.path: metadata for metadata in match.metadata_list}
    with ThreadPoolExecutor(_THREADS) as threads:
        return tuple(threads.map(_input_file, [found[path] for path in sorted(found)]))


def check_unchanged(files: Sequence[InputFile]) -> None:
    """Compare the files with what they were at planning.

    A table made from a file that changed meanwhile would hold some of the old and some of the new.

    Raises:
        ValueError: naming a file that changed or is gone.
    """
    with ThreadPoolExecutor(_THREADS) as threads:
        for file, changed in zip(files, threads.map(_changed, files), strict=True):
            if changed:
                raise ValueError(f"{file.path} changed during the run; run it again")


def provenance(files: Sequence[InputFile]) -> dict[str, object]:
    """What a commit says of where its rows come from: the input files and the code."""
    inputs = [{"file": redact(one.path), "bytes": one.size, "sha256": one.sha256} for one in files]
    return {"inputs": inputs, "code": code_version()}


def _input_file(found: FileMetadata) -> InputFile:
    # A pipe is no regular file: who reads it for a digest takes the lines from the run.
    try:
        sha256 = file_digest(Path(found.path)) if os.path.isfile(found.path) else None
    except OSError as error:
        # Plainly an OSError: a PermissionError would say that the output cannot be created.
        raise OSError(f"{found.path} cannot be read: {error}") from error
    return InputFile(found.path, found.size_in_bytes, found.last_updated_in_seconds, sha256)


def _changed(file: InputFile) -> bool:
    if file.sha256 is None and "://" not in file.path:
        return False  # a pipe has no size, and its time is that of the last write
    files = FileSystems.get_filesystem(file.path)
    try:
        now = files.metadata(file.path)
    except OSError:
        if files.exists(file.path):
            raise
        return True
    if now.size_in_bytes != file.size:
        return True
    if now.last_updated_in_seconds == file.modified:
        return False
    return file.sha256 is None or file_digest(Path(file.path)) != file.sha256
