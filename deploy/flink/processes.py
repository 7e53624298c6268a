"""Processes that outlive the command that starts them, found again by what their folder says.

A process counts as ours only if its id still belongs to the process that was started: ids are
given anew, and nothing that somebody else started may be ended.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

_GRACE = 10.0  # seconds between SIGTERM and SIGKILL


class Processes:
    """The processes of a folder: name -> process id, in `processes.json`."""

    def __init__(self, folder: Path) -> None:
        """Read what has been started.

        Args:
            folder: holds `processes.json` and the logs.
        """
        self._file = folder / "processes.json"
        self.logs = folder / "logs"
        self._started: dict[str, tuple[int, str]] = {}
        if self._file.exists():
            self._started = {
                name: (pid, birth)
                for name, (pid, birth) in json.loads(self._file.read_text()).items()
            }

    def pid(self, name: str) -> int | None:
        """The id of a process that runs; None if it does not."""
        pid, birth = self._started.get(name, (0, ""))
        return pid if birth and birth == _birth(pid) else None

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.logs / f"{name}.log"

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process in a session of its own: neither ^C nor a closed terminal ends it."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started[name] = (process.pid, _birth(process.pid))
        self._write()

    def kill(self, name: str) -> int | None:
        """Kill a process as a crash would; returns its id, None if it did not run."""
        pid = self.pid(name)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _wait([pid], _GRACE)
        return pid

    def end(self, names: Sequence[str]) -> list[str]:
        """End processes, first asking; returns the names of those that ran."""
        ended = {name: pid for name in names if (pid := self.pid(name))}
        for pid in ended.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in _wait(ended.values(), _GRACE):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # the session that `start` made for it
        _wait(ended.values(), _GRACE)
        for name in names:
            self._started.pop(name, None)
        self._write()
        return list(ended)

    def _write(self) -> None:
        aside = self._file.with_suffix(".new")
        aside.write_text(json.dumps(self._started))
        aside.replace(self._file)


def _birth(pid: int) -> str:
    """When a process began, in ticks since which boot; empty if it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "" if words[0] == "Z" else f"{boot} {words[19]}"


def _wait(pids: Iterable[int], seconds: float) -> list[int]:
    """Wait for processes to end; returns those that have not."""
    deadline = time.monotonic() + seconds
    left = list(pids)
    while (left := [pid for pid in left if _birth(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
