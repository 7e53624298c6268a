"""Run a distillation job: ``python -m distill_jobs train --store ... --out ...``."""

import importlib
import os
import sys

# A thread that waits must sleep, not spin: on a shared machine two spinning threads made a training
# step up to 26 times as slow (docs/decisions.md).
# OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

JOBS = {
    "train": "distil a student from a teacher store",
    "export": "write a finished student as a folder that serves by itself",
    "encode": "turn the sentences of a file into vectors with an exported student",
    "evaluate": "compare teacher, students and a baseline on labelled sets",
}


def main(argv: list[str]) -> None:
    """Hand the rest of the command line to the named job."""
    if argv and argv[0] in JOBS:
        importlib.import_module(f"distill_jobs.{argv[0]}").main(argv[1:])
        return
    listing = "\n".join(f"  {job:10}{purpose}" for job, purpose in JOBS.items())
    usage = f"usage: python -m distill_jobs JOB [flags]\n\njobs:\n{listing}\n"
    if argv and argv[0] in ("-h", "--help"):
        sys.stdout.write(usage)
        return
    sys.stderr.write(usage)
    raise SystemExit(64)


if __name__ == "__main__":
    main(sys.argv[1:])
