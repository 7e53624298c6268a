"""A job on the command line: strict flags from its config dataclass, and exit codes for schedulers.

Exit codes (sysexits): 0 done or nothing to do, 64 usage, 65 data, 73 cannot create, 74 input or
output, 75 try again later.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tyro

USAGE, DATA, CANNOT_CREATE, INPUT_OUTPUT, RETRY = 64, 65, 73, 74, 75

Config = TypeVar("Config")


class RetryLater(Exception):
    """Another run holds what this one needs; the same command may succeed later."""


def run_job(
    config_class: type[Config],
    argv: Sequence[str],
    job: Callable[[Config], Mapping[str, object]],
) -> None:
    """Read the config, run the job, print its summary as JSON, and exit with a meaningful status.

    What follows a bare ``--`` goes into the config's field `runner_options`, if it has one.
    """
    config = parse(config_class, argv)
    try:
        summary = job(config)
    except ValueError as error:
        _fail(DATA, error)
    except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        _fail(CANNOT_CREATE, error)
    except OSError as error:
        _fail(INPUT_OUTPUT, error)
    except RetryLater as error:
        _fail(RETRY, error)
    else:
        sys.stdout.write(json.dumps(dict(summary), ensure_ascii=False, indent=2) + "\n")


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


def on_terminal() -> bool:
    """Whether a person is watching: progress bars for them, JSON lines for logs."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    at = list(argv).index("--") if "--" in argv else len(argv)
    return list(argv[:at]), list(argv[at + 1 :])


def _program() -> str:
    package = os.path.basename(os.path.dirname(sys.argv[0])) or sys.argv[0]
    return f"python -m {package} {' '.join(sys.argv[1:2])}"


def _fail(status: int, error: object) -> None:
    sys.stderr.write(f"error: {error}\n")
    raise SystemExit(status)
