"""What the fault tests share: children that begin at once, files with a changed byte, counts."""

import dataclasses
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 2  # children at a time: the machines of CI have 2 cores

# Children are forked from a process that has imported Beam and torch, but never run them: forking
# one that has would leave their threads behind.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.faults.preload"])


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        status: its exit status, or minus the signal that killed it.
        told: its standard output and error.
        trace: its system calls, if they were watched.
    """

    status: int
    told: str
    trace: str = ""


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
