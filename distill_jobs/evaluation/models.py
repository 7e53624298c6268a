"""What is compared: teacher columns, exported students, a baseline; each turns texts into vectors.

texts -> `Model.encode` -> vectors [N, H]; `embed` does it once per distinct text.
Array letters: N texts, H vector width.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from distill_jobs import targets
from distill_jobs.encoder import SentenceEncoder
from distill_jobs.evaluation.tasks import LabelledSet
from distill_jobs.targets import Target
from schemas import parts, tables
from schemas.store import Store
from schemas.text import sentence_id
from schemas.vectors import Decoder, open_decoder, poolings

BASELINE = "baseline/tfidf"
BASELINE_WIDTH = 256
_PREFIXES = ("teacher/", "baseline/")

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Model:
    """One row of the comparison.

    Attributes:
        name: ``teacher/<pooling>``, ``baseline/<what>`` or a student's own.
        encode: texts to vectors [N, H].
        card: what is known of it; a student's export says.
        per_set: whether a text's vector depends on the other texts, so that each set is encoded
            by itself.
        target: the map from its teacher's vectors to its own, where they are not the same.
    """

    name: str
    encode: Callable[[Sequence[str]], Floats]
    card: Mapping[str, object] = dataclasses.field(default_factory=dict)
    per_set: bool = False
    target: Target | None = None

    @property
    def is_student(self) -> bool:
        """Whether it is neither a teacher's column nor a baseline."""
        return not self.name.startswith(_PREFIXES)

    def aim(self, reference: "Vectors") -> "Vectors":
        """The reference's vectors as this model was to learn them, if it could have."""
        if self.target is None or len(self.target.mean_H) != reference.width:
            return reference
        return reference.mapped(self.target.of)


class Vectors:
    """Holds the vector of each text; `flawed` are those that zeros stand for."""

    def __init__(self, texts: Sequence[str], vectors_NH: Floats, flawed: int = 0) -> None:
        self._rows = {text: row for row, text in enumerate(texts)}
        self._vectors_NH = vectors_NH
        self.flawed = flawed

    def of(self, texts: Sequence[str]) -> Floats:
        """Vectors [N, H] of some of the texts, in their order."""
        found: Floats = self._vectors_NH[[self._rows[text] for text in texts]]
        return found

    @property
    def width(self) -> int:
        """H."""
        return int(self._vectors_NH.shape[1])

    def mapped(self, change: Callable[[Floats], Floats]) -> "Vectors":
        """The same texts with other vectors."""
        return Vectors(list(self._rows), change(self._vectors_NH), self.flawed)


def all_texts(sets: Sequence[LabelledSet]) -> list[str]:
    """The distinct texts of all sets, sorted."""
    return sorted({text for labelled in sets for text in labelled.texts})


def embed(model: Model, sets: Sequence[LabelledSet]) -> Iterator[Vectors]:
    """Encode each distinct text once; yields the vectors for each set in turn.

    A student's vector with a number that is not finite becomes zeros and is counted: such a student
    is to be shown beside the others, as what it is.

    Raises:
        ValueError: if the model gives the wrong shape, or, being no student, a number that is not
            finite.
    """
    if model.per_set:
        for labelled in sets:
            yield _encode(model, labelled.texts)
        return
    yield from [_encode(model, all_texts(sets))] * len(sets)


def _encode(model: Model, texts: Sequence[str]) -> Vectors:
    vectors_NH = np.asarray(model.encode(texts), dtype=np.float32)
    if vectors_NH.ndim != 2 or len(vectors_NH) != len(texts):
        raise ValueError(
            f"{model.name} gave an array of shape {vectors_NH.shape} for {len(texts)} texts"
        )
    bad_N = np.logical_not(np.isfinite(vectors_NH).all(axis=1))
    if bad_N.any():
        if not model.is_student:
            first = texts[int(bad_N.argmax())]
            raise ValueError(f"{model.name} gave NaN or infinity for {first!r}")
        vectors_NH = np.where(bad_N[:, None], np.float32(0), vectors_NH)
    return Vectors(texts, vectors_NH, int(bad_N.sum()))


def teachers(store: Store, texts: Sequence[str], missing: Path) -> list[Model]:
    """One model per pooling of a teacher store.

    Args:
        store: holds the labelled sentences.
        texts: every text that will be asked for.
        missing: where to write the texts that the store lacks, one a line, if there are any.

    Raises:
        ValueError: if the store lacks texts, saying how many and how to add them.
    """
    decoders = _decoders(store)
    ids = pa.array([sentence_id(text) for text in texts], pa.string())
    held_N, vectors = _look_up(store, ids, decoders)
    if not held_N.all():
        lacking = [text for text, held in zip(texts, held_N, strict=True) if not held]
        ask_for(lacking, missing, store.location, [one.pooling for one in decoders])
    return [
        Model(f"teacher/{pooling}", Vectors(texts, vectors_NH).of)
        for pooling, vectors_NH in vectors.items()
    ]


def ask_for(
    lacking: Sequence[str], missing: Path, location: str, poolings: Sequence[str] = tables.POOLINGS
) -> NoReturn:
    """Write down the sentences that a teacher store lacks, and say how to add them.

    Raises:
        ValueError: always, with the command.
    """
    missing.parent.mkdir(parents=True, exist_ok=True)
    missing.write_text("\n".join(lacking) + "\n", encoding="utf-8")
    if tables.BESIDE in poolings:
        raise ValueError(
            f"{location} lacks {len(lacking):,} of the labelled sentences; they are in {missing}. "
            "Add them to the stores of both teachers, then put these side by side again: "
            "python -m pipelines store beside"
        )
    raise ValueError(
        f"the teacher store {location} lacks {len(lacking):,} of the labelled sentences; they are "
        f"in {missing}. Add them with: python -m pipelines teacher --corpus {missing} "
        f"--out {location} --pooling {' '.join(poolings)} and the --idf, --teacher, --date of the "
        "training store (or give it all sets: --corpus '<tasks>/*/*.tsv.gz' --fields text "
        "sentence1 sentence2 query document)"
    )


def _decoders(store: Store) -> list[Decoder]:
    schema = store.dataset().schema
    found = [open_decoder(store, pooling) for pooling in poolings(schema)]
    if not found:
        raise ValueError(f"{store.location} is no teacher store: its columns are {schema.names}")
    return found


def _look_up(
    store: Store, ids: pa.Array, decoders: list[Decoder]
) -> tuple[npt.NDArray[np.bool_], dict[str, Floats]]:
    """Which ids the store has, and their vectors per pooling; parts are read one at a time."""
    columns = [name for one in decoders for name in one.columns]
    held_N = np.zeros(len(ids), dtype=np.bool_)
    vectors: dict[str, Floats] = {}
    low, high = pc.min_max(ids).values() if len(ids) else ("", "")
    for part in store.parts:
        if not part.rows or str(part.last) < str(low) or str(high) < str(part.first):
            continue
        table = parts.read(store.path_of(part), ["sentence_id", *columns])
        wanted = pc.index_in(table["sentence_id"], value_set=ids)
        mask = wanted.is_valid()
        rows, hits = wanted.filter(mask).to_numpy(), table.filter(mask)
        held_N[rows] = True
        for one in decoders if len(rows) else ():
            found_NH = one.decode(hits)
            matrix_NH = vectors.setdefault(
                one.pooling, np.zeros((len(ids), found_NH.shape[1]), dtype=np.float32)
            )
            matrix_NH[rows] = found_NH
    return held_N, vectors


def student(argument: str) -> Model:
    """Load a finished student from ``NAME=FOLDER``.

    Raises:
        ValueError: if the argument is not of that form, or the name belongs to another model.
    """
    name, sign, folder = argument.partition("=")
    if not (name and sign and folder):
        raise ValueError(f"a student must be NAME=FOLDER, got {argument!r}")
    if name.startswith(_PREFIXES):
        raise ValueError(f"a student cannot be called {name!r}: that prefix is taken")
    encoder = SentenceEncoder.load(
        Path(folder), threads=1
    )  # as `distill_jobs.evaluation.latency` times it
    target = targets.of_export(Path(folder), encoder.card)
    return Model(name, encoder.encode, dict(encoder.card), target=target)


def tfidf(seed: int) -> Model:
    """What character statistics alone can do: TF-IDF of 1- and 2-grams, reduced to 256 numbers.

    It is fitted on the texts of the set at hand, test texts included, which flatters it.
    """
    return Model(BASELINE, functools.partial(_tfidf, seed=seed), per_set=True)


def _tfidf(texts: Sequence[str], seed: int) -> Floats:
    counted = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 2), sublinear_tf=True, max_features=20_000
    ).fit_transform(texts)
    width = min(BASELINE_WIDTH, min(counted.shape) - 1)
    if width < 1:
        return np.asarray(counted.toarray(), dtype=np.float32)
    with threadpool_limits(1):  # threads made this 10 times as slow on a busy 2-core machine
        reduced = TruncatedSVD(width, random_state=seed).fit_transform(counted)
    return np.asarray(reduced, dtype=np.float32)
