"""Run a Beam job: ``python -m pipelines idf --corpus ... --out ... -- --runner=FlinkRunner``."""

import importlib
import logging
import os
import sys

# A thread that waits must sleep, not spin: on a shared machine two spinning threads made a training
# step up to 26 times as slow (docs/decisions.md).
# OpenMP reads this when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

JOBS = {
    "sample": "write the bundled sample: a corpus and labelled sets",
    "idf": "count words over a corpus and write the IDF table",
    "teacher": "write the teacher's sentence vectors into a store, new sentences only",
    "explain": "show the words, tokens and weights of a sentence",
}


def main(argv: list[str]) -> None:
    """Hand the rest of the command line to the named job."""
    if argv and argv[0] in JOBS:
        # Beam warns, as it is imported, of every optional cloud package that is not there.
        logging.disable(logging.WARNING)
        job = importlib.import_module(f"pipelines.{argv[0]}")
        logging.disable(logging.NOTSET)
        job.main(argv[1:])
        return
    listing = "\n".join(f"  {job:10}{purpose}" for job, purpose in JOBS.items())
    usage = f"usage: python -m pipelines JOB [flags] [-- Beam options]\n\njobs:\n{listing}\n"
    if argv and argv[0] in ("-h", "--help"):
        sys.stdout.write(usage)
        return
    sys.stderr.write(usage)
    raise SystemExit(64)


if __name__ == "__main__":
    main(sys.argv[1:])
