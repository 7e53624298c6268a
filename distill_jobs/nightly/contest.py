"""Champion and challenger, side by side: labelled sets, bytes, and the time of a sentence.

`distill_jobs.evaluate` gives the scores. Times are taken here in turns, sentence by sentence, so
that whatever else the machine does falls on both.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_jobs.encoder import SentenceEncoder
from distill_jobs.evaluate import EvaluateConfig, evaluate
from distill_jobs.evaluation.latency import one_thread
from distill_jobs.evaluation.models import all_texts
from distill_jobs.evaluation.tasks import read_sets
from distill_jobs.nightly.settings import NightlySettings
from schemas.fingerprint import digest
from schemas.store import open_store

_SENTENCES, _WARM = 300, 20
CHAMPION, CHALLENGER = "champion", "challenger"


def contest(settings: NightlySettings, students: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Compare.

    Args:
        settings: of the nights.
        students: folder of the export by name; the champion may be missing.
        out: folder for the evaluation's table and report.

    Returns:
        ``models``: what the evaluation says of each student; ``minus_champion``: value, low, high;
        ``sets``: names the labelled sets as they are; ``slower``, ``larger``: of the challenger, in
        shares of the champion's; ``microseconds`` by student.
    """
    asked = settings.evaluation
    config = EvaluateConfig(
        tasks=settings.tasks,
        teacher_store=settings.labelled,
        out=out,
        student=tuple(f"{name}={folder}" for name, folder in students.items()),
        sets=asked.sets,
        reference=f"teacher/{settings.pooling}",
        max_rows=asked.max_rows,
        budgets=asked.budgets,
        seed=asked.seed,
    )
    summary = evaluate(config)
    models = {name: summary["models"][name] for name in students}  # type: ignore[index]
    sets = read_sets(settings.tasks, max_rows=asked.max_rows, seed=asked.seed, only=asked.sets)
    encoders = {name: SentenceEncoder.load(folder, threads=1) for name, folder in students.items()}
    times = times_in_turns({n: e.encode for n, e in encoders.items()}, all_texts(sets))
    sizes = {name: int(encoder.card["file_bytes"]) for name, encoder in encoders.items()}
    both = CHAMPION in students
    return {
        "models": models,
        "minus_champion": minus_champion(models) if both else None,
        "sets": digest(dict(open_store(str(summary["evaluation"])).fingerprint)),
        "microseconds": {name: round(us, 1) for name, us in times.items()},
        "bytes": sizes,
        "slower": round(times[CHALLENGER] / times[CHAMPION], 4) if both else None,
        "larger": round(sizes[CHALLENGER] / sizes[CHAMPION], 4) if both else None,
    }


def minus_champion(models: Mapping[str, Any]) -> list[float | None]:
    """How much higher the challenger's mean value is: value, low, high of the paired interval.

    The evaluation gives each student's difference to the better one.

    >>> minus_champion({"challenger": {}, "champion": {"minus_best": {"value": [-0.2, -0.3, 0.1]}}})
    [0.2, -0.1, 0.3]
    """
    behind = models[CHALLENGER].get("minus_best")
    if behind:
        return list(behind["value"])
    value, low, high = models[CHAMPION]["minus_best"]["value"]
    return [None if one is None else -one for one in (value, high, low)]


def times_in_turns(
    encoders: Mapping[str, Callable[[Sequence[str]], object]], texts: Sequence[str]
) -> dict[str, float]:
    """Median microseconds of one sentence by each encoder, on one thread."""
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    with one_thread():
        for number in range(_SENTENCES + _WARM):
            text = [texts[number * len(texts) // (_SENTENCES + _WARM)]]
            for name, encode in encoders.items():
                began = time.perf_counter()
                encode(text)
                taken[name].append((time.perf_counter() - began) * 1e6)
    return {name: float(np.median(times[_WARM:])) for name, times in taken.items()}
