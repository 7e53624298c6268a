"""What a store with many nights costs, in counts: what is read once, and what only by range."""

import itertools
import shutil

import pytest

from pipelines import known
from pipelines.blocks import id_range, pack
from pipelines.known import Known, new_sentences
from pipelines.sentences import content_id, sentences_table
from schemas import commits, delta, parts
from schemas.commits import Change
from schemas.keys import open_keys
from schemas.store import commit, open_store, rewrite
from schemas.text import sentence_id
from tests.faults.committer import FINGERPRINT, SCHEMA, table_of

PARTITIONS = 8
NIGHTS = 4


def texts_of(night):
    return [f"第{night}夜第{n}句" for n in range(160)]


def write_night(location, night):
    """A part for each range of ids, row groups of 4."""
    by_id = sorted((content_id(text), text) for text in texts_of(night))
    ranges = itertools.groupby(by_id, lambda one: one[0][0] * PARTITIONS >> 8)
    return [
        parts.write(
            table_of(*(text for _, text in rows)),
            location,
            f"ingest_date=2026-01-0{night + 1}/part-{partition:05d}-*.parquet",
            4,
        )
        for partition, rows in ranges
    ]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A store of four nights, each with a part for every range of ids."""
    location = str(tmp_path_factory.mktemp("grown") / "s")
    for night in range(NIGHTS):
        added = write_night(location, night)
        about = {"fingerprint": FINGERPRINT, "summary": {}}
        commit(location, SCHEMA, added, run_id=f"r{night}", **about)
    return location


@pytest.fixture
def calls(monkeypatch):
    """How often each function was called: {name: number}."""
    counts = {}

    def count(owner, name):
        original = getattr(owner, name)

        def counted(*arguments, **named):
            counts[name] = counts.get(name, 0) + 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in (
        (commits, "_read_commit"),
        (delta, "DeltaTable"),
        (parts, "open_part"),
        (known, "open_keys"),
    ):
        count(owner, name)
    return counts


def block(texts):
    return pack(sentences_table([(content_id(one), one, "test", 0) for one in texts]))


def in_partition(texts, partition):
    low, high = id_range(partition, PARTITIONS)
    return [text for text in texts if low <= sentence_id(text) <= high]


def test_opening_a_store_reads_delta_s_log_once_and_each_commit_once(grown, calls):
    open_store(grown)
    assert calls == {"DeltaTable": 1, "_read_commit": NIGHTS}


def test_committing_to_it_reads_delta_s_log_twice_and_each_commit_its_own_too_once(
    grown, calls, tmp_path
):
    shutil.copytree(grown, tmp_path / "s")
    added = write_night(str(tmp_path / "s"), NIGHTS)
    calls.clear()
    about = {"fingerprint": FINGERPRINT, "summary": {}}
    commit(tmp_path / "s", SCHEMA, added, run_id="next", **about)
    assert calls == {"DeltaTable": 2, "_read_commit": NIGHTS + 1}


def test_a_worker_looks_a_store_up_once_and_opens_a_part_a_night_for_each_partition(grown, calls):
    texts = [*texts_of(1), *texts_of(9)]
    new = 0
    for partition in range(PARTITIONS):
        mine = in_partition(texts, partition)
        rows, _ = new_sentences([block(mine)], partition, PARTITIONS, Known(grown, NIGHTS - 1))
        new += rows.num_rows
    assert new == len(texts_of(9))
    assert calls == {
        "open_keys": 1,
        "_read_commit": NIGHTS,
        "open_part": NIGHTS * PARTITIONS,
    }


def test_a_store_that_took_another_s_place_is_looked_up_again(tmp_path):
    location = str(tmp_path / "s")
    about = {"fingerprint": FINGERPRINT, "summary": {}}
    new = []
    for text, path in (("甲", "a"), ("乙丙丁", "b")):
        shutil.rmtree(location, ignore_errors=True)
        part = parts.write(table_of(text), location, f"ingest_date=2026-01-01/part-{path}.parquet")
        commit(location, SCHEMA, [part], run_id=path, **about)
        rows, _ = new_sentences([block(["甲"])], 0, 1, Known(location, 0))
        new.append(rows["text"].to_pylist())
    assert new == [[], ["甲"]]


def test_more_keys_than_are_held_at_once_are_all_compared(grown, monkeypatch):
    monkeypatch.setattr(known, "_KEYS_AT_ONCE", 50)
    texts = [text for night in range(NIGHTS) for text in texts_of(night)]
    rows, counts = new_sentences([block([*texts, "新"])], 0, 1, Known(grown, NIGHTS - 1))
    assert rows["text"].to_pylist() == ["新"]
    assert counts == {"distinct": 641, "forgotten": 0, "new": 1, "reused": 640}


@pytest.mark.parametrize("version", range(NIGHTS + 2))
def test_a_worker_s_keys_are_those_of_the_opened_version(grown, tmp_path, version):
    location = tmp_path / "s"
    shutil.copytree(grown, location)
    before = open_store(location)
    removed = before.parts[:5]
    again = parts.read(before.path_of(removed[0])).slice(1)
    path = f"{removed[0].path.rpartition('/')[0]}/part-rest.parquet"
    rest = parts.write(again, location, path)
    about = {"fingerprint": FINGERPRINT, "summary": {}}
    gone = again["sentence_id"].to_pylist()[:1]
    change = Change(None, (rest,), "x", removed=removed, forgotten=tuple(gone), **about)
    rewrite(before, change)
    back = Change(None, (removed[0],), "y", removed=(rest,), **about)
    rewrite(open_store(location), back)
    opened, held = open_store(location, version), open_keys(location, version)
    assert sorted(held.overlapping("0", "g")) == [part.path for part in opened.parts]
    assert list(held.forgotten) == opened.forgotten
    assert read(held.between("3", "5")) == read(opened.keys("3", "5"))


def read(pieces):
    return sorted(key for piece in pieces for key in piece.to_pylist())


def test_a_log_without_one_of_its_entries_is_refused(grown, tmp_path):
    shutil.copytree(grown, tmp_path / "s")
    (tmp_path / "s" / "_delta_log" / f"{1:020d}.json").unlink()
    for look in (lambda: open_store(tmp_path / "s"), lambda: open_keys(tmp_path / "s", 3)):
        with pytest.raises(ValueError, match=r"the log of .* is damaged"):
            look()
