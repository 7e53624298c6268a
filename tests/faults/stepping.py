"""Writers in threads that take their steps one by one, in an order that the test gives."""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

PATIENCE = 60  # seconds for one step


class Writer:
    """A thread that stops before each of its steps until it is let go."""

    def __init__(self, work: Callable[[], object]) -> None:
        """Begin, and come to the first step.

        Args:
            work: what to do; it calls functions wrapped by `stepping`.
        """
        self.outcome: object = None
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._free = False
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.writer = self  # type: ignore[attr-defined]
        self._thread.start()
        self._await()

    def _run(self, work: Callable[[], object]) -> None:
        try:
            self.outcome = work()
        except Exception as error:
            self.outcome = error
        self._free = True
        self._stopped.release()

    def _await(self) -> None:
        assert self._stopped.acquire(timeout=PATIENCE), "a writer hangs in a step"

    def pause(self) -> None:
        """In the thread: wait for the next turn."""
        if not self._free:
            self._stopped.release()
            self._go.acquire()

    def step(self) -> None:
        """Do one step."""
        if not self._free:
            self._go.release()
            self._await()

    def finish(self) -> None:
        """Do what is left without stopping."""
        if not self._free:
            self._free = True
            self._go.release()
            self._thread.join(PATIENCE)
            assert not self._thread.is_alive(), "a writer hangs"


def stepping(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that, in a writer's thread, waits for its turn first."""

    def stepped(*arguments: Any, **named: Any) -> Any:
        writer = getattr(threading.current_thread(), "writer", None)
        if writer is not None:
            writer.pause()
        return function(*arguments, **named)

    return stepped


def schedules(steps: int) -> Iterator[Sequence[int]]:
    """Every order in which two writers can take that many steps each: C(2 steps, steps)."""
    for first in combinations(range(2 * steps), steps):
        yield [0 if turn in first else 1 for turn in range(2 * steps)]
