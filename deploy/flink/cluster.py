"""A Flink cluster on this machine, in processes that go on by themselves, to run Beam jobs on.

    python deploy/flink/cluster.py up          start what does not run; wait until all is healthy
    python deploy/flink/cluster.py status      what runs where
    python deploy/flink/cluster.py options     what a job takes after --
    python deploy/flink/cluster.py cancel      end the jobs, not the cluster
    python deploy/flink/cluster.py kill-taskmanager 1        as a crash would; `up` starts another
    python deploy/flink/cluster.py down        end what `up` has started

One JobManager, two TaskManagers, each with its pool of Python workers, and Beam's job server. Needs
Linux, Java 17 and Maven, but no root. LTD_CACHE (~/.cache/ltd-bert) keeps what is downloaded.
Exit codes: 0 done, 69 Java, Maven or the jars cannot be had, 1 anything else.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import downloads
from layout import JOB_SERVER, JOBMANAGER, TASKMANAGERS, Layout, pool_of
from processes import Processes

_START = 120  # seconds in which everything must get healthy
_FOLDER = Path(__file__).parents[2] / "work" / "flink"


def main() -> None:
    """Read the verb and do it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="logs and process ids")
    verbs = parser.add_subparsers(dest="verb", required=True)
    port = int(os.environ.get("LTD_FLINK_PORT") or 8081)
    verbs.add_parser("up").add_argument(
        "--port", type=int, default=port, help="first of six ports; LTD_FLINK_PORT, or 8081"
    )
    for verb in ("status", "options", "cancel", "down"):
        verbs.add_parser(verb)
    killing = verbs.add_parser("kill-taskmanager")
    killing.add_argument("number", type=int, choices=range(1, len(TASKMANAGERS) + 1))
    given = parser.parse_args()
    folder = given.folder.resolve()
    try:
        with _alone(folder) as processes:
            if given.verb == "up":
                up(Layout(folder, given.port), processes)
            elif given.verb == "status":
                status(_layout(folder), processes)
            elif given.verb == "options":
                options(_layout(folder), processes)
            elif given.verb == "cancel":
                cancel(_layout(folder))
            elif given.verb == "kill-taskmanager":
                kill(TASKMANAGERS[given.number - 1], processes)
            else:
                down(_layout(folder), processes)
    except RuntimeError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(69 if isinstance(error, downloads.Unavailable) else 1) from None


def up(layout: Layout, processes: Processes) -> None:
    """Start what does not run, wait until all is healthy, and say how to use it.

    Raises:
        RuntimeError: if something is missing, a port is taken, or a process does not get healthy;
            what was started is ended again.
    """
    if sys.platform != "linux":
        raise RuntimeError("needs Linux, which answers on 127.0.0.2 and 127.0.0.3 by itself")
    names = layout.addresses()
    missing = [name for name in names if processes.pid(name) is None]
    if len(missing) < len(names) and _layout(layout.folder) != layout:
        raise RuntimeError(f"it runs at port {_layout(layout.folder).port}: take it down first")
    _check_ports(layout, missing)
    commands = layout.commands(downloads.java(), downloads.jars(_say)) if missing else {}
    (layout.folder / "port").write_text(f"{layout.port}\n")
    try:
        for name in (name for name in commands if name in missing):
            processes.start(name, commands[name])
        _wait(layout, processes)
    except BaseException:
        processes.end(missing)
        raise
    _say(f"Flink runs: started {', '.join(missing)}" if missing else "Flink runs already")
    status(layout, processes)


def status(layout: Layout, processes: Processes) -> None:
    """Say what runs where, and what a job takes to run there."""
    for name, listening in layout.addresses().items():
        where = " ".join(f"{host}:{port}" for host, port in listening)
        _say(f"  {name:24}{processes.pid(name) or 'does not run':<14}{where}")
    _say(f"  web page                {layout.web}")
    _say(f"  logs                    {processes.logs}")
    _say(f"Options for a job, after --:\n  {' '.join(layout.options)}")


def options(layout: Layout, processes: Processes) -> None:
    """Print them alone, for scripts.

    Raises:
        RuntimeError: if there is nothing to submit to.
    """
    if processes.pid(JOB_SERVER) is None:
        raise RuntimeError("no cluster runs: make flink-up")
    _say(" ".join(layout.options))


def kill(taskmanager: str, processes: Processes) -> None:
    """Kill a TaskManager with -9."""
    pid = processes.kill(taskmanager)
    _say(f"killed {taskmanager}, {pid}" if pid else f"{taskmanager} does not run")


def cancel(layout: Layout) -> None:
    """Cancel every job that has not ended: those of a killed command go on by themselves."""
    jobs = _ask(f"{layout.web}/jobs/overview")["jobs"]
    going = [job for job in jobs if job["end-time"] < 0]
    for job in going:
        _ask(f"{layout.web}/jobs/{job['jid']}?mode=cancel", "PATCH")
        _say(f"cancelled {job['name']}")
    if not going:
        _say("no job runs")


def down(layout: Layout, processes: Processes) -> None:
    """End what runs, jobs included."""
    # Beam's job server first: it would try to save its jobs from a cluster that goes away.
    ended = processes.end([*reversed(layout.addresses())])
    shutil.rmtree(layout.folder / "tmp", ignore_errors=True)
    _say(f"ended {', '.join(ended)}" if ended else "nothing ran")


def _layout(folder: Path) -> Layout:
    """The cluster that a folder holds, or would."""
    file = folder / "port"
    return Layout(folder, int(file.read_text()) if file.exists() else 8081)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[Processes]:
    """Let nobody else start or end anything meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Processes(folder)


def _check_ports(layout: Layout, names: Iterable[str]) -> None:
    for name in names:
        for address in layout.addresses()[name]:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(address)
                except OSError as error:
                    raise RuntimeError(
                        f"{name} needs port {address[1]} of {address[0]}: {error.strerror}; "
                        f"LTD_FLINK_PORT (now {layout.port}) moves the six ports from there on"
                    ) from None


def _wait(layout: Layout, processes: Processes) -> None:
    """Return when all is healthy."""
    began = time.time()
    while unhealthy := _unhealthy(layout, began):
        dead = [name for name in layout.addresses() if processes.pid(name) is None]
        if dead or time.time() > began + _START:
            name = (dead or unhealthy)[0]
            told = processes.log(name).read_text(errors="replace").splitlines()[-20:]
            fault = "ended" if dead else f"was not healthy after {_START} s"
            raise RuntimeError("\n".join([f"{name} {fault}; {processes.log(name)} says:", *told]))
        time.sleep(0.3)


def _unhealthy(layout: Layout, since: float) -> list[str]:
    """Processes that do not do their work yet."""
    try:
        known = _ask(f"{layout.web}/taskmanagers")["taskmanagers"]
    except RuntimeError:
        return [JOBMANAGER]
    # One that was killed is known for some seconds more. In spite of its name this is the time
    # of the last heartbeat, in milliseconds since 1970.
    alive = [one for one in known if one["timeSinceLastHeartbeat"] > 1000 * since]
    waiting = list(TASKMANAGERS[len(alive) :])
    for name in (*map(pool_of, TASKMANAGERS), JOB_SERVER):
        with socket.socket() as probe:
            if probe.connect_ex(layout.addresses()[name][0]):
                waiting.append(name)
    return waiting


def _ask(url: str, method: str = "GET") -> Any:
    """What Flink's REST interface answers."""
    # A cluster on this machine is not reached through a proxy.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(urllib.request.Request(url, method=method), timeout=10) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"{url} does not answer: {error}") from error


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
