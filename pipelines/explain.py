"""Job: show what a sentence becomes: its words, their IDF, and each token's weight."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.embedding import find_teacher
from schemas.command import run_job
from schemas.idf import IdfTable
from schemas.prepare import Preparer, read_tokenizer
from schemas.text import clean
from schemas.words import segmenter


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainConfig:
    """Show the words, tokens and weights of a sentence."""

    sentence: str
    """The sentence."""
    idf: str
    """Folder of the IDF table."""
    teacher: str
    """The teacher whose tokenizer cuts the words into tokens."""
    user_dictionary: Path | None = None
    """The user dictionary that the IDF table was made with."""


def main(argv: Sequence[str]) -> None:
    """Read the flags and explain."""
    run_job(ExplainConfig, argv, explain)


def explain(config: ExplainConfig) -> dict[str, object]:
    """Prepare the sentence as the teacher job would.

    Returns:
        The cleaned text, its words with their IDF, and its tokens with their weights.
    """
    table = IdfTable.load(config.idf)
    tokenizer = read_tokenizer(find_teacher(config.teacher).folder)
    preparer = Preparer(tokenizer, segmenter(config.user_dictionary), table)
    (prepared,) = preparer.prepare([clean(config.sentence)])
    idf = table.lookup()
    tokens = preparer.tokens(prepared.token_ids.tolist())
    if sys.stdout.isatty():
        longest = max(prepared.weights) or 1.0
        for token, weight in zip(tokens, prepared.weights, strict=True):
            sys.stdout.write(f"{token:>10} {weight:.3f} {'#' * round(40 * weight / longest)}\n")
    return {
        "text": prepared.text,
        "words": {word: round(idf.get(word, table.unseen_idf), 3) for word in prepared.words},
        "tokens": list(zip(tokens, [round(float(w), 4) for w in prepared.weights], strict=True)),
    }
