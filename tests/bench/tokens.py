"""Are ids, places and weights those of the tokenizers library, on real lines?

    python -m tests.bench.tokens --corpus '../shared/data/corpus/*.txt.gz' \\
        --tokenizers ../shared/teacher-zh-*/tokenizer.json --preparer work/demo/bilstm

Ends with exit code 1 at the first line that differs.
"""

import dataclasses
import glob
import gzip
import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tokenizers
import tyro

from schemas.fast_tokens import FastTokenizer
from schemas.prepare import Preparer, load_preparer
from schemas.text import read_line


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """Compare the fast tokenizer with the library."""

    corpus: str
    """Glob of gzipped text files."""
    tokenizers: tuple[Path, ...] = ()
    """Files tokenizer.json."""
    preparer: Path | None = None
    """Folder of an exported student that pools by IDF: its weights are compared too."""
    max_tokens: int = 128
    """Where sentences are cut."""


def texts(pattern: str) -> Iterator[str]:
    for path in sorted(glob.glob(pattern)):
        with gzip.open(path) as file:
            for line in file:
                text, reason = read_line(line)
                if reason is None:
                    yield text


def compare_tokens(path: Path, config: TokensConfig) -> str:
    """Every line, against the library's own special tokens and truncation."""
    fast = FastTokenizer(path.read_text(encoding="utf-8"), config.max_tokens)
    library = tokenizers.Tokenizer.from_file(str(path))
    library.no_padding()
    library.enable_truncation(config.max_tokens)
    lines, characters, seconds = 0, 0, {"fast": 0.0, "library": 0.0}
    waiting = texts(config.corpus)
    while piece := list(itertools.islice(waiting, 10_000)):
        began = time.process_time()
        found = [fast.content(text) for text in piece]
        seconds["fast"] += time.process_time() - began
        began = time.process_time()
        expected = library.encode_batch(piece)
        seconds["library"] += time.process_time() - began
        for text, (ids, places), one in zip(piece, found, expected, strict=True):
            check(text, fast.head + ids + fast.tail, one.ids)
            inner = one.offsets[len(fast.head) : len(one.ids) - len(fast.tail)]
            given = zip(places[::2], places[1::2], strict=True) if places is not None else None
            check(text, list(given or [(at, at + 1) for at in range(len(ids))]), inner)
        lines += len(piece)
        characters += sum(map(len, piece))
    each = {name: round(taken / lines * 1e6, 1) for name, taken in seconds.items()}
    return f"{path}: {lines:,} lines of {characters / lines:.1f} characters are equal; us {each}\n"


def compare_weights(preparer: Preparer, config: TokensConfig) -> str:
    """Every line, against the seed's formula on the library's offsets, to the bit."""
    library = tokenizers.Tokenizer.from_str(preparer.tokenizer_json)
    library.no_padding()
    library.enable_truncation(preparer.max_tokens)
    idf, unseen = preparer.table.lookup(), preparer.table.unseen_idf
    lines = 0
    waiting = texts(config.corpus)
    while piece := list(itertools.islice(waiting, 10_000)):
        encodings = library.encode_batch(piece)
        for one, encoding in zip(preparer.prepare(piece), encodings, strict=True):
            lengths = [len(word) for word in one.words]
            shares = [idf.get(word, unseen) / len(word) for word in one.words]
            padded = np.append(np.repeat(np.array(shares), lengths), 0.0)
            offsets_T2 = np.array(encoding.offsets)
            sums_T = np.add.reduceat(padded, offsets_T2.ravel())[::2]
            sums_T[offsets_T2[:, 0] == offsets_T2[:, 1]] = 0
            special_T = np.array(encoding.special_tokens_mask, dtype=bool)
            raw_T = np.where(special_T, 0.0, sums_T + preparer.smoothing)
            check(one.text, one.token_ids.tolist(), encoding.ids)
            expected_T = (raw_T / (raw_T.sum() or 1.0)).astype(np.float32)
            check(one.text, one.weights.tobytes(), expected_T.tobytes())
        lines += len(piece)
    return f"{lines:,} lines have the same weights, to the bit\n"


def check(text, found, expected):
    if found != expected:
        sys.exit(f"{text!r}\n  found    {found}\n  expected {expected}")


def main(config: TokensConfig) -> None:
    for path in config.tokenizers:
        sys.stdout.write(compare_tokens(path, config))
        sys.stdout.flush()
    if config.preparer is not None:
        sys.stdout.write(compare_weights(load_preparer(config.preparer), config))


if __name__ == "__main__":
    main(tyro.cli(TokensConfig))
