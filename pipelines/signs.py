"""Signs that a run goes on: workers leave them beside the table, who submitted it looks at them.

Flink waits for ever for a worker that cannot start, and says nothing; every distributed runner has
such a case. Files on the storage that all share are what the runners have in common.
"""

import os
import socket
import time

from pyarrow import fs

from schemas import parts

EVERY = 10.0  # seconds between the signs of a process
_LOOK = 5.0  # seconds between looks

_folder: str | None = None
_next = 0.0


def staging_of(location: str, run_id: str) -> str:
    """The folder of what a run has written and not committed."""
    return f"{location}.staging/{run_id}"


def work_for(staging: str) -> None:
    """Say for which run this process works from now on: the folder of what it has not committed."""
    global _folder, _next
    if staging != _folder:
        _folder, _next = staging, time.monotonic() + EVERY


def show() -> None:
    """Leave a sign, at most every 10 seconds: to be called by whatever takes long."""
    global _next
    if _folder is None or time.monotonic() < _next:
        return
    _next = time.monotonic() + EVERY
    name = f"{socket.gethostname()}-{os.getpid()}.sign"
    parts.write_bytes(time.strftime("%H:%M:%S").encode(), _folder, name)


class Watch:
    """Looks for changes in the folder of a run."""

    def __init__(self, staging: str, minutes: float) -> None:
        """Begin.

        Args:
            staging: the folder; it need not be there.
            minutes: without any change after which the run is taken for stalled; 0 for ever.
        """
        self._staging = staging
        self._minutes = minutes
        self._seen: dict[str, object] = {}
        self._changed = time.monotonic()
        self._looked = 0.0

    def complaint(self) -> str | None:
        """What is wrong with the run, or None as long as it goes on."""
        now = time.monotonic()
        if not self._minutes or now - self._looked < _LOOK:
            return None
        self._looked = now
        try:
            found = self._listing()
        except OSError:  # a storage that does not answer for a while has not stopped the workers
            found = self._seen
        if found != self._seen:
            self._seen, self._changed = found, now
        if now - self._changed < 60 * self._minutes:
            return None
        workers = sorted(name.removesuffix(".sign") for name in found if name.endswith(".sign"))
        told = f"last were {', '.join(workers)}" if workers else "there was none at all"
        return (
            f"no sign of any worker for {self._minutes:g} minutes ({told}); "
            "the runner was asked to cancel the job, and the same command goes on from what is "
            "done. See the runner's log, and ask its workers: `python -m pipelines workers -- "
            "OPTIONS`; --stall-minutes says how long to wait"
        )

    def _listing(self) -> dict[str, object]:
        files, folder = parts.filesystem(self._staging)
        selector = fs.FileSelector(folder, allow_not_found=True)
        return {one.base_name: (one.size, one.mtime_ns) for one in files.get_file_info(selector)}
