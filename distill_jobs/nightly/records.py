"""What a night has done, on disk: one sealed JSON file per stage, written when the stage is done.

A stage is done if its file is there and was made from the same inputs. So a night that was killed
goes on where it was, and one whose settings have changed does again what depends on them.
"""

import contextlib
import datetime
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from schemas import parts
from schemas.fingerprint import digest, read_sealed, seal

FAILURE, DECISION = "failure", "decision"


class StageFailed(Exception):
    """Names the stage that an error came from; the error itself is the cause."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


def run_stage(
    night: Path, name: str, inputs: object, work: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Do a stage of a night, or find that it has been done.

    Args:
        night: the night's folder.
        name: of the stage.
        inputs: JSON values that decide what the stage does.
        work: gives what is found, JSON values.

    Returns:
        What was found, now or then.

    Raises:
        StageFailed: from the error that `work` raised.
    """
    known = read(night, name)
    if known is not None and known["inputs"] == digest(inputs):
        return dict(known["found"])
    began, clock = now(), time.monotonic()
    try:
        found = dict(work())
    except Exception as error:
        raise StageFailed(name) from error
    about = {"began": began, "seconds": round(time.monotonic() - clock, 3)}
    write(night, name, {"inputs": digest(inputs), **about, "outcome": "done", "found": found})
    return found


def read(night: Path, name: str) -> dict[str, Any] | None:
    """A record of a night; None if there is none, or it has been damaged: it is then made again."""
    try:
        return read_sealed(night / f"{name}.json")
    except (FileNotFoundError, ValueError):
        return None


def write(night: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all."""
    text = json.dumps(seal(content), indent=2, ensure_ascii=False)
    parts.write_bytes(text.encode(), night, f"{name}.json")
    parts.tidy(night)


def forget(night: Path, name: str) -> None:
    """Remove a record that holds no longer."""
    with contextlib.suppress(FileNotFoundError):
        (night / f"{name}.json").unlink()


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
