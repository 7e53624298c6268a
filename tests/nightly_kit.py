"""A world for nights of a few hundred sentences: the demo's teacher, labelled sets, settings."""

import contextlib
import dataclasses
import datetime
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from distill_jobs.nightly.feeding import Feeder
from distill_jobs.nightly.home import Home
from distill_jobs.nightly.job import fire
from distill_jobs.nightly.settings import read_settings
from pipelines.__main__ import main
from pipelines.teacher import TeacherConfig, embed_corpus
from schemas.fingerprint import read_sealed
from tests.conftest import small_sentences

# A tiny student of few sentences: the bounds are wide, so that only what a test spoils fails.
SETTINGS = """
home = "home"
corpus = "texts/{date}.txt"
teacher = "teacher"
idf = "idf"
store = "store"
tasks = "sets"
labelled = "labelled"
teacher_flags = ["--dtype", "float32", "--rows-per-part", "16"]
timezone = "Asia/Shanghai"
keep = 2
wait_minutes = 10

[train]
student = "bilstm-small"
epochs = 2
batch_size = 16
validation_rows = 16
embedding = 32
hidden = 32
learning_rate = 5e-3

[first]
epochs = 12

[evaluate]
budgets = []

[gate]
least_retention = 0.3
margin = 0.5
most_lost_since_best = 0.5
most_slower = 5
most_unknown_words = 1
most_unknown_tokens = 1
most_length_change = 2
most_idf_change = 9
most_centroid_shift = 9
least_cosine = 0
"""
NIGHTS = ("2026-03-20", "2026-03-21", "2026-03-22", "2026-03-23")  # long over
NOW = datetime.datetime(2026, 3, 25, tzinfo=datetime.UTC)
ROOT = Path(__file__).parents[1]
LABELLED = small_sentences()[240:]  # of the last day; nights have the others
QUESTIONS = 10


def make_world(folder, count):
    """Teacher, IDF table, labelled sets and their vectors; no night has a partition yet.

    Args:
        folder: to make it in.
        count: the fixture that runs the IDF job.
    """
    shutil.copytree(ROOT / "deploy" / "demo" / "teacher-zh-tiny", folder / "teacher")
    put_sets(folder / "sets")
    (folder / "labelled.txt").write_text("\n".join(LABELLED), encoding="utf-8")
    (folder / "all.txt").write_text("\n".join(small_sentences()), encoding="utf-8")
    count(folder / "all.txt", out=folder / "idf")
    embed_corpus(
        TeacherConfig(
            corpus=(str(folder / "labelled.txt"),),
            idf=str(folder / "idf"),
            teacher=str(folder / "teacher"),
            out=str(folder / "labelled"),
            date="2026-01-01",
            dtype="float32",
        )
    )
    (folder / "nightly.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "texts").mkdir()
    return folder


def put_sets(folder):
    """Which question a sentence asks; whether two sentences ask the same."""
    topics = [f"{text}\t{number % QUESTIONS}" for number, text in enumerate(LABELLED)]
    _put(folder / "topic" / "test.tsv", ["text\tlabel", *topics])
    pairs = [
        f"{one}\t{LABELLED[(place + step) % len(LABELLED)]}\t{int(step == QUESTIONS)}"
        for place, one in enumerate(LABELLED)
        for step in (QUESTIONS, 7)
    ]
    _put(folder / "same" / "test.tsv", ["sentence1\tsentence2\tlabel", *pairs])


def _put(path, lines):
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def begin(folder, count):
    """A world whose first night is decided, and the second embedded and no more."""
    world = make_world(folder, count)
    put_partition(world, NIGHTS[0], 0, 120)
    night(world, NIGHTS[0])
    put_partition(world, NIGHTS[1], 100, 160)
    with home_of(world).locked(1) as lock:
        Feeder(read_settings(world / "nightly.toml"), lock, NOW).feed(NIGHTS[1])
    return world


def home_of(world):
    return Home(world / "home")


def record(world, date, name):
    """What a stage of a night has written."""
    return read_sealed(home_of(world).night(date) / f"{name}.json")


def put_partition(world, date, first, last):
    """Sentences of a date: some of the 300."""
    lines = "\n".join(small_sentences()[first:last]) + "\n"
    (world / "texts" / f"{date}.txt").write_text(lines, encoding="utf-8")


def night(world, date, now=NOW, **changes):
    """Fire a night in this process."""
    settings = read_settings(world / "nightly.toml")
    return fire(dataclasses.replace(settings, **changes), date, now)


def spoil(path):
    """Change a byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def pipelines_here(command, *, stderr, pass_fds, **named):
    """What `subprocess.run` does for `python -m pipelines`, in this process: imports are dear."""
    assert len(pass_fds) == 1
    assert named == {"stdout": subprocess.PIPE, "text": True, "check": False}
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(stderr):
        try:
            main(command[3:])
        except SystemExit as ended:
            return subprocess.CompletedProcess(command, ended.code, told.getvalue())
    return subprocess.CompletedProcess(command, 0, told.getvalue())


def command(world, job, *flags):
    """Begin a job in a process of its own."""
    words = [sys.executable, "-m", "distill_jobs", job, "--settings", world / "nightly.toml"]
    return subprocess.Popen(
        [str(word) for word in [*words, *flags]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(process):
    """Status, summary if there is one, and what was said on stderr."""
    out, err = process.communicate(timeout=300)
    return process.returncode, json.loads(out[out.index("{\n") :]) if "{\n" in out else None, err


def champion(world):
    """The id of the student that serves."""
    link = world / "home" / "champion"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None
