"""Commands: strict flags from a dataclass, and exit codes that a scheduler can act on."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from schemas.command import RetryLater, parse, redact, run_job

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Do something."""

    out: str
    """Where."""
    number: int = 3
    names: tuple[str, ...] = ("a",)
    runner_options: Annotated[tuple[str, ...], tyro.conf.Suppress] = ()

    def __post_init__(self):
        if self.number < 0:
            raise ValueError(f"number must be at least 0, got {self.number}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain:
    """Do something without a runner."""

    out: str = "x"


def status_of(config_class, argv, job=lambda config: {}) -> int | None:
    with pytest.raises(SystemExit) as ended:
        run_job(config_class, argv, job)
    return ended.value.code


def test_flags_fill_the_config():
    found = parse(Config, ["--out", "o", "--number", "5", "--names", "b", "c"])
    assert found == Config(out="o", number=5, names=("b", "c"))


def test_what_follows_two_dashes_is_for_the_runner():
    argv = ["--out", "o", "--", "--runner=FlinkRunner", "--out", "else"]
    found = parse(Config, argv)
    assert found.out == "o"
    assert found.runner_options == ("--runner=FlinkRunner", "--out", "else")


def test_a_job_without_a_runner_takes_no_runner_options(capsys):
    assert status_of(Plain, ["--", "--runner=FlinkRunner"]) == 64
    assert "takes no runner options, got --runner=FlinkRunner" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["--ouT", "o"],
        ["--out", "o", "--numbre", "5"],
        ["--out", "o", "--number", "five"],
        ["--out", "o", "stray"],
        [],
        ["--out", "o", "--number", "-1"],
        ["--out", "o", "--runner-options", "x"],
    ],
)
def test_wrong_usage_is_64_and_runs_nothing(capsys, argv):
    def job(config):
        raise AssertionError("the job ran")

    assert status_of(Config, argv, job) == 64
    told = capsys.readouterr()
    assert told.err
    assert told.out == ""


def test_help_is_0_and_tells_the_flags(capsys):
    assert status_of(Config, ["--help"]) == 0
    told = capsys.readouterr().out
    assert "Do something." in told
    assert "--out" in told
    assert "runner-options" not in told


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("bad row 7"), 65),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), 65),
        (PermissionError("/x"), 73),
        (FileExistsError("/x"), 73),
        (NotADirectoryError("/x"), 73),
        (IsADirectoryError("/x"), 73),
        (FileNotFoundError("/x"), 74),
        (OSError(28, "No space left on device"), 74),
        (RetryLater("again"), 75),
    ],
)
def test_an_error_has_the_status_that_a_scheduler_expects(capsys, error, status):
    def job(config):
        raise error

    assert status_of(Config, ["--out", "o"], job) == status
    told = capsys.readouterr()
    assert told.err == f"error: {error}\n"
    assert told.out == ""


def test_a_mistake_of_ours_is_not_dressed_up():
    def job(config):
        raise KeyError("ours")

    with pytest.raises(KeyError):
        run_job(Config, ["--out", "o"], job)


def test_the_summary_is_json_on_standard_output(capsys):
    run_job(Config, ["--out", "o"], lambda config: {"table": config.out, "top": {"好": 1}})
    told = capsys.readouterr()
    assert json.loads(told.out) == {"table": "o", "top": {"好": 1}}
    assert "好" in told.out
    assert told.err == ""


@pytest.mark.parametrize(
    ("argv", "status"), [([], 64), (["idff"], 64), (["--help"], 0), (["-h"], 0)]
)
def test_the_package_lists_its_jobs(argv, status):
    command = [sys.executable, "-m", "pipelines", *argv]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == status
    told = done.stderr if status else done.stdout
    for job in ("idf", "teacher", "sample", "explain"):
        assert f"  {job} " in told


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("s3://key:secret@lake/a@b.txt", "s3://lake/a@b.txt"),
        ("s3://secret@lake", "s3://lake"),
        ("s3://key:sec/ret@lake/x", "s3://lake/x"),
        ("at 'gs://lake/x?token=secret&y=1', it", "at 'gs://lake/x', it"),
        ('{"a": "abfs://lake/x?sig=s@ecret"}', '{"a": "abfs://lake/x"}'),
        ("s3://key:secret@lake and s3://key:secret@sea", "s3://lake and s3://sea"),
        ("s3://lake:9000/a@b/part-?.txt", "s3://lake:9000/a@b/part-?.txt"),
        ("me@example.org asks: why? a=b", "me@example.org asks: why? a=b"),
        ("/data/a@b/c?d=e", "/data/a@b/c?d=e"),
    ],
)
def test_passwords_and_queries_are_taken_out_of_urls_and_nothing_else(text, left):
    assert redact(text) == left


def test_an_error_is_told_without_the_password_of_a_url(capsys):
    def job(config):
        raise OSError("s3://key:secret@lake/c.txt cannot be read")

    assert status_of(Config, ["--out", "o"], job) == 74
    assert capsys.readouterr().err == "error: s3://lake/c.txt cannot be read\n"
