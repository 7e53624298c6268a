"""Models and labelled sets -> result: every model embedded once, scored on every set, and timed."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from distill_jobs.evaluation import latency, metrics
from distill_jobs.evaluation.disagreements import worst
from distill_jobs.evaluation.likeness import Likeness, Reference
from distill_jobs.evaluation.metrics import Doubles
from distill_jobs.evaluation.models import Model, Vectors, all_texts, embed
from distill_jobs.evaluation.result import ALL, NEIGHBOURS, Facts, Result, Score
from distill_jobs.evaluation.scoring import Scorer
from distill_jobs.evaluation.tasks import LabelledSet
from schemas.command import on_terminal


def compare(
    compared: Sequence[Model], sets: Sequence[LabelledSet], *, budgets: tuple[int, ...], seed: int
) -> Result:
    """Score every model on every set.

    Args:
        compared: the reference first; it gives a text the same vector in every set.
        sets: overlaps removed.
        budgets: see `Scorer`, as for `seed`.
        seed: of every draw.
    """
    assert not compared[0].per_set
    scorers = [Scorer(labelled, budgets, seed) for labelled in sets]
    base = next(embed(compared[0], sets))
    with threadpool_limits(1):  # as for all that is likened to it: equal vectors, equal neighbours
        reference = Reference(sets, base, seed)
    students = [model for model in compared if model.is_student]
    facts = {m.name: _teacher_facts(students) for m in compared if not (m.is_student or m.per_set)}
    scores: list[Score] = []
    likeness: dict[str, Likeness] = {}
    for model in compared:
        _tell(model.name, "vectors")
        embedded = [base] * len(sets) if model is compared[0] else embed(model, sets)
        found, vectors = _scores(model, scorers, embedded, base)
        scores += found
        if model.per_set:
            continue
        likeness[model.name] = _liken(model, reference, vectors, model.aim(base))
        scores.append(_neighbours(model, likeness[model.name]))
        if model.is_student:  # every set's vectors are then those of all texts
            facts[model.name] = _student_facts(model, vectors, model.aim(base), all_texts(sets))
    _tell("", "")
    theirs, *mine_of = [likeness[model.name].pair_cosines for model in (compared[0], *students)]
    pairs = dict(zip([model.name for model in students], mine_of, strict=True))
    return Result(
        models=tuple(model.name for model in compared),
        sets=tuple(sets),
        scores=tuple(scores),
        facts=facts,
        cards={model.name: model.card for model in students},
        pair_cosines={name: _joined(theirs, mine) for name, mine in pairs.items()},
        likeness=likeness,
        disagreements={name: worst(sets, theirs, mine) for name, mine in pairs.items()},
    )


def _scores(
    model: Model, scorers: Sequence[Scorer], embedded: Iterable[Vectors], base: Vectors
) -> tuple[list[Score], Vectors]:
    """Scores on all sets, and the vectors of the last."""
    found: list[Score] = []
    vectors, aim = base, model.aim(base)
    for scorer, vectors in zip(scorers, embedded, strict=True):
        _tell(model.name, scorer.labelled.name)
        index = aim if model.is_student and vectors.width == aim.width else None
        with threadpool_limits(1):  # threads cost probes 6-fold on a busy 2-core machine
            found += scorer.scores(model.name, vectors, index)
    return found, vectors


def _liken(model: Model, reference: Reference, vectors: Vectors, aim: Vectors) -> Likeness:
    _tell(model.name, "likeness")
    with threadpool_limits(1):
        return reference.liken(vectors, aim)


def _neighbours(model: Model, likeness: Likeness) -> Score:
    return Score(model.name, ALL, NEIGHBOURS, likeness.neighbours_R, likeness.queries, 0)


def _joined(theirs: Sequence[Doubles], mine: Sequence[Doubles]) -> Doubles:
    """Cosines [2, P] of the pairs of all sets."""
    return np.stack([np.concatenate(list(theirs)), np.concatenate(list(mine))])


def _student_facts(model: Model, mine: Vectors, aim: Vectors, texts: Sequence[str]) -> Facts:
    _tell(model.name, "speed")
    aligned = None
    if mine.width == aim.width:
        aligned = float(metrics.cosines(mine.of(texts), aim.of(texts)).mean())
    return Facts(
        bytes=_integer(model.card.get("file_bytes")),
        parameters=_integer(model.card.get("parameters")),
        **dataclasses.asdict(latency.measure(model.encode, texts)),
        alignment=aligned,
    )


def _teacher_facts(students: Sequence[Model]) -> Facts:
    """The teacher itself is not here: what is known of it is what a student's card says."""
    card: Mapping[str, object] = students[0].card if students else {}
    speed = card.get("teacher_sentences_per_second")
    return Facts(
        bytes=_integer(card.get("teacher_bytes")),
        parameters=_integer(card.get("teacher_parameters")),
        batch_us=1e6 / speed if isinstance(speed, (int, float)) and speed > 0 else None,
    )


def _integer(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


def _tell(model: str, step: str) -> None:
    """One line that moves on a terminal, JSON lines in a log; nothing to say ends the line."""
    if on_terminal():
        sys.stderr.write(f"\r\x1b[K{model}  {step}" if model else "\r\x1b[K")
    elif model:
        sys.stderr.write(json.dumps({"model": model, "step": step}) + "\n")
    sys.stderr.flush()
