"""A disk that can be made small, large again, and read-only."""

import errno
import functools
import io
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


class SmallDisk:
    """A file system of its own where we may mount one, else a limit on the size of files.

    Attributes:
        folder: where it is.
        limit: bytes that a child may write to one file, for `limit_files`; None if it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.limit: int | None = None
        command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
        may = os.geteuid() == 0 and shutil.which("mount") is not None
        self._mounted = may and subprocess.run(command, check=False).returncode == 0

    def resize(self, kibibytes: int) -> None:
        """Leave about this much room in all; where only files are limited, a 16th for each."""
        if self._mounted:
            self._remount(f"size={kibibytes}k")
        else:
            self.limit = kibibytes * 1024 // 16

    def read_only(self) -> Callable[[], None]:
        """Let nobody write; gives what a child has to call first."""
        if self._mounted:
            self._remount("ro")
        else:
            self.folder.chmod(0o555)
        if not self._mounted and os.geteuid() == 0:  # whom no permission stops
            return functools.partial(refuse_writes, str(self.folder))
        return nothing

    def used(self) -> int:
        """Kibibytes in use."""
        files = [path.stat().st_blocks for path in self.folder.rglob("*") if path.is_file()]
        return sum(files) // 2

    def end(self) -> None:
        """Take it away."""
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)
        else:
            self.folder.chmod(0o755)

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)


def nothing() -> None:
    """Do nothing."""


def refuse_writes(folder: str) -> None:
    """In a child: be told that a folder is on a read-only file system."""

    def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *others: Any, **named: Any) -> Any:
            if str(path).startswith(folder):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return function(path, *others, **named)

        return refuse

    os.mkdir, io.open = refusing(os.mkdir), refusing(io.open)


def limit_files(limit: int | None) -> None:
    """In a child: fail to write more than this to any file."""
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
