"""System calls of a child process: listed, and one of them answered with a signal or an error.

delta-rs makes its system calls from Rust, so only something outside the process sees them all.
"""

import ctypes
import dataclasses
import re
import shutil
import subprocess
import uuid
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from tests.faults import committer
from tests.faults.kit import FORKS, Child, Ended

# Everything that can change a folder. What only reads is left out: being killed there is being
# killed before the next of these.
CHANGING = (
    *("open", "openat", "creat", "write", "writev", "pwrite64", "pwritev", "fsync", "fdatasync"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink"),
    *("unlinkat", "mkdir", "mkdirat", "rmdir", "ftruncate", "truncate", "fallocate", "chmod"),
    *("fchmod", "fchmodat", "utimensat", "copy_file_range", "sendfile"),
)
_CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
_PATH = re.compile(r'"(/[^"]*)"|<(/[^>]*)>')
_PR_SET_PTRACER = 0x59616D61


@dataclasses.dataclass(frozen=True)
class Point:
    """One system call of an undisturbed run: the n-th of its kind on a path, counted from 1.

    The path is relative to the folder in which the run takes place.
    """

    call: str
    path: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} {self.path} #{self.number}"


def require_strace() -> str:
    """Where strace is; without it the tests fail, since a skip would look like a pass."""
    found = shutil.which("strace")
    assert found, "strace is not installed, and these tests need it: apt-get install strace"
    return found


def commit_under_strace(folder: Path, flags: list[str], *options: str) -> tuple[Ended, str]:
    """Run the committer in a child whose system calls strace watches from its first line on.

    Args:
        folder: for what the child and strace say.
        flags: of the committer.
        options: of strace.

    Returns:
        How the committer ended, and the trace.
    """
    gate, inside = FORKS.Pipe()
    trace = folder / f"{uuid.uuid4().hex}.trace"
    child = Child(folder, _commit_when_told, inside, flags)
    command = [require_strace(), "-f", "-y", "-s", "0", "-o", str(trace), *options]
    command += ["-p", str(child.process.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        try:
            told = strace.stderr.readline()
            assert "attached" in told, f"strace cannot watch a child process: {told}"
            gate.send_bytes(b"go")
        finally:
            ended = child.end(60)
        strace.communicate(timeout=30)
    return ended, trace.read_text()


def _commit_when_told(gate: Connection, flags: list[str]) -> None:
    """Wait for strace, then be the committer; temporary files get names that can be foretold."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    numbers = iter(range(1, 100))
    uuid.uuid4 = lambda: uuid.UUID(int=next(numbers))
    gate.recv_bytes()
    committer.main(flags)


def points_of(trace: str, root: Path) -> list[Point]:
    """The calls of a trace that can change something under a folder, in order."""
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for line in trace.splitlines():
        call = _CALL.match(line)
        paths = [a or b for a, b in _PATH.findall(line)]
        below = [path for path in paths if Path(path).is_relative_to(root)]
        if not call or not below:
            continue
        name, arguments = call.groups()
        path = str(Path(below[0]).relative_to(root))
        seen[name, path] += 1
        if name.startswith("open") and not re.search(r"O_(CREAT|WRONLY|RDWR)", arguments):
            continue
        found.append(Point(name, path, seen[name, path]))
    return found


def watching() -> list[str]:
    """Options to list every call of `CHANGING` (those that this machine has)."""
    return ["-e", "trace=" + ",".join(f"?{name}" for name in CHANGING)]


def at(point: Point, root: Path, what: str) -> list[str]:
    """Options to do something at one point: signal=KILL, error=ENOSPC."""
    return [
        *("-P", str(root / point.path), "-e", f"trace={point.call}"),
        *("-e", f"inject={point.call}:{what}:when={point.number}"),
    ]
