"""Which code ran: the package's version, and a digest over its sources."""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from schemas.fingerprint import digest, file_digest

_PACKAGES = ("schemas", "pipelines", "distill_jobs")


@functools.cache
def code_version() -> str:
    """The version and 12 hexadecimal digits of the sources: ``0.1.0+5f0c2e6d9a41``.

    The version alone would be the same for all states of a checkout.
    """
    try:
        version = importlib.metadata.version("ltd-bert")
    except importlib.metadata.PackageNotFoundError:
        version = "unpackaged"  # run from a folder that was never installed
    # A package is looked up, not imported: a store is written where Ray is not installed.
    found = [importlib.util.find_spec(name) for name in _PACKAGES]
    folders = [spec.submodule_search_locations for spec in found if spec is not None]
    return f"{version}+{sources_digest([Path(each[0]) for each in folders if each])}"


def sources_digest(folders: Sequence[Path]) -> str:
    """One digest, 12 hexadecimal digits, over all .py files in the folders and below."""
    return digest(
        {
            f"{folder.name}/{path.relative_to(folder).as_posix()}": file_digest(path)
            for folder in folders
            for path in folder.rglob("*.py")
        }
    )[:12]
