"""Run a job of `pipelines` in a process of its own: its summary comes back, or its error.

This package may not import that one; they meet on disk and on the command line.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from schemas.command import (
    CANNOT_CREATE,
    DATA,
    INPUT_OUTPUT,
    MEMORY,
    RETRY,
    OutOfMemory,
    RetryLater,
)

_RAISED: dict[int, type[Exception]] = {
    DATA: ValueError,
    MEMORY: OutOfMemory,
    CANNOT_CREATE: PermissionError,
    INPUT_OUTPUT: OSError,
    RETRY: RetryLater,
}
_ERROR = re.compile(r"^error: (.*)", re.MULTILINE | re.DOTALL)


def run_pipeline(words: Sequence[str], log: Path, lock: int) -> dict[str, Any]:
    """Run ``python -m pipelines`` with some words.

    Args:
        words: the job and its flags.
        log: gets what the job says on stderr, beginning with the command.
        lock: descriptor that the job keeps open: should this process be killed, the night's lock is
            held until the job has ended too.

    Returns:
        The summary that the job printed.

    Raises:
        ValueError: for bad data (status 65).
        OutOfMemory: (71).
        PermissionError: for what cannot be created (73).
        OSError: (74).
        RetryLater: (75).
        RuntimeError: for any other status but 0.
    """
    command = [sys.executable, "-m", "pipelines", *words]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as told:
        told.write(f"python -m pipelines {' '.join(words)}\n")
        told.flush()
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=told, text=True, pass_fds=[lock], check=False
        )
    if done.returncode:
        text = log.read_text(encoding="utf-8", errors="replace")
        found = _ERROR.search(text)
        said = found[1].strip() if found else f"it said nothing plainer than {text[-500:]!r}"
        kind = _RAISED.get(done.returncode, RuntimeError)
        status = "" if done.returncode in _RAISED else f" (status {done.returncode})"
        raise kind(f"pipelines {words[0]}{status}: {said}")
    summary: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{\n") :])
    return summary
