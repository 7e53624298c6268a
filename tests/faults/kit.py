"""What the fault tests share: children that begin at once, files with a changed byte, counts."""

import dataclasses
import importlib
import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from schemas import delta, parts, store
from schemas.store import open_store

AT_ONCE = 2  # children at a time: the machines of CI have 2 cores

# What a run says of itself that may differ from an undisturbed one: times, what it found done, and
# the code, on which somebody may be working while the tests run.
OF_THE_ATTEMPT = (
    *("teacher_seconds", "tokens_per_second", "rest_hours", "code"),
    "parts_kept_from_earlier_try",
)

# Children are forked from a process that has imported Beam and torch, but never run them: forking
# one that has would leave their threads behind.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.faults.preload"])

# Starting a child asks after all the others, and of two threads that ask after one child, one may
# be told 255 (multiprocessing.popen_forkserver reads the status from a pipe, once): 2 in 400.
_ONE_AT_A_TIME = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        status: its exit status, or minus the signal that killed it.
        told: its standard output and error.
        seconds: from its beginning to its end.
    """

    status: int
    told: str
    seconds: float


def redirect(log: str) -> None:
    """Send this process's output to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def side_by_side(task: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
    """Do a task for all items, two at a time; the first error comes through."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(task, items))


@dataclasses.dataclass(frozen=True)
class Stop:
    """Where a job stops.

    Attributes:
        step: before which it stops, counted from 1.
        until: file for whose appearance it waits there; None to kill itself.
    """

    step: int
    until: Path | None = None


def _count_steps(stop: Stop | None, steps: Path) -> None:
    """Wrap what makes a job's work lasting: each file that is published, commit, and removal."""
    numbers = itertools.count(1)

    def counted(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def step(*arguments: Any, **named: Any) -> Any:
            number = next(numbers)
            with steps.open("a", encoding="utf-8") as file:
                file.write(f"{name} {arguments[0]}\n")
            if stop and number == stop.step:
                if stop.until is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                wait_for(stop.until.exists)
            return original(*arguments, **named)

        setattr(owner, name, step)

    for owner, name in ((os, "replace"), (delta, "write"), (parts, "remove_folder")):
        counted(owner, name)


def wait_for(true: Callable[[], object], seconds: float = 120) -> None:
    """Return as soon as something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class Child:
    """A function in a child process, begun at once."""

    def __init__(self, folder: Path, function: Callable[..., object], *arguments: object) -> None:
        """Begin.

        Args:
            folder: for what the child says.
            function: of a module, as pickle wants it.
            arguments: of the function.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"{uuid.uuid4().hex}.out"
        self._began = time.monotonic()
        self.process = FORKS.Process(target=_call, args=(str(self._log), function, arguments))
        with _ONE_AT_A_TIME:
            self.process.start()

    def runs(self) -> bool:
        """Whether it has not ended."""
        return not wait([self.process.sentinel], 0)

    def end(self, seconds: float = 120) -> Ended:
        """Wait for its end."""
        wait([self.process.sentinel], seconds)
        with _ONE_AT_A_TIME:
            status = self.process.exitcode
            self.process.kill()
            self.process.join()
        told = self._log.read_text() if self._log.exists() else ""
        assert status is not None, f"the child hangs: {told}"
        return Ended(status, told, time.monotonic() - self._began)


def _call(log: str, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    redirect(log)
    function(*arguments)


class Job(Child):
    """A Beam job in a child process: ``python -m pipelines JOB FLAGS``, but it may stop."""

    def __init__(
        self,
        folder: Path,
        job: str,
        flags: Sequence[object],
        stop: Stop | None = None,
        first: Callable[[], object] | None = None,
    ) -> None:
        """Begin.

        Args:
            folder: for what the job says, and its list of steps.
            job: idf or teacher.
            flags: of the job.
            stop: where it stops, if it does.
            first: called in the child before the job.
        """
        self._steps = folder / f"{uuid.uuid4().hex}.steps"
        super().__init__(folder, _be_job, job, list(map(str, flags)), stop, self._steps, first)

    def steps(self) -> list[str]:
        """Those that it has begun."""
        return self._steps.read_text().splitlines() if self._steps.exists() else []


def _be_job(
    job: str,
    flags: list[str],
    stop: Stop | None,
    steps: Path,
    first: Callable[[], object] | None,
) -> None:
    _count_steps(stop, steps)
    if first is not None:
        first()
    importlib.import_module(f"pipelines.{job}").main(flags)


def summary_of(ended: Ended) -> dict[str, Any]:
    """The summary that a job printed at its end."""
    found: dict[str, Any] = json.loads(ended.told[ended.told.index("{\n") :])
    return found


def result_of(out: Path) -> object:
    """All that a reader finds: parts with their digests, rows, summary, quarantine."""
    return {place: table_of(f"{out}{place}") for place in ("", ".quarantine")}


def table_of(location: str) -> object:
    if not store.exists(location):
        return None
    opened = open_store(location)
    opened.verify()
    rows = [row for part in opened.parts for row in parts.read(opened.path_of(part)).to_pylist()]
    commits = [
        (one.version, one.run_id, one.added, {**one.summary, **dict.fromkeys(OF_THE_ATTEMPT)})
        for one in opened.commits
    ]
    return opened.version, opened.parts, commits, rows


def spoiled(
    content: bytes, seed: int, flips: int = 200, cuts: int = 20
) -> Iterator[tuple[str, bytes]]:
    """What can become of a file: one bit flipped, each time another, and an early end, also at 0.

    Yields:
        What was done, and the content.
    """
    rng = random.Random(seed)
    for _ in range(flips):
        at, bit = rng.randrange(len(content)), rng.randrange(8)
        flipped = bytes([content[at] ^ 1 << bit])
        yield f"bit {bit} of byte {at} flipped", content[:at] + flipped + content[at + 1 :]
    for number in range(cuts):
        length = len(content) * number // cuts
        yield f"cut to {length} bytes", content[:length]


def unnoticed(path: Path, check: Callable[[], object], others: Sequence[Path] = ()) -> list[str]:
    """Spoil a file in every way and look whether a check says so; the file is restored.

    Args:
        path: the file.
        check: raises ValueError or OSError if something is wrong; else gives what was read.
        others: files of other runs to put in its place.

    Returns:
        What was done when the check said nothing and gave something else, or when what it said is
        no clear error. (What is read may be the same: nobody reads, say, a footer's statistics.)
    """
    whole = path.read_bytes()
    read = check()
    tried = [*spoiled(whole, seed=len(whole))]
    tried += [(f"{one} in its place", one.read_bytes()) for one in others]
    missed = []
    for what, content in tried:
        path.write_bytes(content)
        try:
            found = check()
            if found is None or found != read:
                missed.append(f"{path.name}: {what}: not noticed")
        except (ValueError, OSError):
            continue
        except Exception as error:
            missed.append(f"{path.name}: {what}: {error!r}")
    path.write_bytes(whole)
    assert check() == read
    return missed
