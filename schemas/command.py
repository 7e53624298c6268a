"""A job on the command line: strict flags from its config dataclass, and exit codes for schedulers.

Exit codes (sysexits): 0 done or nothing to do, 64 usage, 65 data, 71 too little memory, 73 cannot
create, 74 input or output, 75 try again later, 143 ended by SIGTERM.
"""

import contextlib
import dataclasses
import errno
import importlib
import itertools
import json
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import tyro

USAGE, DATA, MEMORY, CANNOT_CREATE, INPUT_OUTPUT, RETRY, TERMINATED = 64, 65, 71, 73, 74, 75, 143
_GRACE = 10  # seconds between SIGTERM and the end, whatever a thread is doing

Config = TypeVar("Config")

# The second form is a secret key with a slash that should have been written %2F; 9000/ is a port.
_USER = re.compile(r"://(?:[^\s/'\"]*@|[^\s/'\":@]+:(?!\d+/)[^\s'\"]*?@)")
_QUERY = re.compile(r"(://[^\s'\"]*?)\?[\w.%+-]*=[^\s'\"]*")


class RetryLater(Exception):
    """Another run holds what this one needs; the same command may succeed later."""


class OutOfMemory(Exception):
    """This machine has too little memory for the settings."""


_STATUS: list[tuple[int, tuple[type[Exception], ...]]] = [
    (DATA, (ValueError,)),
    (CANNOT_CREATE, (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError)),
    (INPUT_OUTPUT, (OSError,)),
    (RETRY, (RetryLater,)),
    (MEMORY, (OutOfMemory, MemoryError)),
]


def run_job(
    config_class: type[Config],
    argv: Sequence[str],
    job: Callable[[Config], Mapping[str, object] | str],
) -> None:
    """Read the config, run the job, print what it gives, and exit with a meaningful status.

    A summary is printed as JSON, text as it is. What follows a bare ``--`` goes into the config's
    field `runner_options`, if it has one.
    """
    config = parse(config_class, argv)
    try:
        with _ending_on_sigterm():
            summary = job(config)
    except (ValueError, OSError, RetryLater, OutOfMemory, MemoryError) as error:
        read_only = isinstance(error, OSError) and error.errno == errno.EROFS
        status = next(status for status, kinds in _STATUS if isinstance(error, kinds))
        _fail(CANNOT_CREATE if read_only else status, error)
    else:
        if not isinstance(summary, str):
            summary = json.dumps(dict(summary), ensure_ascii=False, indent=2)
        sys.stdout.write(f"{summary}\n")


@contextlib.contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """End as an orderly exit does when a scheduler evicts us, and soon: what is done is on disk.

    As the first process of a container, Python would not even notice the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    ending = threading.Event()

    def end(number: int, frame: object) -> None:
        ending.set()
        forced = threading.Timer(_GRACE, os._exit, [TERMINATED])
        forced.daemon = True
        forced.start()
        _fail(TERMINATED, "ended by SIGTERM; the same command goes on from what is done")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except BaseException:
        if ending.is_set():  # Beam makes an error of its own out of the exit
            raise SystemExit(TERMINATED) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def keeping_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does, while something starts that has other ideas."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def choose(
    jobs: Mapping[str, str],
    modules: str,
    argv: Sequence[str],
    tail: str = "",
    named: Mapping[str, str] | None = None,
) -> None:
    """Hand the rest of a command line to the job that its first word names.

    Args:
        jobs: name -> purpose.
        modules: with a job's name after it, a module that has a function `main`.
        argv: the command line from the job's name on.
        tail: of the usage line.
        named: job -> its module, where that has another name.
    """
    if argv and argv[0] in jobs:
        # Beam warns, as it is imported, of every optional cloud package that is not there.
        logging.disable(logging.WARNING)
        job = importlib.import_module(modules + (named or {}).get(argv[0], argv[0]))
        logging.disable(logging.NOTSET)
        job.main(argv[1:])
        return
    wide = max(10, 2 + max(map(len, jobs)))
    listing = "\n".join(f"  {job:{wide}}{purpose}" for job, purpose in jobs.items())
    command = re.sub(r"\.|_$", " ", modules)
    usage = f"usage: python -m {command}JOB [flags]{tail}\n\njobs:\n{listing}\n"
    if argv and argv[0] in ("-h", "--help"):
        sys.stdout.write(usage)
        return
    sys.stderr.write(usage)
    raise SystemExit(USAGE)


def parse(config_class: type[Config], argv: Sequence[str]) -> Config:
    """Read a config dataclass from flags; a mistyped flag ends the process with status 64."""
    own, rest = _split(argv)
    names = {field.name for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    if rest and "runner_options" not in names:
        _fail(USAGE, f"this job takes no runner options, got {' '.join(rest)}")
    try:
        config = tyro.cli(config_class, args=own, prog=_program())
        if rest:
            changes: dict[str, Any] = {"runner_options": tuple(rest)}
            config = dataclasses.replace(config, **changes)  # type: ignore[type-var]
    except SystemExit as ended:
        raise SystemExit(USAGE if ended.code else 0) from None
    except ValueError as error:
        _fail(USAGE, error)
    return config


def redact(text: str) -> str:
    """Take user names, passwords and query strings out of every URL in a text.

    What a URL carries besides the place is a secret more often than not, and what we write is kept.

    >>> redact("no file matches 's3://key:secret@lake/texts/part-?.txt?access_key=abc'")
    "no file matches 's3://lake/texts/part-?.txt'"
    """
    return _USER.sub("://", _QUERY.sub(r"\1", text))


def on_terminal() -> bool:
    """Whether a person is watching: progress bars for them, JSON lines for logs."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    at = list(argv).index("--") if "--" in argv else len(argv)
    return list(argv[:at]), list(argv[at + 1 :])


def _program() -> str:
    package = os.path.basename(os.path.dirname(sys.argv[0])) or sys.argv[0]
    words = itertools.takewhile(re.compile(r"[a-z]+(-[a-z]+)*").fullmatch, sys.argv[1:3])
    return " ".join([f"python -m {package}", *words])


def _fail(status: int, error: object) -> None:
    sys.stderr.write(f"error: {redact(str(error))}\n")
    raise SystemExit(status)
