"""What both jobs share: ranges -> blocks of clean sentences, with ids, counts and rejects.

Three outputs: ``sentences`` (partition, block of sentence_id, text, source, offset), ``rejected``
(blocks in the quarantine's schema) and ``counts`` (name -> number). Counts travel as data, not as
Beam metrics, because a retried bundle counts a metric twice.
"""

import collections
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import monitoring, signs
from pipelines.blocks import id_partition, pack, unpack
from pipelines.reading import Broken, Range, Record, read_records
from schemas import parts, store, tables
from schemas.text import MAX_LINE_BYTES, Reason, admit, read_line

SENTENCES = pa.schema(
    {"sentence_id": pa.binary(16), "text": pa.string(), "source": pa.string(), "offset": pa.int64()}
)
BLOCK_ROWS = 65_536  # sentences held by a reader before it sends them on
_QUARANTINE_ROWS = 4 * BLOCK_ROWS  # of a part: about 0.1 GB while it is written

Counts = dict[str, int]
Sentence = tuple[bytes, str, str, int]


@beam.typehints.with_output_types(tuple[int, bytes])
class ReadSentences(beam.DoFn):
    """From a range to its clean sentences, grouped by partition of their id."""

    def __init__(self, partitions: int, run_id: str, staging: str) -> None:
        self._partitions = partitions
        self._run_id = run_id
        self._staging = staging

    def process(self, piece: Range) -> Iterator[object]:
        """Yield main: (partition, block); tagged: counts and rejected blocks."""
        signs.work_for(self._staging)
        rejects = Rejects(piece.source, self._run_id)
        counts: Counts = collections.Counter()
        held: dict[bytes, Sentence] = {}  # the first of equal ones: `distinct` would keep it too
        for text, reason, record in clean_records(read_records(piece)):
            if reason is None:
                counts["sentences"] += 1
                key = content_id(text)
                held.setdefault(key, (key, text, piece.source, record[0]))
                if not counts["sentences"] % BLOCK_ROWS:
                    signs.show()
            else:
                counts[f"rejected_{reason}"] += 1
                yield from rejects.add(record, reason)
            if len(held) == BLOCK_ROWS:
                yield from self._blocks(held.values())
                held = {}
        yield from self._blocks(held.values())
        yield from rejects.rest()
        monitoring.SENTENCES_READ.inc(counts["sentences"])
        monitoring.RECORDS_REJECTED.inc(rejects.count)
        yield beam.pvalue.TaggedOutput("counts", dict(counts))

    def _blocks(self, held: Iterable[Sentence]) -> Iterator[tuple[int, bytes]]:
        by_partition: dict[int, list[Sentence]] = collections.defaultdict(list)
        for row in held:
            by_partition[id_partition(row[0], self._partitions)].append(row)
        for partition, rows in by_partition.items():
            yield partition, pack(sentences_table(rows))


class Rejects:
    """Gathers a range's rejected records, and sends them on before they take much memory.

    Attributes:
        count: of all so far.
    """

    def __init__(self, source: str, run_id: str) -> None:
        self.count = 0
        self._source = source
        self._run_id = run_id
        self._rows: list[tuple[str, int, str, int, str, str]] = []

    def add(self, record: Record, reason: Reason) -> Iterator[object]:
        """Yield a block if there are enough."""
        self.count += 1
        self._rows.append(reject(record, self._source, reason, self._run_id))
        if len(self._rows) == BLOCK_ROWS:
            yield from self.rest()

    def rest(self) -> Iterator[object]:
        """Yield what has gathered."""
        if self._rows:
            yield beam.pvalue.TaggedOutput("rejected", pack(rejects_table(self._rows)))
            self._rows = []


def clean_records(records: Iterable[Record]) -> Iterator[tuple[str, Reason | None, Record]]:
    """The text of each record, or the reason against it."""
    for record in records:
        raw = record[1]
        text, reason = read_line(raw) if isinstance(raw, bytes) else admit(raw)
        if isinstance(raw, Broken) and reason in (None, Reason.TOO_LONG):
            too_long = len(raw) > MAX_LINE_BYTES
            text, reason = "", Reason.TOO_LONG if too_long else Reason.MALFORMED
        yield text, reason, record


def content_id(text: str) -> bytes:
    """The 16 bytes of `schemas.text.sentence_id`."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def sentences_table(rows: list[Sentence]) -> pa.Table:
    """Rows as an Arrow table in the schema `SENTENCES`."""
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=SENTENCES)


def distinct(blocks: Iterable[bytes], then: tuple[str, ...] = ("source", "offset")) -> pa.Table:
    """The distinct sentences of a partition, sorted by id.

    Of equal sentences the first by the columns `then` stays, so that the outcome does not depend on
    the order in which workers deliver.
    """
    order = [(name, "ascending") for name in ("sentence_id", *then)]
    rows = unpack(blocks).sort_by(order)
    ids = rows["sentence_id"].combine_chunks()
    if len(ids) < 2:
        return rows
    is_new = pc.not_equal(ids[1:], ids[:-1])
    return rows.filter(pa.concat_arrays([pa.array([True]), is_new]))


def reject(
    record: Record, source: str, reason: Reason, run_id: str
) -> tuple[str, int, str, int, str, str]:
    """A row of the quarantine: where the record is and why, but not what it says."""
    offset, raw = record
    content = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    digest = hashlib.sha256(content).hexdigest()
    return source, offset, str(reason), len(content), digest, run_id


def rejects_table(rows: list[tuple[str, int, str, int, str, str]]) -> pa.Table:
    """Quarantine rows as an Arrow table."""
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=tables.QUARANTINE)


def total(counts: Iterable[Counts]) -> Counts:
    """Add up counts by name, names sorted."""
    added: Counts = collections.Counter()
    for one in counts:
        for name, number in one.items():
            added[name] += number
    return dict(sorted(added.items()))


def _in_order(blocks: Iterable[bytes]) -> Iterator[pa.Table]:
    """The rejected rows of all blocks, in tables of a bounded size."""
    by_first = sorted(
        blocks, key=lambda block: tuple(unpack([block]).slice(0, 1).to_pylist()[0].values())
    )
    order = [(name, "ascending") for name in ("source", "offset", "sha256")]
    group: list[bytes] = []
    rows = 0
    for block in by_first:
        group.append(block)
        rows += unpack([block]).num_rows
        if rows >= _QUARANTINE_ROWS:
            yield unpack(group).sort_by(order)
            group, rows = [], 0
    if group:
        yield unpack(group).sort_by(order)


@dataclasses.dataclass(frozen=True)
class Quarantine:
    """Commits the rejects of a run, then judges whether the run may go on.

    Attributes:
        location: the quarantine table's folder.
        run_id: of this run.
        max_bad_fraction: share of rejected records above which the run fails. Blank lines are kept
            in the quarantine too, but do not count as bad: text files have them.
    """

    location: str
    run_id: str
    max_bad_fraction: float

    def commit(self, blocks: list[bytes]) -> int:
        """Write and commit the rejected rows; returns their number."""
        if not blocks:
            return 0
        added = [
            parts.write(rows, self.location, f"part-{self.run_id}-{number:05d}.parquet")
            for number, rows in enumerate(_in_order(blocks))
        ]
        held = sum(part.rows for part in added)
        store.commit(
            self.location,
            tables.QUARANTINE,
            added,
            run_id=self.run_id,
            fingerprint={"schema": tables.SCHEMA_VERSION},
            summary={"rows": held},
        )
        return held

    def judge(self, counts: Counts) -> Counts:
        """Let a run with few bad records pass.

        Raises:
            ValueError: if there is no sentence, or the share of bad records is too large.
        """
        sentences = counts.get("sentences", 0)
        reasons = {k: n for k, n in counts.items() if k.startswith("rejected_")}
        bad = sum(reasons.values()) - counts.get(f"rejected_{Reason.BLANK}", 0)
        told = ", ".join(f"{name} {number}" for name, number in reasons.items()) or "no other lines"
        if bad > self.max_bad_fraction * (bad + sentences):
            raise ValueError(
                f"{bad} of {bad + sentences} records are bad ({told}), more than the share of "
                f"{self.max_bad_fraction} that --max-bad-fraction allows; see {self.location}"
            )
        if not sentences:
            raise ValueError(f"the corpus is empty: no sentence in it ({told})")
        return counts
