"""The IDF table: in how many sentences each word occurs, and how much it therefore says."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import parts, store, tables
from schemas.text import CLEANING


@dataclasses.dataclass(frozen=True)
class IdfTable:
    """Document frequencies of one corpus.

    Attributes:
        words: sorted, distinct.
        df: [words], sentences that contain the word.
        n_docs: sentences counted.
        segmenter: `Segmenter.name` of the segmenter that cut the words.
        cleaning: version of the cleaning rule.
        min_df: words below this were left out of the table.
    """

    words: pa.Array
    df: npt.NDArray[np.int64]
    n_docs: int
    segmenter: str
    cleaning: str = CLEANING
    min_df: int = 1

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], n_docs: int, *, segmenter: str, min_df: int = 1
    ) -> "IdfTable":
        """Build a table from document frequencies.

        >>> table = IdfTable.from_counts({"你好": 3, "北京": 1}, 3, segmenter="jieba")
        >>> table.lookup()
        {'你好': 0.0, '北京': 0.6931471805599453}
        >>> round(table.unseen_idf, 4)
        1.3863
        """
        words = sorted(word for word, df in counts.items() if df >= min_df)
        df = np.array([counts[word] for word in words], dtype=np.int64)
        return cls(pa.array(words, pa.string()), df, n_docs, segmenter, min_df=min_df)

    @property
    def idf(self) -> npt.NDArray[np.float64]:
        """ln((1 + n_docs) / (1 + df)) for every word, in nats (LTD-BERT, smoothed)."""
        return np.log((1 + self.n_docs) / (1 + self.df))

    @property
    def unseen_idf(self) -> float:
        """IDF of a word that is not in the table: df = 0."""
        return float(np.log(1 + self.n_docs))

    def lookup(self) -> dict[str, float]:
        """Word to IDF, as a plain dictionary."""
        return dict(zip(self.words.to_pylist(), self.idf.tolist(), strict=True))

    def merge(self, other: "IdfTable") -> "IdfTable":
        """Add the counts of a corpus that shares no sentence with this one.

        The result equals the table of both corpora together, because df and n_docs are counts.

        Raises:
            ValueError: if the tables were cut by different segmenters, or rare words are missing.
        """
        if (self.segmenter, self.cleaning) != (other.segmenter, other.cleaning):
            raise ValueError(
                f"cannot merge IDF tables of segmenters {self.segmenter!r} and {other.segmenter!r}"
            )
        if self.min_df > 1 or other.min_df > 1:
            raise ValueError(
                f"cannot merge exactly: words below df {max(self.min_df, other.min_df)} were "
                "dropped; count both corpora with min_df 1"
            )
        both = pa.table(
            {
                "word": pa.concat_arrays([self.words, other.words]),
                "df": np.concatenate([self.df, other.df]),
            }
        )
        merged = both.group_by("word").aggregate([("df", "sum")]).sort_by("word")
        return dataclasses.replace(
            self,
            words=merged["word"].combine_chunks(),
            df=merged["df_sum"].to_numpy(),
            n_docs=self.n_docs + other.n_docs,
        )

    def digest(self) -> str:
        """32 hexadecimal digits over everything that changes a weight."""
        content = hashlib.blake2b(digest_size=16)
        content.update(f"{self.n_docs} {self.segmenter} {self.cleaning}\n".encode())
        content.update("\n".join(self.words.to_pylist()).encode())
        content.update(np.ascontiguousarray(self.df, dtype="<i8").tobytes())
        return content.hexdigest()

    def to_arrow(self) -> pa.Table:
        """The table with its derived `idf` column; how it was made is in the schema's metadata."""
        columns = [self.words, self.df, self.idf, np.full(len(self.df), self.n_docs)]
        made_with = {
            "ltd.segmenter": self.segmenter,
            "ltd.cleaning": self.cleaning,
            "ltd.min_df": str(self.min_df),
            "ltd.n_docs": str(self.n_docs),
        }
        return pa.table(columns, schema=tables.IDF.with_metadata(made_with))

    @classmethod
    def from_arrow(cls, table: pa.Table) -> "IdfTable":
        """The inverse of `to_arrow`.

        Raises:
            ValueError: if the table is not one that `to_arrow` made.
        """
        made_with = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        if "ltd.segmenter" not in made_with or table.schema.names != tables.IDF.names:
            raise ValueError(f"not an IDF table: its columns are {table.schema.names}")
        tables.check_columns(table.schema, tables.IDF, of="the IDF table")
        return cls(
            words=table["word"].combine_chunks(),
            df=table["df"].to_numpy(),
            n_docs=int(made_with["ltd.n_docs"]),
            segmenter=made_with["ltd.segmenter"],
            cleaning=made_with["ltd.cleaning"],
            min_df=int(made_with["ltd.min_df"]),
        )

    @classmethod
    def load(cls, location: str | Path, version: int | None = None) -> "IdfTable":
        """Read a table folder, at a version or the newest, or the Parquet file of an export.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if a byte of it has changed since it was written, or it is something else.
        """
        if str(location).endswith(".parquet"):
            return cls.from_arrow(parts.read(str(location)))
        opened = store.open_store(location, version)
        opened.verify()
        read = [parts.read(opened.path_of(part)) for part in opened.parts]
        if len(read) != 1:
            raise ValueError(f"an IDF table has one part, {location} has {len(read)}")
        return cls.from_arrow(read[0])
