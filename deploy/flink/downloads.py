"""Flink and Beam's job server for it: from the user's package index and Maven, once, into a cache.

Both are checked against jars.sha256 before they take their place, and again at every start.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
_SDIST = "apache-flink-libraries-1.19.3.tar.gz"
_FLINK, _BEAM, _CLIENT = "flink-1.19.3", "beam-2.62.0", "flink-client-1.19.0"


@dataclasses.dataclass(frozen=True)
class Jars:
    """Folders of jars.

    Attributes:
        flink: Flink itself.
        beam: Beam's runner for Flink, and what it needs.
        client: the Flink that Beam's job server submits with.
    """

    flink: Path
    beam: Path
    client: Path


class Unavailable(RuntimeError):
    """Java, Maven or the jars cannot be had."""


def jars(tell: Callable[[str], None]) -> Jars:
    """Find or fetch the jars.

    Args:
        tell: takes a line for the person who waits.

    Raises:
        Unavailable: saying what is missing or could not be fetched.
        RuntimeError: naming the jar that is not as jars.sha256 has it.
    """
    cache = Path(os.environ.get("LTD_CACHE") or Path.home() / ".cache" / "ltd-bert") / "flink"
    cache.mkdir(parents=True, exist_ok=True)
    for names, fetch in (((_FLINK,), _fetch_flink), ((_BEAM, _CLIENT), _fetch_job_server)):
        if not all((cache / name).exists() for name in names):
            tell(f"downloading {' and '.join(names)} into {cache}, once")
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                fetch(Path(scratch))
                for name in names:
                    _check(Path(scratch) / name)
                    with contextlib.suppress(OSError):  # there already; it is checked below
                        (Path(scratch) / name).rename(cache / name)
        for name in names:
            _check(cache / name)
    return Jars(*(cache / name for name in (_FLINK, _BEAM, _CLIENT)))


def java() -> str:
    """The Java to use: JAVA_HOME's, or the one on PATH.

    Raises:
        Unavailable: if there is none of version 11 or 17, the ones that Flink 1.19 runs on.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not found or not os.access(found, os.X_OK):
        raise Unavailable("no java on PATH (nor in JAVA_HOME): Flink 1.19 needs Java 17")
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if not version or version[1] not in ("11", "17"):
        raise Unavailable(f"{found} says {told.strip()[:200]!r}: Flink 1.19 needs Java 17")
    return found


def _check(folder: Path) -> None:
    """Hold a folder to the list: no jar more, no jar less, each as it was."""
    expected = {
        name.partition("/")[2]: sha256
        for name, sha256 in _listed().items()
        if name.startswith(f"{folder.name}/")
    }
    found = {path.name: _sha256(path) for path in folder.iterdir()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) == found.get(name):
            continue
        if name not in found:
            fault = "is missing"
        elif name not in expected:
            fault = "is not in jars.sha256"
        else:
            fault = f"has sha256 {found[name]}, jars.sha256 says {expected[name]}"
        raise RuntimeError(f"{folder / name} {fault}; to fetch it anew: rm -r {folder}")


def _listed() -> dict[str, str]:
    """Path -> sha256; the format of sha256sum."""
    lines = (HERE / "jars.sha256").read_text("ascii").splitlines()
    return {name: sha256 for sha256, name in (line.split() for line in lines)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_flink(scratch: Path) -> None:
    """Flink's jars are in a source distribution, whose hash pip checks before it opens it."""
    wanted = scratch / "flink.txt"
    name, _, version = _SDIST.removesuffix(".tar.gz").rpartition("-")
    wanted.write_text(f"{name}=={version} --hash=sha256:{_listed()[_SDIST]}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    pip += ["--no-binary", ":all:", "--requirement", str(wanted), "--dest", str(scratch)]
    _run(pip, "pip could not download Flink")
    with tarfile.open(scratch / _SDIST) as tar:
        inside = f"{_SDIST.removesuffix('.tar.gz')}/deps/lib/"
        members = [one for one in tar if one.name.startswith(inside) and one.isfile()]
        tar.extractall(scratch, members, filter="data")
    (scratch / inside).rename(scratch / _FLINK)


def _fetch_job_server(scratch: Path) -> None:
    """Beam for the class paths of both Flink and the job server; the rest for the latter's."""
    if not shutil.which("mvn"):
        raise Unavailable("no mvn on PATH: Maven 3 fetches Beam's job server (Debian: maven)")
    copy = ["mvn", "--quiet", "--batch-mode", "--file", str(HERE / "pom.xml")]
    copy += ["dependency:copy-dependencies", f"-DoutputDirectory={scratch / _BEAM}"]
    _run(copy, "Maven could not fetch Beam's job server")
    (scratch / _CLIENT).mkdir()
    for jar in (scratch / _BEAM).iterdir():
        if f"{_CLIENT}/{jar.name}" in _listed():
            jar.rename(scratch / _CLIENT / jar.name)


def _run(command: Sequence[str], fault: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise Unavailable(f"{fault}: {' '.join(command)}\n{last}")
