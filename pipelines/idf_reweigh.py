"""Job: an IDF table in which some words have weights of one's own: stop words, words of a task.

A table holds counts, so a weight w is kept as the document frequency that gives it,
``df = (1 + n_docs) / exp(w) - 1``, rounded: 0 for what weighs most, n_docs for what weighs nothing.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import tyro

from pipelines.lineage import recorded
from schemas import parts, store, tables
from schemas.code_version import code_version
from schemas.command import run_job
from schemas.fingerprint import digest
from schemas.idf import IdfTable
from schemas.idf_drift import weight_drift
from schemas.words import segmenter

REWEIGHED = "reweighed"  # of the fingerprint: its counts are no longer those of a corpus


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdfReweighConfig:
    """Give words weights of your own, in another table; `idf diff` says what it would move."""

    base: tyro.conf.Positional[str]
    """Folder of the table."""
    words: Path
    """Text file: a word, a tab, its weight in nats; 0 for a stop word, at most ln(1 + n_docs)."""
    out: str
    """Folder of the table to create."""
    user_dictionary: Path | None = None
    """The one that the table was made with, if any."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and reweigh."""
    run_job(IdfReweighConfig, argv, idf_reweigh)


def idf_reweigh(config: IdfReweighConfig) -> dict[str, object]:
    """Write the table, or find that it has been written.

    Returns:
        `weights` of the words before and after, and how far the tables are apart: see
        `weight_drift`.

    Raises:
        ValueError: for a line that is no word and weight, a weight out of range, or a word that
            the segmenter does not cut as one.
        FileExistsError: if the folder holds another table.
    """
    opened = store.open_store(config.base)
    base = IdfTable.load(config.base)
    wanted = read_weights(config.words, base.unseen_idf)
    _check_words(wanted, base, config.user_dictionary)
    made = reweigh(base, wanted)
    run_id = digest(["reweigh", base.digest(), wanted])
    done = store.committed(config.out, run_id)
    if done is None:
        if store.exists(config.out):
            raise FileExistsError(f"{config.out} holds another table; give another --out")
        _write(config.out, opened, made, run_id, wanted)
    before, after = base.lookup(), made.lookup()
    changed = {
        word: [round(before.get(word, base.unseen_idf), 3), round(after[word], 3)]
        for word in wanted
    }
    drift = weight_drift(base, made)
    return {"table": config.out, "reused": done is not None, "weights": changed, **drift}


def read_weights(path: Path, most: float) -> dict[str, float]:
    """Words and their weights, in the order of the file.

    Raises:
        ValueError: naming the first line that is not a new word, a tab, and a weight up to `most`.
    """
    found: dict[str, float] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        word, _, weight = line.partition("\t")
        try:
            value = float(weight)
        except ValueError:
            value = math.nan
        if not word.strip() or not 0 <= value <= most:
            raise ValueError(
                f"{path}, line {number} must be a word, a tab and a weight of 0 to {most:.3f}: "
                f"{line!r}"
            )
        if word in found:
            raise ValueError(f"{path}, line {number}: {word!r} has a weight already")
        found[word] = value
    if not found:
        raise ValueError(f"{path} names no word")
    return found


def reweigh(base: IdfTable, wanted: Mapping[str, float]) -> IdfTable:
    """The table with the frequencies that come nearest to the weights.

    >>> table = IdfTable.from_counts({"你好": 3, "北京": 1}, 99, segmenter="jieba")
    >>> {word: round(idf, 2) for word, idf in reweigh(table, {"你好": 0, "的": 2}).lookup().items()}
    {'你好': 0.0, '北京': 3.91, '的': 1.97}
    """
    df = dict(zip(base.words.to_pylist(), base.df.tolist(), strict=True))
    df |= {word: round((1 + base.n_docs) / math.exp(w) - 1) for word, w in wanted.items()}
    words = sorted(df)
    counts = pa.array([df[word] for word in words], pa.int64()).to_numpy()
    return dataclasses.replace(base, words=pa.array(words, pa.string()), df=counts)


def _check_words(wanted: Mapping[str, float], base: IdfTable, dictionary: Path | None) -> None:
    cut = segmenter(dictionary)
    if cut.name != base.segmenter:
        raise ValueError(
            f"the table was cut by {base.segmenter}, not {cut.name}: give its --user-dictionary"
        )
    for word in wanted:
        if cut.words(word) != [word]:
            raise ValueError(
                f"{word!r} is no word here but {' '.join(cut.words(word))}: no sentence would have "
                "it; name its parts, or count with a --user-dictionary that has it"
            )


def _write(
    out: str, opened: store.Store, made: IdfTable, run_id: str, wanted: Mapping[str, float]
) -> None:
    parts.check_writable(out)
    part = parts.write(made.to_arrow(), out, "part-*.parquet", row_group=65_536)
    fingerprint = {**opened.fingerprint, "idf": made.digest(), REWEIGHED: digest(dict(wanted))}
    of = [commit.run_id for commit in opened.commits]
    summary = {"job": "idf-reweigh", "n_docs": made.n_docs, "words": len(made.df), "of": of}
    with recorded("idf-reweigh", out, run_id, [], {opened.location: opened.version}) as recording:
        store.commit(
            out,
            tables.IDF,
            [part],
            run_id=run_id,
            fingerprint=fingerprint,
            summary={**summary, "code": code_version()},
        )
        recording.committed = store.committed(out, run_id)
    parts.tidy(out)
