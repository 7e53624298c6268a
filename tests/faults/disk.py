"""A disk that can be made small, large again, and read-only."""

import os
import resource
import shutil
import subprocess
from pathlib import Path


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
        """Leave about this much room in all."""
        if self._mounted:
            self._remount(f"size={kibibytes}k")
        else:
            self.limit = kibibytes * 1024

    def read_only(self) -> None:
        """Let nobody write; a mounted one only, since root may write everywhere else."""
        if self._mounted:
            self._remount("ro")
        else:
            self.folder.chmod(0o555)

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


def limit_files(limit: int | None) -> None:
    """In a child: fail to write more than this to any file."""
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
