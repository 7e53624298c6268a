"""The folder of an export: made whole, found again, read, its preparer copied.

For every job that writes one or goes on from one: `export`, `compress`, `tune`,
`sentence-transformers`.
"""

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch

from distill_jobs.backends import FILES
from distill_jobs.encoder import read_card
from distill_jobs.student import Student, fill
from distill_jobs.student_config import StudentConfig
from schemas import store
from schemas.fingerprint import read_sealed
from schemas.pins import pin
from schemas.prepare import PREPARER_FILES


@contextmanager
def aside(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` if all goes well."""
    folder = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    folder.mkdir(parents=True)
    try:
        yield folder
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def held(out: Path, export_id: str) -> dict[str, Any] | None:
    """The card of the very result that a folder holds already, None if there is no folder.

    Weights of backends that are not used may be left out of it, but not all of them.

    Raises:
        FileExistsError: if it holds something else.
        ValueError: if the card or the weights have changed, or there are none.
    """
    if not out.exists():
        return None
    if _export_id(out / "config.json") != export_id:
        raise FileExistsError(f"{out} holds something else; give another --out")
    try:
        card = read_card(out)
    except ValueError as error:
        raise ValueError(f"{error}: delete {out}") from error
    names = [FILES[one] for one in ("torch", *card.get("backends", {}))]
    if not any((out / name).is_file() for name in names):
        raise ValueError(f"{out} has none of its weights ({', '.join(names)}): delete {out}")
    return card


def _export_id(path: Path) -> object:
    """What the card in a file says, None if it is no card."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return card.get("export_id") if isinstance(card, dict) else None


def pin_store(location: str, version: int, out: Path) -> bool:
    """Keep the version of the store that a student was trained on, if the store is in reach.

    Returns:
        Whether it is pinned.
    """
    try:
        return store.exists(location) and pin(location, version, out)
    except OSError:
        return False


def load_student(folder: Path, card: Mapping[str, Any]) -> Student:
    """The student of an export, on the CPU.

    Args:
        folder: of the export.
        card: from `read_card`, which has checked the weights.

    Raises:
        FileNotFoundError: if its weights for torch were left out.
        ValueError: if they are those of another shape.
    """
    path = folder / FILES["torch"]
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {path.name}, which this needs")
    student = Student(StudentConfig(**card["student_config"])).eval()
    fill(student, safetensors.torch.load_file(path), of=str(path))
    return student


def copy_preparer(source: Path, folder: Path) -> None:
    """Copy what turns sentences into tokens and weights.

    Raises:
        ValueError: if it names a file that no preparer has, such as one outside the folder.
    """
    path = source / "preparer.json"
    names = list(read_sealed(path)["sha256"])
    for name in names:
        if name not in PREPARER_FILES:
            raise ValueError(f"{path} names {name!r}, which is no file of a preparer")
    for name in (path.name, *names):
        shutil.copy(source / name, folder / name)
