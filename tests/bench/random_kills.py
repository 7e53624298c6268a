"""Kill a teacher run at random moments; each time, the same command must end with the same store.

    python -m tests.bench.random_kills --corpus work/demo/sample/corpus.txt --teacher T \\
        --out work/random-kills --kills 200

Each run is a process of its own, forked from one that has imported Beam and torch, and killed with
SIGKILL after a random part of the time that an undisturbed run takes. After each kill a reader must
see no store at all, or the finished one; after the next run every part must have the bytes of the
undisturbed run, and every sentence must be there once. Prints what was found, as JSON; exits 1 if
anything was not as promised.
"""

import collections
import contextlib
import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import tyro

from pipelines.idf import IdfConfig, count_idf
from pipelines.teacher import TeacherConfig, embed_corpus
from schemas import store


@dataclasses.dataclass(frozen=True, kw_only=True)
class KillsConfig:
    """Kill and rerun."""

    corpus: Path
    """Text file; its first sentences are used."""
    teacher: str
    """The teacher."""
    out: Path
    """Folder to work in."""
    kills: int = 200
    """How many."""
    sentences: int = 2000
    """In the corpus of each run."""
    rows_per_part: int = 128
    """Of each run."""
    seed: int = 0
    """Of the moments."""


def main(config: KillsConfig) -> int:
    """Kill, rerun, compare; returns the exit status."""
    config.out.mkdir(parents=True, exist_ok=True)
    corpus = config.out / "corpus.txt"
    with config.corpus.open(encoding="utf-8") as file:
        corpus.write_text(
            "".join(line for line, _ in zip(file, range(config.sentences), strict=False))
        )
    count_idf(IdfConfig(corpus=(str(corpus),), out=str(config.out / "idf")))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.teacher"])

    def start(name: str) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=run, args=(config, str(corpus), name))
        process.start()
        return process

    lasted = []
    for number in range(4):  # the first pays for the imports
        began = time.monotonic()
        start(f"undisturbed-{number}").join()
        lasted.append(time.monotonic() - began)
    duration = statistics.median(lasted[1:])
    whole = [content(config.out / f"undisturbed-{number}") for number in range(4)]
    assert all(one == whole[0] for one in whole), "undisturbed runs differ"
    moments = np.random.default_rng(config.seed).uniform(0, 1.05 * duration, config.kills)
    found: collections.Counter[str] = collections.Counter()
    for number, moment in enumerate(moments.tolist()):
        found.update(kill_and_rerun(config.out / f"killed-{number}", start, moment, whole[0]))
        if number % 10 == 9:
            sys.stderr.write(json.dumps({"kills": number + 1, **found}) + "\n")
    report = {
        "kills": config.kills,
        "parts_of_a_run": len(whole[0]),
        "undisturbed_seconds": round(duration, 2),
        **dict(sorted(found.items())),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return int(found["ended_with_the_same_content"] != config.kills)


def run(config: KillsConfig, corpus: str, name: str) -> None:
    """The teacher job, in a process of its own; its summary lies beside the store."""
    summary = embed_corpus(
        TeacherConfig(
            corpus=(corpus,),
            idf=str(config.out / "idf"),
            teacher=config.teacher,
            out=str(config.out / name),
            date="2026-01-01",
            rows_per_part=config.rows_per_part,
        )
    )
    (config.out / f"{name}.json").write_text(json.dumps(summary))


def kill_and_rerun(out: Path, start, moment: float, whole: dict[str, str]) -> dict[str, int]:
    """One round; returns what to count."""
    process = start(out.name)
    time.sleep(moment)
    with contextlib.suppress(ProcessLookupError):  # it was quicker
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    counts = {f"killed_{phase(out)}": 1, "visible_halves": int(halves(out, whole))}
    again = start(out.name)
    again.join()
    same = again.exitcode == 0 and content(out) == whole
    summary = json.loads(out.with_name(f"{out.name}.json").read_text()) if same else {}
    counts["ended_with_the_same_content"] = int(same)
    counts["parts_kept"] = int(summary.get("parts_kept_from_earlier_try", 0))
    counts["leftover_staging"] = int(Path(f"{out}.staging").exists())
    if same:
        for path in out.parent.glob(f"{out.name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return counts


def phase(out: Path) -> str:
    """What a killed run had done."""
    if store.exists(out):
        return "after_the_commit"
    staged = [path.suffix for path in Path(f"{out}.staging").glob("*/*")]
    if ".json" in staged:
        return "while_embedding"
    return "while_preparing" if ".prepared" in staged else "before_the_first_shard"


def halves(out: Path, whole: dict[str, str]) -> bool:
    """Whether a reader sees something that is neither nothing nor all."""
    return store.exists(out) and content(out) != whole


def content(out: Path) -> dict[str, str]:
    """Path and sha256 of every committed part, checked against the files; no id twice."""
    opened = store.open_store(out)
    opened.verify()
    keys = [key for chunk in opened.keys("0", "g") for key in chunk.to_pylist()]
    assert len(keys) == len(set(keys)) == opened.rows, f"{out} holds a sentence twice"
    return {part.path: part.sha256 for part in opened.parts}


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(KillsConfig)))
