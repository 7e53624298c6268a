"""Settings, a night and the champion -> the training of a challenger.

It begins from the champion's weights, and by default reads the whole store once more, old rows and
new: on a night of new rows alone a student forgets the rest (docs/nightly.md has the figures).
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill_jobs import checkpoint
from distill_jobs.nightly.history import Event
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.settings import NightlySettings
from distill_jobs.train import TrainConfig
from schemas.fingerprint import digest

_SHAPE = (
    *("student", "embedding", "hidden", "layers", "share_layers", "projected"),
    *("vocabulary", "student_pooling", "target"),
)


@dataclasses.dataclass(frozen=True)
class Challenge:
    """A training to be done.

    Attributes:
        student: id of the challenger.
        config: its training.
        begins_from: id of the champion whose weights it begins from, None for none.
        why_not: why it does not begin from the champion.
    """

    student: str
    config: TrainConfig
    begins_from: str | None
    why_not: str


def challenge(
    settings: NightlySettings, dates: Sequence[str], version: int, champion: Event | None
) -> Challenge:
    """Lay a training out.

    Args:
        settings: of the nights.
        dates: of the night and those that it makes up for, in order; the last one is part of the
            challenger's id, and with `rows` all of their rows are trained on.
        version: of the store.
        champion: the promotion of the student that serves, None if there is none or it is unknown.
    """
    home = Home(settings.home)
    why_not = _why_cold(settings, home, champion)
    begins_from = champion.student if champion and not why_not else None
    flags = dict(settings.train) if begins_from else {**settings.train, **settings.first}
    if "rows" in flags:
        flags = {"since": dates[0], **flags}
    start = home.training(begins_from) if begins_from else None
    # Of the start the id, not the place: a home that was moved goes on.
    said = {name: str(value) for name, value in flags.items()}
    student = f"{dates[-1]}-{digest([said, settings.pooling, version, begins_from])[:8]}"
    config = TrainConfig(
        store=settings.store,
        out=home.training(student),
        store_version=version,
        pooling=settings.pooling,
        warm_start=start,
        **flags,
    )
    return Challenge(student, config, begins_from, why_not)


def shape(settings: NightlySettings) -> dict[str, Any]:
    """The flags that decide a student's shape: only one of the same shape can be begun from."""
    return {name: value for name, value in settings.train.items() if name in _SHAPE}


def _why_cold(settings: NightlySettings, home: Home, champion: Event | None) -> str:
    """Why there is nothing to begin from; empty if there is."""
    if champion is None:
        return "there is no champion that a night promoted"
    before: Mapping[str, Any] = champion.about.get("shape", {})
    if before != json.loads(json.dumps(shape(settings))):
        return f"the champion has another shape: {before}"
    folder: Path = home.training(champion.student)
    if checkpoint.newest(folder / "checkpoints")[0] is None:
        return f"{folder} has no sound checkpoint"
    return ""
