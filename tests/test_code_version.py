"""The code version: the same for the same sources, and another one after any edit."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.code_version import code_version, sources_digest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def package(tmp_path) -> Path:
    (tmp_path / "package" / "sub").mkdir(parents=True)
    (tmp_path / "package" / "a.py").write_text("A = 1\n")
    (tmp_path / "package" / "sub" / "b.py").write_text("B = 2\n")
    return tmp_path / "package"


def test_it_is_the_version_of_the_package_and_12_digits():
    assert re.fullmatch(r"\d+\.\d+\.\d+\+[0-9a-f]{12}", code_version())


def test_another_process_finds_the_same_and_loads_neither_beam_nor_ray_nor_torch():
    code = (
        "import sys; from schemas.code_version import code_version; print(code_version());"
        "print({'apache_beam', 'ray', 'torch', 'pipelines', 'distill_jobs'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [code_version(), "set()"]


def test_a_copy_elsewhere_has_the_same_digest(package, tmp_path):
    copy = shutil.copytree(package, tmp_path / "elsewhere" / "package")
    assert sources_digest([copy]) == sources_digest([package])


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.py", "A = 2\n"), ("sub/b.py", "B = 3\n"), ("c.py", "")],
    ids=["an edited file", "an edited file below", "a new file"],
)
def test_it_changes_with(package, name, content):
    before = sources_digest([package])
    (package / name).write_text(content)
    assert sources_digest([package]) != before


def test_it_changes_with_a_file_s_name(package):
    before = sources_digest([package])
    (package / "a.py").rename(package / "z.py")
    assert sources_digest([package]) != before


def test_what_is_no_source_changes_nothing(package):
    before = sources_digest([package])
    (package / "notes.txt").write_text("x")
    assert sources_digest([package]) == before
