"""No room on the disk, no permission to write, no memory."""

import ctypes
import functools
import re
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from distill_jobs import checkpoint
from distill_jobs import train as train_job
from pipelines.embedding import Teacher, embed, find_teacher
from schemas import store
from schemas.command import OutOfMemory
from schemas.store import open_store
from tests.faults.disk import SmallDisk, limit_files
from tests.faults.kit import Child, Job, result_of, summary_of

pytestmark = pytest.mark.faults

MIB = 1 << 20
_M_MMAP_THRESHOLD = -3


@pytest.fixture
def disk(tmp_path):
    """A small disk."""
    found = SmallDisk(tmp_path / "disk")
    yield found
    found.end()


def test_a_job_that_finds_the_disk_full_says_where_shows_nothing_and_ends_well_with_more_room(
    disk, job_flags, matrix, tmp_path
):
    matrix.rows(3)
    assert Job(tmp_path, "teacher", job_flags("teacher", tmp_path / "alone")).end().status == 0
    result = result_of(tmp_path / "alone")
    full = 0
    for number, room in enumerate(range(8, 120, 24)):
        out = disk.folder / f"s{number}" / "out"
        disk.resize(disk.used() + room if disk.limit is None else room)
        first = functools.partial(limit_files, disk.limit)
        ended = Job(tmp_path, "teacher", job_flags("teacher", out), first=first).end()
        if ended.status:
            full += 1
            assert ended.status == 74, ended.told
            assert re.search(rf"error: \[Errno \d+\] .*{disk.folder}", ended.told), ended.told
        if store.exists(out):
            assert result_of(out) == result
        disk.resize(64 * 1024)
        again = Job(tmp_path, "teacher", job_flags("teacher", out)).end()
        assert again.status == 0, again.told
        assert result_of(out) == result
    assert full >= 2
    matrix.count(full_disks=full)


def train(store_folder: str, out: str, limit: int | None = None) -> None:
    """In a child: train a small student with many checkpoints."""
    limit_files(limit)
    torch.set_num_threads(1)
    train_job.main([*map(str, train_flags(store_folder, out))])


def train_flags(store_folder, out) -> list[object]:
    return [
        *("--store", store_folder, "--out", out, "--embedding", 8, "--epochs", 4),
        *("--batch-size", 32, "--validation-rows", 40, "--checkpoint-every", 5),
        *("--precision", "float32"),
    ]


def test_a_training_that_finds_the_disk_full_keeps_its_checkpoint_and_goes_on_with_more_room(
    disk, small_store, matrix, tmp_path
):
    matrix.rows(3)
    assert Child(tmp_path, train, str(small_store), str(tmp_path / "alone")).end().status == 0
    (whole,) = {path.stat().st_size for path in tmp_path.glob("alone/**/optimizer.safetensors")}
    disk.resize(whole * 3 // 2048 + 40)
    out = disk.folder / "training"
    ended = Child(tmp_path, train, str(small_store), str(out), disk.limit and whole - 1).end()
    assert ended.status == 74, ended.told
    assert f"error: {disk.folder}" in ended.told or str(disk.folder) in ended.told, ended.told
    assert not list((out / "checkpoints").glob(".*")), "the room of a half checkpoint is not freed"
    found, complaints = checkpoint.newest(out / "checkpoints")
    assert (found is not None, complaints) == (disk.limit is None, [])
    disk.resize(64 * 1024)
    again = Child(tmp_path, train, str(small_store), str(out)).end()
    assert again.status == 0, again.told
    last = [max((one / "checkpoints").glob("step-*")) for one in (out, tmp_path / "alone")]
    students = [(path / "student.safetensors").read_bytes() for path in last]
    assert students[0] == students[1]


@pytest.mark.parametrize("job", ["idf", "teacher"])
def test_an_output_that_cannot_be_written_is_found_before_any_work(
    disk, job, job_flags, matrix, tmp_path
):
    matrix.rows(4)
    flags = job_flags(job, disk.folder / "new" / "out")
    child = Job(tmp_path, job, flags, first=disk.read_only())
    ended = child.end()
    assert ended.status == 73, ended.told
    assert str(disk.folder) in ended.told
    assert child.steps() == []


SENTENCES, TOKENS = 8000, 32


def starve(teacher_folder: str) -> None:
    """In a child: embed one large batch in less and less memory; print what came of it."""
    # What is freed goes back to the system, else it could be used again beyond the limit.
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MIB)
    torch.set_num_threads(1)
    teacher = Teacher(find_teacher(teacher_folder), "float32")
    ids = [np.arange(2, 2 + TOKENS, dtype=np.int32)] * SENTENCES
    weights = [np.full(TOKENS, 1 / TOKENS, np.float32)] * SENTENCES
    sizes: list[int] = []
    vectors = teacher.vectors

    def counted(token_ids, *others):
        sizes.append(len(token_ids))
        return vectors(token_ids, *others)

    teacher.vectors = counted
    expected = embed(teacher, ids, weights, ("idf",), SENTENCES * TOKENS).vectors["idf"]
    for room in (*range(400, 0, -20), 10, 2):
        sizes.clear()
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + room * MIB, resource.RLIM_INFINITY))
        try:
            found = embed(teacher, ids, weights, ("idf",), SENTENCES * TOKENS).vectors["idf"]
            np.testing.assert_allclose(found, expected, atol=1e-5)
            outcome = "whole" if len(sizes) == 1 else f"halved {sizes[1:]}"
        except OutOfMemory as error:
            outcome = f"error {error}"
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        sys.stdout.write(f"{outcome}\n")


def test_a_batch_without_memory_is_halved_once_and_then_an_error_names_the_flag(
    tiny_teacher, matrix, tmp_path
):
    matrix.rows(25)
    ended = Child(tmp_path, starve, str(tiny_teacher)).end()
    assert ended.status == 0, ended.told
    outcomes = [line.split()[0] for line in ended.told.splitlines()]
    # From enough memory to none: each outcome comes once it is due, and no other comes after it.
    assert list(dict.fromkeys(outcomes)) == ["whole", "halved", "error"]
    half = SENTENCES // 2
    assert f"halved [{half}, {half}]" in ended.told
    assert f"{half} sentences of {TOKENS} tokens do not fit into memory at once" in ended.told
    assert f"give a --token-budget below {half * TOKENS:,}" in ended.told
    matrix.count(memory_limits=len(outcomes))


def forget_memory(rows: int) -> None:
    """In a child: let the teacher find no memory for more than this many sentences at once."""
    vectors = Teacher.vectors

    def limited(self, token_ids, *others):
        if len(token_ids) > rows:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return vectors(self, token_ids, *others)

    Teacher.vectors = limited


def test_a_job_without_memory_for_half_a_batch_ends_with_71_and_shows_nothing(
    job_flags, matrix, tmp_path
):
    matrix.rows(25)
    out = tmp_path / "out"
    flags = job_flags("teacher", out)
    ended = Job(tmp_path, "teacher", flags, first=functools.partial(forget_memory, 1)).end()
    assert ended.status == 71, ended.told
    assert "do not fit into memory at once, half of what was tried first" in ended.told
    assert "--token-budget below" in ended.told
    assert not store.exists(out)
    ended = Job(tmp_path, "teacher", flags, first=functools.partial(forget_memory, 4)).end()
    assert ended.status == 0, ended.told
    opened = open_store(out)
    opened.verify()
    assert opened.rows == summary_of(ended)["new"] == 12
