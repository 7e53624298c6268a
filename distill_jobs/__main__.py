"""Run a distillation job: ``python -m distill_jobs train --store ... --out ...``."""

import os
import sys

from schemas.command import choose

# A thread that waits must sleep, not spin: on a shared machine two spinning threads made a training
# step up to 26 times as slow (docs/decisions.md).
# OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

JOBS = {
    "train": "distil a student from a teacher store",
    "export": "write a finished student as a folder that serves by itself",
    "sentence-transformers": "write an exported student as a folder for sentence-transformers",
    "compress": "make a finished student smaller, one step a verb",
    "encode": "turn the sentences of a file into vectors with an exported student",
    "evaluate": "compare teacher, students and a baseline on labelled sets",
    "tune": "train a finished student on a labelled set, with a head",
    "task-logits": "what a task's teacher says of unlabelled sentences, from its stored vectors",
    "sweep": "train students of many settings from one store, and compare them",
    "nightly": "retrain on a day's partition, promote only what is no worse",
    "status": "who serves, and what the last nights decided",
    "rollback": "let an earlier student serve again",
}
MODULES = {
    "sentence-transformers": "st_export",
    "tune": "tuning.tune",
    "task-logits": "tuning.task_logits",
    "nightly": "nightly.job",
    "status": "nightly.status",
    "rollback": "nightly.rollback",
}


def main(argv: list[str]) -> None:
    """Hand the rest of the command line to the named job."""
    choose(JOBS, "distill_jobs.", argv, named=MODULES)


if __name__ == "__main__":
    main(sys.argv[1:])
