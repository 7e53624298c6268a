"""Train through `ray job submit` on two nodes, one of which is lost again and again.

    python -m tests.bench.node_loss work/teacher work/node-loss 2 [flags of `distill_jobs train`]

Each time (here twice; 0 for an undisturbed training) one node is killed with signal 9 while both
train; the training goes on with the other; the node is started again, and the training grows back
to both. Prints what each took, the steps done again, the rows learned and the scores.
RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S is passed on to the job.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.cluster_kit import (
    Nodes,
    lines,
    log_of,
    resumed,
    summary_of,
    wait_for_checkpoint,
    wait_for_lines,
)

TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


def run(nodes: Nodes, store: str, out: Path, losses: int, flags: list[str]) -> dict[str, object]:
    """One training to its end."""
    second = nodes.add()
    nodes.wait_for(2)
    words = [sys.executable, "-m", "distill_jobs", "train", "--store", Path(store).absolute()]
    words += ["--out", out.absolute(), "--workers", 2, "--min-workers", 1, *flags]
    passed_on = {TIMEOUT: os.environ[TIMEOUT]} if TIMEOUT in os.environ else {}
    began = time.monotonic()
    job = nodes.submit(
        log_of(out), ["--runtime-env-json", json.dumps({"env_vars": passed_on}), "--", *words]
    )
    wait_for_lines(out, 0, job)
    found: dict[str, object] = {TIMEOUT: passed_on.get(TIMEOUT, "by default")}
    found |= {"submit_to_step_50": round(time.monotonic() - began, 1)}
    told: dict[str, list[float]] = {name: [] for name in ("recovery", "growth", "done_again")}
    wait_for_checkpoint(out, job)
    for number in range(losses):
        wait_for_lines(out, len(lines(out)) + 5, job)
        nodes.kill(second)
        _watch(out, job, 2 * number, told, "recovery")
        second = nodes.add()
        _watch(out, job, 2 * number + 1, told, "growth")
    if job.wait():
        raise RuntimeError(log_of(out).read_text()[-3000:])
    found["seconds"] = round(time.monotonic() - began)
    for name, values in told.items():
        if values:
            found |= {name: values, f"{name}_median": statistics.median(values)}
    names = ("training_rows", "steps", "spearman", "cosine", "unexplained", "rows_learned")
    return {**found, **{name: summary_of(out)[name] for name in names}}


def _watch(
    out: Path, job: subprocess.Popen[bytes], before: int, told: dict[str, list[float]], name: str
) -> None:
    """Wait until the workers have begun again and logged steps, or ended; say what that took."""
    began, last = time.monotonic(), lines(out)[-1]["step"]
    while len(resumed(out)) <= before:
        if job.poll() is not None:
            return
        last = lines(out)[-1]["step"]
        time.sleep(0.1)
    wait_for_lines(out, len(lines(out)), job)
    told[name].append(round(time.monotonic() - began, 1))
    told["done_again"].append(last - resumed(out)[before])
    sys.stderr.write(f"{name} {told[name][-1]} s, from step {last} to {resumed(out)[before]}\n")


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True)
    with Nodes(folder) as cluster:
        result = run(cluster, sys.argv[1], folder / "training", int(sys.argv[3]), sys.argv[4:])
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
