"""Check an IDF table against an independent count: nothing of ours but the table is used.

python -m tests.bench.idf_reference work/idf 'data/*.txt.gz'
"""

import glob
import gzip
import sys
import unicodedata

import jieba
import pyarrow.parquet as pq


def invisible(c):
    """Controls, zero-width space, direction marks, word joiner, byte order mark."""
    return (
        unicodedata.category(c) == "Cc"
        or c in "\u200b\u200e\u200f\u2060\ufeff"
        or "\u202a" <= c <= "\u202e"
        or "\u2066" <= c <= "\u2069"
    )


def reference(patterns):
    """Sentences and document frequencies, by jieba and one dictionary."""
    counts, seen = {}, set()
    for path in sorted(path for pattern in patterns for path in glob.glob(pattern)):
        for line in gzip.open(path, "rt", encoding="utf-8", newline="\n"):  # noqa: SIM115
            shown = (c for c in line if c.isspace() or not invisible(c))
            text = " ".join(unicodedata.normalize("NFC", "".join(shown)).split())
            if text and len(text) <= 2048 and text not in seen:
                seen.add(text)
                for word in set(jieba.lcut(text)):
                    counts[word] = counts.get(word, 0) + 1
    return len(seen), counts


if __name__ == "__main__":
    table = pq.read_table(glob.glob(f"{sys.argv[1]}/*.parquet")[0])
    theirs = dict(zip(table["word"].to_pylist(), table["df"].to_pylist(), strict=True))
    n_docs, counts = reference(sys.argv[2:])
    same = counts == theirs and n_docs == table["n_docs"][0].as_py()
    sys.stdout.write(
        f"{n_docs} sentences, {len(counts)} words: {'equal' if same else 'DIFFERENT'}\n"
    )
    if not same:
        keys = [k for k in counts.keys() | theirs.keys() if counts.get(k) != theirs.get(k)]
        sys.stdout.write(
            f"{len(keys)} differ, such as {[(k, counts.get(k), theirs.get(k)) for k in keys[:5]]}\n"
        )
    raise SystemExit(not same)
