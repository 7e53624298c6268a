"""What a flex template starts: parameters of Dataflow's -> a job of ours, handed over.

    python launch.py --job=teacher --corpus='gs://b/a.txt gs://b/b.txt' --keep_text=false \
        --runner=DataflowRunner --project=... --template_location=...

Dataflow gives every parameter as --name=value, so lists are words and flags are true or false. A
launcher must not wait for the job, so nobody writes gauges or the end of its lineage. What is left
over is removed when the same command is run once more, anywhere, and finds the run done.
"""

import dataclasses
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from apache_beam.runners.dataflow import dataflow_runner

from pipelines.__main__ import main

CONFIGS = {"idf": "IdfConfig", "teacher": "TeacherConfig"}
# Not for a launcher: one has a syntax of its own, one starts no job, one is for those who wait.
LEFT_OUT = ("runner_options", "plan", "stall_minutes")


class DataflowRunner(dataflow_runner.DataflowRunner):  # type: ignore[misc]
    """Ends this process once Dataflow has the job. Beam checks options by this very name."""

    def run_pipeline(self, *arguments: Any, **named: Any) -> NoReturn:
        """Hand the pipeline over and leave."""
        super().run_pipeline(*arguments, **named)
        raise SystemExit(0)


def fields_of(job: str) -> dict[str, dataclasses.Field[Any]]:
    """The parameters that are flags of a job, by name."""
    config = getattr(importlib.import_module(f"pipelines.{job}"), CONFIGS[job])
    return {one.name: one for one in dataclasses.fields(config) if one.name not in LEFT_OUT}


def command_line(arguments: Sequence[str]) -> list[str]:
    """The words after `python -m pipelines`.

    Args:
        arguments: ``--name=value`` each; flags of a job, options of Beam, and --job.

    Raises:
        ValueError: if there is no such job, or an argument has another form.
    """
    wrong = [one for one in arguments if not one.startswith("--")]
    if wrong:
        raise ValueError(f"parameters have the form --name=value, got {wrong[0]!r}")
    jobs = [one.removeprefix("--job=") for one in arguments if one.startswith("--job=")]
    if len(jobs) != 1 or jobs[0] not in CONFIGS:
        raise ValueError(f"--job must be one of {', '.join(CONFIGS)}, got {' '.join(jobs)!r}")
    fields = fields_of(jobs[0])
    flags: list[str] = []
    options: list[str] = []
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        if name in fields:
            flags += _flag(fields[name], value)
        elif name == "runner" and value == "DataflowRunner":
            options.append("--runner=launch.DataflowRunner")
        elif name != "job":
            options.append(argument)
    return [jobs[0], *flags, "--", *options]


def _flag(field: "dataclasses.Field[Any]", value: str) -> list[str]:
    flag = "--" + field.name.replace("_", "-")
    if field.type is bool:
        if value not in ("true", "false"):
            raise ValueError(f"{field.name} must be true or false, got {value!r}")
        return [flag if value == "true" else f"--no-{flag.removeprefix('--')}"]
    return [flag, *(value.split() if str(field.type).startswith("tuple[") else [value])]


if __name__ == "__main__":
    try:
        words = command_line(sys.argv[1:])
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(64) from None
    main(words)
