"""Labelled sets on disk -> rows of clean sentences with their labels, and rankings made of pairs.

A folder holds one folder per set, with `train`, `dev`, `test` as .tsv or .tsv.gz: a header row, tab
separated, no quoting. The columns say what a set is for (`COLUMNS`). What is scored is the test
split, or dev where there is none; train only teaches the probes.
"""

import dataclasses
import enum
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from schemas.text import admit

MAX_UNUSABLE = 0.01  # share of a file's rows without text; above it the file is not what it says


class Kind(enum.StrEnum):
    """What a set's rows are."""

    PAIRS = "pairs"  # the same meaning, yes (1) or no (0)
    GRADED = "graded"  # how close in meaning, a number
    CLASSES = "classes"  # a text and its class
    RETRIEVAL = "retrieval"  # a query and a document that answers it


COLUMNS: dict[Kind, tuple[str, ...]] = {
    Kind.PAIRS: ("sentence1", "sentence2", "label"),
    Kind.GRADED: ("sentence1", "sentence2", "score"),
    Kind.CLASSES: ("text", "label"),
    Kind.RETRIEVAL: ("query", "document"),
}


class Row(NamedTuple):
    """One labelled row: its clean sentences (one or two) and the label as written ("" if none)."""

    sentences: tuple[str, ...]
    label: str


@dataclasses.dataclass(frozen=True)
class LabelledSet:
    """One set, ready to be scored.

    Attributes:
        name: of its folder.
        kind: what its rows are.
        split: the file that is scored, test or dev.
        test: the rows that are scored.
        train: the rows that probes learn from; only classes have any.
        unusable: rows left out because a sentence is blank, too long or no text.
        overlaps: rows left out because a sentence is in a training store.
    """

    name: str
    kind: Kind
    split: str
    test: tuple[Row, ...]
    train: tuple[Row, ...] = ()
    unusable: int = 0
    overlaps: int = 0

    @property
    def texts(self) -> list[str]:
        """The distinct sentences, in order of appearance."""
        rows = self.test + self.train
        return list(dict.fromkeys(text for row in rows for text in row.sentences))


@dataclasses.dataclass(frozen=True)
class Ranking:
    """A retrieval task: queries, documents, and which documents (by number) answer each query."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    relevant: tuple[frozenset[int], ...]


def read_sets(
    folder: Path, *, max_rows: int, seed: int, only: Sequence[str] = ()
) -> list[LabelledSet]:
    """Read every set of a folder, by name.

    Args:
        folder: holds a folder per set.
        max_rows: of a test split; twice as many of a train split. More are drawn by `seed`.
        seed: of the draw; a set's draw does not depend on the other sets.
        only: names of the wanted sets; none means all.

    Raises:
        FileNotFoundError: if there is no such folder, or a wanted set is not in it.
        ValueError: naming the file, column or value that is wrong.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder of labelled sets at {folder}")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    missing = sorted(set(only) - set(names))
    if missing:
        raise FileNotFoundError(f"no set {', '.join(missing)} in {folder}: it has {names}")
    wanted = [name for name in names if not only or name in only]
    if not wanted:
        raise ValueError(f"{folder} has no labelled sets: expected <name>/test.tsv or .tsv.gz")
    return [_read_set(folder / name, max_rows, seed) for name in wanted]


def ranking(labelled: LabelledSet) -> Ranking | None:
    """Make a retrieval task of pairs, or None if the set has no positive pair.

    Queries are the first sentences of positive pairs, documents all distinct second sentences;
    a query's answers are the documents that it is paired with as positive. A pair of equal
    sentences asks nothing and is left out, and a document is never the query itself. Unlabelled
    paraphrases count as wrong, so scores compare models; they are not absolute.

    >>> rows = (Row(("花呗怎么还", "花呗如何还款"), "1"), Row(("花呗怎么还", "借呗在哪"), "0"))
    >>> found = ranking(LabelledSet("afqmc", Kind.PAIRS, "test", rows))
    >>> found.queries, found.documents, found.relevant
    (('花呗怎么还',), ('花呗如何还款', '借呗在哪'), (frozenset({0}),))
    """
    if labelled.kind not in (Kind.PAIRS, Kind.RETRIEVAL):
        return None
    pairs = [(row, row.sentences[0], row.sentences[1]) for row in labelled.test]
    documents = {text: number for number, text in enumerate(dict.fromkeys(b for _, _, b in pairs))}
    answers: dict[str, set[int]] = {}
    for row, query, document in pairs:
        positive = labelled.kind is Kind.RETRIEVAL or float(row.label) == 1
        if positive and query != document:
            answers.setdefault(query, set()).add(documents[document])
    if not answers:
        return None
    relevant = tuple(frozenset(numbers) for numbers in answers.values())
    return Ranking(tuple(answers), tuple(documents), relevant)


def _read_set(folder: Path, max_rows: int, seed: int) -> LabelledSet:
    splits = {name: split_file(folder, name) for name in ("test", "dev", "train")}
    scored = next((name for name in ("test", "dev") if splits[name]), None)
    if scored is None:
        raise ValueError(f"{folder} has neither test.tsv nor dev.tsv (nor .tsv.gz)")
    path = splits[scored]
    assert path is not None
    kind, test, unusable = read_file(path)
    train: list[Row] = []
    if kind is Kind.CLASSES and splits["train"] is not None:
        train_kind, train, more = read_file(splits["train"])
        if train_kind is not kind:
            raise ValueError(f"{splits['train']} has columns for {train_kind}, {path} for {kind}")
        tested = {row.sentences for row in test}
        train = [row for row in train if row.sentences not in tested]
        unusable += more
    check_labels(path, kind, test)
    rng = np.random.default_rng([seed, zlib.crc32(folder.name.encode())])
    drawn = _draw(test, max_rows, rng)
    return LabelledSet(folder.name, kind, scored, drawn, _draw(train, 2 * max_rows, rng), unusable)


def split_file(folder: Path, split: str) -> Path | None:
    """The file of a set's split, or None if there is none.

    Raises:
        ValueError: if there are two.
    """
    found = [path for end in ("tsv", "tsv.gz") if (path := folder / f"{split}.{end}").is_file()]
    if len(found) > 1:
        raise ValueError(f"{folder} has both {found[0].name} and {found[1].name}; keep one")
    return found[0] if found else None


def _draw(rows: list[Row], most: int, rng: np.random.Generator) -> tuple[Row, ...]:
    """The first rows after a shuffle, in that order."""
    return tuple(rows[number] for number in rng.permutation(len(rows))[:most])


def read_file(path: Path) -> tuple[Kind, list[Row], int]:
    """Read a split: its kind, its usable rows, and how many rows were not."""
    lines = _fields(path)
    kind, places = _kind_of(path, next(lines)[1])
    rows: list[Row] = []
    bad: list[str] = []
    for number, fields in lines:
        sentences = [admit(fields[place]) for place in places[:-1]]
        reasons = [reason for _, reason in sentences if reason]
        if reasons:
            bad.append(f"line {number}: {reasons[0]}")
        else:
            label = fields[places[-1]].strip() if places[-1] >= 0 else ""
            rows.append(Row(tuple(text for text, _ in sentences), label))
    if not rows:
        raise ValueError(f"{path} has no rows")
    if len(bad) > MAX_UNUSABLE * (len(rows) + len(bad)):
        raise ValueError(f"{path}: {len(bad)} rows hold no usable text, the first {bad[0]}")
    return kind, rows, len(bad)


def _fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each line, all as many as the header's."""
    width = 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                fields = raw.decode("utf-8-sig").rstrip("\r\n").split("\t")
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {number}: not UTF-8") from error
            width = width or len(fields)
            if len(fields) != width:
                raise ValueError(f"{path}, line {number}: {len(fields)} fields, header has {width}")
            yield number, fields
    if not width:
        raise ValueError(f"{path} is empty")


def _kind_of(path: Path, header: list[str]) -> tuple[Kind, list[int]]:
    """A file's kind, and where its sentences and label are; a label at -1 is not there."""
    for kind, columns in COLUMNS.items():
        if set(columns) <= set(header):
            places = [header.index(column) for column in columns]
            return kind, places if kind is not Kind.RETRIEVAL else [*places, -1]
    known = "; ".join(", ".join(columns) for columns in COLUMNS.values())
    raise ValueError(f"{path} has columns {header}, expected those of one kind: {known}")


def check_labels(path: Path, kind: Kind, rows: list[Row]) -> None:
    """Refuse labels that cannot be scored."""
    labels = {row.label for row in rows}
    column = COLUMNS[kind][-1]
    if kind is Kind.PAIRS and labels != {"0", "1"}:
        odd = sorted(labels - {"0", "1"}) or sorted(labels)
        raise ValueError(f"{path}: column {column} must hold both 0 and 1, got {odd[:3]}")
    if kind is Kind.GRADED:
        odd = [label for label in sorted(labels) if not _is_number(label)]
        if odd:
            raise ValueError(f"{path}: column {column} must hold numbers, got {odd[0]!r}")
    if kind in (Kind.GRADED, Kind.CLASSES) and len(labels) < 2:
        raise ValueError(f"{path}: column {column} has one value only, {labels.pop()!r}")


def _is_number(label: str) -> bool:
    try:
        return bool(np.isfinite(float(label)))
    except ValueError:
        return False
