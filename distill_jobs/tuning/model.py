"""A tuned folder: an export that serves the tuned encoder, and a head beside it.

config.json, model.*, preparer files    as `distill_jobs.export` writes them; `tuned` in the card
head.safetensors, head.json             the head, its labels, how vectors are centred and scaled
README.md                               what it is and how well it does

Array letters: N texts or pairs, H vector width, C classes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from distill_jobs.encoder import SentenceEncoder, read_card
from distill_jobs.evaluation.tasks import Kind
from distill_jobs.tuning.teacher_head import pair_features
from schemas.fingerprint import file_digest, read_sealed
from schemas.weights import Floats

HEAD, ABOUT = "head.safetensors", "head.json"


class Prediction(NamedTuple):
    """What a model says of one text or pair.

    Attributes:
        label: the likeliest class.
        probabilities: of all classes; they sum to 1.
    """

    label: str
    probabilities: dict[str, float]


class TunedModel:
    """A tuned student with its head, ready to predict; needs no torch."""

    def __init__(
        self, encoder: SentenceEncoder, head: Mapping[str, Floats], about: Mapping[str, Any]
    ) -> None:
        """Hold what `load` read."""
        self._encoder = encoder
        self._head = head
        self.about = about
        self.classes = tuple(about["classes"])
        self.sides = 1 if about["kind"] == Kind.CLASSES else 2

    @classmethod
    def load(cls, folder: str | Path, backend: str = "auto") -> "TunedModel":
        """Read the folder that ``python -m distill_jobs tune`` wrote.

        Args:
            folder: of the tuned model.
            backend: of its encoder, as `SentenceEncoder.load` takes it.

        Raises:
            FileNotFoundError: if it is no such folder.
            ValueError: if a file has changed since it was written, or is of another model.
        """
        folder = Path(folder)
        if not (folder / ABOUT).is_file():
            raise FileNotFoundError(f"{folder} is not a tuned model: it has no {ABOUT}")
        about = read_sealed(folder / ABOUT)
        if file_digest(folder / HEAD) != about["sha256"]:
            raise ValueError(f"{folder / HEAD} has changed since it was written")
        encoder = SentenceEncoder.load(folder, backend)
        if encoder.card["export_id"] != about["export_id"]:
            raise ValueError(f"the head in {folder} belongs to another encoder")
        return cls(encoder, safetensors.numpy.load_file(folder / HEAD), about)

    def predict(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> list[Prediction]:
        """Say the class of each text, or of each pair of texts.

        Raises:
            ValueError: if the model was tuned on scores, or is asked about pairs and gets texts, or
                the other way round.
        """
        if not self.classes:
            raise ValueError("this model gives scores, no classes: ask for outputs")
        logits_NC = self.outputs(texts).astype(np.float64)
        odds_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
        shares_NC = odds_NC / odds_NC.sum(axis=1, keepdims=True)
        return [
            Prediction(
                self.classes[int(row_C.argmax())],
                dict(zip(self.classes, row_C.tolist(), strict=True)),
            )
            for row_C in shares_NC
        ]

    def outputs(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> Floats:
        """Logits [N, C], or scores [N, 1] in the unit of the training rows."""
        sides = self._sides(texts)
        vectors = np.split(
            self._encoder.encode([one for side in sides for one in side]), len(sides)
        )
        scaled = [(one_NH - self._head["offset"]) * self._head["factor"] for one_NH in vectors]
        inputs_NF = scaled[0] if self.sides == 1 else pair_features(*scaled)
        found_NC = _linear(inputs_NF, self._head, "linear")
        if self.sides == 2:
            hidden_NK = _linear(inputs_NF, self._head, "hidden").clip(min=0)
            found_NC += hidden_NK @ self._head["out.weight"].T
        if self.classes:
            return found_NC
        mean, deviation = self.about["score_scale"]
        return np.asarray(found_NC * deviation + mean, dtype=np.float32)

    def _sides(self, texts: Sequence[Any]) -> list[list[str]]:
        """The texts by side: all first sentences, and of pairs all second ones."""
        wanted = "texts" if self.sides == 1 else "pairs of texts"
        if isinstance(texts, str | bytes):
            raise ValueError(f"this model takes a list of {wanted}, got {texts[:40]!r}")
        rows = [(one,) if isinstance(one, str) else tuple(one) for one in texts]
        odd = [row for row in rows if len(row) != self.sides]
        if odd:
            raise ValueError(f"this model takes {wanted}, got {odd[0]!r}")
        return [[row[side] for row in rows] for side in range(self.sides)]


def _linear(inputs_NF: Floats, head: Mapping[str, Floats], layer: str) -> Floats:
    found: Floats = inputs_NF @ head[f"{layer}.weight"].T + head[f"{layer}.bias"]
    return found


def held(folder: Path, name: str) -> dict[str, Any] | None:
    """What a tuned folder says of its training, if it is the one of that name; None if not there.

    Raises:
        FileExistsError: if the folder holds something else.
        ValueError: if a file in it has changed.
    """
    if not folder.exists():
        return None
    try:
        found: dict[str, Any] = read_card(folder)
    except FileNotFoundError:
        found = {}
    if found.get("export_id") != name or not (folder / ABOUT).is_file():
        raise FileExistsError(f"{folder} holds something else; give another --out")
    result: dict[str, Any] = found["tuned"]
    return result


def readme(result: Mapping[str, Any], teacher: str) -> str:
    """The README of a tuned folder."""
    scores = "\n".join(f"| {name} | {value:.4f} |" for name, value in result["scores"].items())
    asked = '["今天天气怎么样"]' if result["kind"] == "classes" else '[("怎么还款", "如何还款")]'
    call = "outputs" if result["kind"] == "graded" else "predict"
    start = "random weights" if result["from_scratch"] else "its distilled weights"
    return f"""# {result["student"]} student of {teacher}, tuned on {result["task"]}

From {start}, with {result["labels"]:,} labelled rows; epoch {result["epoch"]} of
{result["epochs"]} was best on {result["dev_rows"]:,} others.

| on {result["test_rows"]:,} rows of {result["scored_on"]} | |
|---|---|
{scores}

```python
from distill_jobs.tuning.model import TunedModel

model = TunedModel.load("this folder")
model.{call}({asked})
```

`SentenceEncoder.load` loads the encoder alone: its vectors are those of the task, no longer the
teacher's. What config.json says of the validation is from before the tuning.

```json
{json.dumps(dict(result["settings"]), ensure_ascii=False, indent=2)}
```
"""
