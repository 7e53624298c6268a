"""deploy/requirements.lock: what an image installs is pinned, hashed, and what was tested."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "deploy" / "requirements.lock").read_text("utf-8")
_ENTRY = re.compile(
    r"^([a-z0-9][a-z0-9.-]*)==([^ ;]+)(?: ;[^\\]+)? \\\n((?:    --hash=\S+ ?\\?\n?)+)", re.M
)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    return {normal(name): version for name, version, _ in _ENTRY.findall(LOCK)}


def test_every_line_is_a_pin_or_a_sha256_of_one():
    assert _ENTRY.sub("", LOCK).strip() == ""
    for name, _, hashes in _ENTRY.findall(LOCK):
        assert all(
            re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one.strip(" \\"))
            for one in hashes.splitlines()
        ), name


def test_it_holds_every_dependency_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = {normal(re.split(r"[\[<>=~]", one)[0]) for one in project["dependencies"]}
    assert asked <= locked().keys()


def test_its_versions_are_the_ones_that_the_tests_run_with():
    constraints = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    tested = dict(line.split("==") for line in constraints if "==" in line and line[0] != "#")
    tested = {normal(name): version for name, version in tested.items()}
    differing = {
        name: (version, tested.get(name))
        for name, version in locked().items()
        if name in tested and tested[name] != version
    }
    assert differing == {}
    assert len(locked().keys() & tested.keys()) > 100


def test_it_names_no_registry():
    assert not re.search(r"https?://|--index|--extra-index", LOCK)
