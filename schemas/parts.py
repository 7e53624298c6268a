"""One Parquet file: written whole or not at all, and checked when it is read.

A location is a local path or a URL of a file system that pyarrow knows (``s3://``, ``gs://``, ...).
"""

import contextlib
import dataclasses
import hashlib
import os
import uuid
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from schemas.footer import refuse_extensions

_TRIES = 10
ROW_GROUP = 2048  # rows; the unit in which training shuffles and seeks
LARGEST_ROW_GROUP = 1 << 20  # 1 MB of Parquet can hold 200 million rows, and 1.6 GB when it is read


@dataclasses.dataclass(frozen=True)
class Part:
    """What is known of a part: enough to commit it and to notice any change to it.

    Attributes:
        path: relative to the table's folder.
        rows: number of rows.
        size: in bytes.
        sha256: of the file's bytes, hexadecimal.
        first: smallest key (first column), None if the part is empty.
        last: largest key.
    """

    path: str
    rows: int
    size: int
    sha256: str
    first: str | None
    last: str | None

    @property
    def date(self) -> str | None:
        """Value of the partition that it lies in, YYYY-MM-DD; None if there are no partitions."""
        folder = self.path.rpartition("/")[0]
        return folder.partition("=")[2] or None


def filesystem(location: str | Path) -> tuple[fs.FileSystem, str]:
    """The file system of a location, and the path in it."""
    if "://" in str(location):
        opened, path = fs.FileSystem.from_uri(str(location))
        return opened, path.rstrip("/")
    return fs.LocalFileSystem(), os.path.abspath(location)


def join(location: str | Path, *names: str) -> str:
    """Append names to a location."""
    return "/".join([str(location).rstrip("/"), *names])


def write(table: pa.Table, root: str | Path, path: str, row_group: int = ROW_GROUP) -> Part:
    """Write a table, sorted by its first column, as one immutable part.

    The bytes depend only on the table and on the pyarrow version. A reader sees the whole file or
    none: local files are renamed into place, object stores publish on close.

    Args:
        table: sorted by its first column, which is a string.
        root: the table's folder; temporary files go beside it, never into it.
        path: of the part, relative to the root; a ``*`` in it becomes 8 digits of the content's
            sha256, so that tries whose numbers are rounded otherwise never write the same file.
        row_group: rows in a row group.
    """
    sink = pa.BufferOutputStream()
    strings = [field.name for field in table.schema if pa.types.is_string(field.type)]
    # A dictionary on vectors of floats costs threefold at reading. On int8 it saves a third of the
    # bytes and reads 1.7 times as fast, since Parquet's plain int8 takes 4 bytes (2026-11-21).
    # Page checksums turn silent bit flips (36 of 36 unnoticed without them) into errors.
    pq.write_table(
        table,
        sink,
        row_group_size=row_group,
        compression="zstd",
        use_dictionary=[
            *(name for name in strings if name not in ("sentence_id", "word", "text")),
            *(f"{field.name}.list.element" for field in table.schema if _holds_int8(field.type)),
        ],
        write_statistics=strings,
        write_page_checksum=True,
    )
    content = sink.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    path = path.replace("*", sha256[:8])
    write_bytes(content, root, path)
    key = table.column(0)
    first, last = (key[0].as_py(), key[-1].as_py()) if table.num_rows else (None, None)
    return Part(path, table.num_rows, content.size, sha256, first, last)


def _holds_int8(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) and pa.types.is_int8(type.value_type))


def write_bytes(content: bytes | pa.Buffer, root: str | Path, path: str) -> None:
    """Publish a file at once and durably under a folder."""
    files, folder = filesystem(root)
    target = f"{folder}/{path}"
    if not isinstance(files, fs.LocalFileSystem):
        with files.open_output_stream(target) as stream:
            stream.write(content)
        return
    staging = Path(folder if ".staging/" in folder else f"{folder}.staging")
    _make_folder(Path(target).parent)
    opened = _open_aside(staging)
    temporary = Path(opened.name)
    try:
        with opened as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
        sync(Path(target).parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        size = content.size if isinstance(content, pa.Buffer) else len(content)
        # The error of a write does not say what was written.
        raise OSError(
            error.errno, f"{error.strerror}, while writing {size:,} bytes", target
        ) from error


def read(location: str | Path, columns: list[str] | None = None) -> pa.Table:
    """Read a whole part, with page checksums verified."""
    with open_part(location) as part:
        table: pa.Table = part.read(columns=columns, use_threads=False)
    return table


def open_part(location: str | Path, *, memory_map: bool = False) -> pq.ParquetFile:
    """Open a part for reading by row groups; extension types and swollen footers are refused.

    Raises:
        OSError: if it is not there.
        ValueError: if it is no Parquet, or a row group is larger than any of ours.
    """
    files, path = filesystem(location)
    with files.open_input_file(path) as file:
        refuse_extensions(file, str(location))
    opened = pq.ParquetFile(
        path,
        filesystem=files,
        memory_map=memory_map,
        page_checksum_verification=True,
        arrow_extensions_enabled=False,
        thrift_string_size_limit=16 << 20,
        thrift_container_size_limit=1 << 20,
    )
    groups = range(opened.metadata.num_row_groups)
    rows = max((opened.metadata.row_group(group).num_rows for group in groups), default=0)
    if rows > LARGEST_ROW_GROUP:
        opened.close()
        raise ValueError(f"{location} has a row group of {rows:,} rows: it is no part of ours")
    return opened


def sha256(location: str | Path) -> str:
    """Digest of a file's bytes, read in pieces."""
    files, path = filesystem(location)
    digest = hashlib.sha256()
    with files.open_input_stream(path) as stream:
        while piece := stream.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def exists(location: str | Path) -> bool:
    """Whether there is a file or folder at a location."""
    files, path = filesystem(location)
    return bool(files.get_file_info(path).type != fs.FileType.NotFound)


def _open_aside(staging: Path) -> BinaryIO:
    """Begin a file in a staging folder, which other runs tidy away for as long as it is empty."""
    for attempt in range(_TRIES):
        _make_folder(staging)
        try:
            return (staging / f"{uuid.uuid4().hex}.tmp").open("wb")
        except FileNotFoundError:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _make_folder(folder: Path) -> None:
    """Create a folder with its parents, so that it survives a power cut."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(path: str | Path) -> None:
    """Make what a file holds, or a folder lists, survive a power cut.

    Raises:
        OSError: naming the path.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def leads_out(root: str | Path, path: str) -> bool:
    """Whether a path under a folder is, or goes through, a link to somewhere outside it."""
    if "://" in str(root):
        return False
    real = os.path.realpath(root)
    return os.path.commonpath([real, os.path.realpath(join(real, path))]) != real


def check_writable(location: str | Path) -> None:
    """Find out before the work, not after it, whether a table's folder can be written.

    Raises:
        OSError: naming the location, if it is a file, or its parents cannot be written.
    """
    if "://" in str(location):
        return
    folder = Path(f"{os.path.abspath(location)}.staging")
    if Path(location).is_file():
        raise FileExistsError(f"{location} is a file; a table needs a folder of its own")
    with _open_aside(folder) as probe:
        Path(probe.name).unlink()


def size(location: str | Path) -> int | None:
    """Bytes of a file; None if there is none."""
    files, path = filesystem(location)
    found = files.get_file_info(path)
    return int(found.size) if found.type == fs.FileType.File else None


def tidy(location: str | Path) -> None:
    """Remove a table's staging folder if nothing is left in it."""
    if "://" not in str(location):
        # It is not there, or another run writes in it: only an empty folder can be removed so.
        with contextlib.suppress(OSError):
            Path(f"{location}.staging").rmdir()


def read_bytes(location: str | Path) -> bytes:
    """The content of a small file."""
    files, path = filesystem(location)
    with files.open_input_stream(path) as stream:
        content: bytes = stream.read()
    return content


def remove_folder(location: str | Path) -> None:
    """Delete a folder and all in it, if it is there."""
    if exists(location):
        files, path = filesystem(location)
        files.delete_dir(path)
