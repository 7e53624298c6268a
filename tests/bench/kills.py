"""Train a student three times on two Ray workers: undisturbed, a worker killed, the driver killed.

    python -m tests.bench.kills work/teacher work/kills [more flags of `distill_jobs train`]

Prints whether all three end with the same weights, and what each took.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from tests.cluster_kit import finish, newest_student, start, training_workers, wait_for_checkpoint


def main(store: str, folder: str, flags: list[str]) -> dict[str, object]:
    """Run the three trainings."""
    found = {}
    for name in ("undisturbed", "worker killed", "driver killed"):
        out, began = Path(folder) / name.replace(" ", "-"), time.monotonic()
        process = start(store, out, 2, flags)
        wait_for_checkpoint(out, process)
        if name == "worker killed":
            os.kill(training_workers(process.pid)[0], signal.SIGKILL)
        elif name == "driver killed":
            process.send_signal(signal.SIGKILL)
            process.communicate()
            process = start(store, out, 2, flags)
        summary = finish(process, out)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        found[name] = {
            "weights": hashlib.sha256(newest_student(out).read_bytes()).hexdigest()[:16],
            "seconds": round(time.monotonic() - began),
            "steps_logged": [line["step"] for line in lines if "spearman" in line],
            "peak_memory_mb": max(line.get("peak_memory_bytes", 0) for line in lines) // 2**20,
            **{name: summary[name] for name in ("training_rows", "steps", "spearman", "cosine")},
        }
    return {"same_weights": len({run["weights"] for run in found.values()}) == 1, **found}


if __name__ == "__main__":
    result = main(sys.argv[1], sys.argv[2], sys.argv[3:])
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    raise SystemExit(not result["same_weights"])
