"""Show how far the embedding is, from the records that finished shards leave in the staging folder.

It looks at files, not at workers, so it works for any runner whose storage this process can see.
"""

import json
import sys
import threading
import time
from types import TracebackType

import pyarrow.parquet as pq
from pyarrow import fs
from tqdm import tqdm

from schemas import parts
from schemas.command import on_terminal

_EVERY = 2.0  # seconds between looks
_LOG_EVERY = 30.0  # seconds between JSON lines


class Progress:
    """A context in which a bar moves on a terminal, or JSON lines are logged otherwise."""

    def __init__(self, staging: str, unit: str) -> None:
        self._staging = staging
        self._unit = unit
        self._rows: dict[str, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        bar = tqdm(unit=self._unit, desc="teacher", disable=not on_terminal(), file=sys.stderr)
        logged = time.monotonic()
        while not self._ended.wait(_EVERY):
            done, total = self._count()
            bar.total = total
            bar.update(done - bar.n)
            if not on_terminal() and total and time.monotonic() - logged > _LOG_EVERY:
                line = {"event": "progress", "done": done, "total": total, "unit": self._unit}
                sys.stderr.write(json.dumps(line) + "\n")
                logged = time.monotonic()
        bar.close()

    def _count(self) -> tuple[int, int]:
        """Rows of finished parts, by their records, and of all prepared shards."""
        files, folder = parts.filesystem(self._staging)
        selector = fs.FileSelector(folder, allow_not_found=True)
        for info in files.get_file_info(selector):
            name = info.base_name
            if name in self._rows:
                continue
            if name.endswith(".prepared"):
                with files.open_input_file(info.path) as file:
                    self._rows[name] = pq.read_metadata(file).num_rows
            elif name.endswith(".json"):
                record = json.loads(parts.read_bytes(f"{self._staging}/{name}"))
                self._rows[name] = record["part"]["rows"]
        rows = {
            suffix: sum(count for name, count in self._rows.items() if name.endswith(suffix))
            for suffix in (".json", ".prepared")
        }
        return rows[".json"], rows[".prepared"]
