"""Run a Beam job: ``python -m pipelines idf --corpus ... --out ... -- --runner=FlinkRunner``."""

import os
import sys

from schemas.command import choose

# A thread that waits must sleep, not spin: on a shared machine two spinning threads made a training
# step up to 26 times as slow (docs/decisions.md).
# OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

JOBS = {
    "sample": "write the bundled sample: a corpus and labelled sets",
    "idf": "count words over a corpus and write the IDF table",
    "augment": "write variants of sentences: words masked or replaced, n-grams",
    "teacher": "write the teacher's sentence vectors into a store, new sentences only",
    "store": "look at a store, check, repair, rewrite or vacuum it",
    "workers": "ask a runner's workers which code they run and what they see",
    "explain": "show the words, tokens and weights of a sentence",
}


def main(argv: list[str]) -> None:
    """Hand the rest of the command line to the named job."""
    choose(JOBS, "pipelines.", argv, " [-- Beam options]")


if __name__ == "__main__":
    main(sys.argv[1:])
