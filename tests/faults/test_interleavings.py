"""Two writers on one table, four steps each, in all 70 orders.

The steps: write the part, look at the version, write the log's entry, read back.
"""

import functools

import pytest

from schemas import delta, parts, store
from schemas.delta import NOT_THERE
from schemas.store import Overtaken, open_store
from tests.faults.committer import commit_part, write_part
from tests.faults.stepping import Writer, schedules, stepping

pytestmark = pytest.mark.faults

STEPS = 4


@pytest.fixture(autouse=True)
def stepped(monkeypatch):
    """Stop a writer before its part, before its look, and before its entry."""
    for owner, name in ((parts, "write"), (delta, "version"), (delta, "write")):
        monkeypatch.setattr(owner, name, stepping(getattr(owner, name)))


@stepping
def read_back(location: str) -> tuple[str, ...]:
    opened = open_store(location)
    opened.verify()
    return tuple(part.path for part in opened.parts)


def write_and_read(location: str, run: str, text: str, after: int | None) -> object:
    """What a writer does; the version of its commit, and whether it then saw its part."""
    part = write_part(location, run, text)
    version = commit_part(location, run, part, after)
    return version, part.path in read_back(location)


def play(location: str, schedule, runs, after: int | None) -> list[object]:
    """Let two writers take turns, and look from outside after every turn; says how they ended."""
    writers = [
        Writer(functools.partial(write_and_read, location, run, text, after)) for run, text in runs
    ]
    before = NOT_THERE
    for turn in schedule:
        writers[turn].step()
        before = look(location, before)
    for writer in writers:
        writer.finish()
    look(location, before)
    return [writer.outcome for writer in writers]


def look(location: str, before: int) -> int:
    """A reader's view: versions only grow, and a version is whole."""
    if not store.exists(location):
        assert before == NOT_THERE
        return before
    opened = open_store(location)
    opened.verify()
    assert opened.version >= before
    assert [one.version for one in opened.commits] == list(range(opened.version + 1))
    assert opened.rows == len(opened.commits) == opened.dataset().count_rows()
    return opened.version


@pytest.mark.parametrize("exists", [True, False], ids=["another version", "a new table"])
@pytest.mark.parametrize("kind", ["two runs", "one run twice", "one must come next"])
def test_two_writers_in_every_order_give_whole_versions_and_each_run_commits_once(
    tmp_path, matrix, exists, kind
):
    matrix.rows(10)
    runs = [("b", "乙"), ("b", "乙")] if kind == "one run twice" else [("b", "乙"), ("c", "丙")]
    first = 1 if exists else 0
    played = 0
    for schedule in schedules(STEPS):
        location = str(tmp_path / f"s{played}")
        if exists:
            commit_part(location, "a", write_part(location, "a", "甲"))
        after = first - 1 if kind == "one must come next" else None
        ended = play(location, schedule, runs, after)
        check(kind, ended, first, str(schedule))
        opened = open_store(location)
        assert len(opened.commits) == first + (2 if kind == "two runs" else 1), schedule
        played += 1
    assert played == 70
    matrix.count(interleavings=played)


def check(kind: str, ended: list[object], first: int, schedule: str) -> None:
    """Each writer's version, or the loser's error."""
    if kind == "two runs":
        assert sorted(ended) == [(first, True), (first + 1, True)], schedule
    elif kind == "one run twice":
        assert ended == [(first, True), (first, True)], schedule
    else:
        winners = [one for one in ended if not isinstance(one, Exception)]
        losers = [one for one in ended if isinstance(one, Overtaken)]
        assert (winners, len(losers)) == ([(first, True)], 1), f"{schedule}: {ended}"
