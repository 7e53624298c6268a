"""What lies under deploy/, read: manifests and their schemas, images, schedules, commands."""

import ast
import copy
import dataclasses
import functools
import gzip
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from schemas.command import parse

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SHARED = Path(os.environ.get("LTD_SHARED", ROOT.parent / "shared"))
DAG = DEPLOY / "airflow" / "ltd_nightly.py"
CRONTAB = DEPLOY / "cron" / "ltd-nightly.crontab"
SERVICE = DEPLOY / "cron" / "ltd-nightly.service"
TIMER = DEPLOY / "cron" / "ltd-nightly.timer"
OLDEST = (1, 31)  # Kubernetes: the first with podFailurePolicy for good
# Maps whose keys are the user's own, or another program's, so that no schema can know them.
FREE = {"labels", "matchLabels", "annotations", "requests", "limits", "rayStartParams", "data"}
FREE |= {"flinkConfiguration"}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a day's first and last firing are, HH:MM in a time zone."""

    zone: str
    first: str
    last: str


# ----- manifests


def read_manifests(path):
    return [one for one in yaml.safe_load_all(path.read_text("utf-8")) if one]


def manifests():
    """(name, document) of everything that a cluster is given; kustomizations are not."""
    return [
        (f"{path.relative_to(DEPLOY).as_posix()}:{document['kind']}", document)
        for path in sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
        for document in read_manifests(path)
        if document["kind"] != "Kustomization"
    ]


def manifest(kind, name=None):
    """The only document of a kind, or that of a name."""
    found = [one for _, one in manifests() if one["kind"] == kind]
    found = [one for one in found if name in (None, one["metadata"].get("name"))]
    assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
    return found[0]


def overlays():
    """The folders that kustomize renders."""
    found = sorted((DEPLOY / "kubernetes").rglob("kustomization.yaml"))
    return [path.parent.relative_to(DEPLOY).as_posix() for path in found]


@functools.cache
def rendered(folder):
    """What kustomize makes of a folder, and a cluster would get."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    command = ["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone"]
    done = subprocess.run([*command, DEPLOY / folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def faults(document):
    """What a cluster's API server would refuse by its schemas; unknown fields too."""
    if missing := {"apiVersion", "kind"} - document.keys():
        return [f"has no {one}" for one in sorted(missing)]
    group, _, version = document["apiVersion"].rpartition("/")
    if "." in group and (not group.endswith(".k8s.io") or group.endswith(".x-k8s.io")):
        checks = [(_custom_schema(group, document["kind"].lower(), version), document)]
        # A custom kind's own schema leaves its metadata to the API server.
        kind, group, version = "configmap", "", "v1"
        document = {"metadata": document.get("metadata")}
    else:
        checks, kind = [], document["kind"].lower()
    built_in = _built_in_schemas(kind, group.split(".")[0], version)
    checks += [(validator, document) for validator in built_in]
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for validator, checked in checks
        for error in validator.iter_errors(checked)
    ]


@functools.cache
def _built_in_schemas(kind, group, version):
    """The strict schemas of all releases of Kubernetes that these manifests are for."""
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate has the schemas of built-in kinds"
    )
    from referencing import Registry, Resource

    root = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    folders = [
        one
        for one in sorted(root.glob("v*-local-strict"))
        if tuple(map(int, re.findall(r"\d+", one.name)[:2])) >= OLDEST
    ]
    assert folders
    name = "-".join([kind, *([group] if group else []), version])
    found = []
    for folder in folders:
        definitions = Resource.from_contents(_json(folder / "_definitions.json"))
        registry = definitions @ Registry()
        schema = _json(folder / f"{name}.json")
        found.append(jsonschema.Draft202012Validator(schema, registry=registry))
    return found


@functools.cache
def _json(path):
    return json.loads(path.read_text("utf-8"))


@functools.cache
def _custom_schema(group, kind, version):
    path = SHARED / "crd_schemas" / f"{group}_{kind}_{version}.json.gz"
    if not path.is_file():
        pytest.skip(f"no schema of {kind} in {path.parent}; LTD_SHARED names its parent")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return jsonschema.Draft7Validator(json.load(file))


def misspelled(document):
    """(where, copy) for every field of a document, with its name misspelled in the copy."""
    for where in _fields(document, ()):
        spoiled = copy.deepcopy(document)
        parent = functools.reduce(lambda value, key: value[key], where[:-1], spoiled)
        parent[f"{where[-1]}x"] = parent.pop(where[-1])
        yield ".".join(map(str, where)), spoiled


def _fields(value, where):
    if isinstance(value, dict):
        for key, below in value.items():
            yield (*where, key)
            if key not in FREE:
                yield from _fields(below, (*where, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _fields(below, (*where, number))


def pods(value, where=""):
    """(where, pod spec with its labels) of every pod in a document."""
    if isinstance(value, dict):
        if "containers" in value.get("spec", {}):
            yield where, {"labels": value.get("metadata", {}).get("labels", {}), **value["spec"]}
        for key, below in value.items():
            yield from pods(below, f"{where}.{key}")
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from pods(below, f"{where}.{number}")


def containers(pod):
    """All of a pod; sidecars are among the init containers."""
    return [*pod.get("initContainers", []), *pod["containers"]]


# ----- commands


def commands_of(document):
    """The words from `python` on of every job that a document starts."""
    found = []
    for _, pod in pods(document):
        for one in containers(pod):
            words = [*one.get("command", []), *one.get("args", [])]
            if words[:2] == ["python", "-m"]:
                found.append(words)
    return found + [shlex.split(one) for one in _values_of(document, "entrypoint")]


def commands():
    """(where, words after `python -m distill_jobs`) of every schedule of the nights."""
    found = [
        (name, words)
        for name, document in manifests()
        for words in commands_of(document)
        if words[3] in ("nightly", "rollback")
    ]
    found.append((DAG.name, shlex.split(dag_command("2026-11-20"))))
    found.append((f"{DAG.name} without a date", shlex.split(dag_command(None))))
    for line in crontab_lines():
        found.append((CRONTAB.name, shlex.split(line.split("&&")[1].split(">>")[0])))
    found.append((SERVICE.name, shlex.split(unit(SERVICE)["ExecStart"][0])))
    for name, words in found:
        assert words[1:3] == ["-m", "distill_jobs"], f"{name}: {words}"
    return [(name, words[3:]) for name, words in found]


def options_in(path):
    """Beam's options in a file, one a line."""
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def parsed(words, package="distill_jobs"):
    """What the job's own parser makes of a command line; SystemExit if it refuses."""
    jobs = importlib.import_module(f"{package}.__main__")
    assert words[0] in jobs.JOBS
    name = getattr(jobs, "MODULES", {}).get(words[0], words[0])
    module = importlib.import_module(f"{package}.{name}")
    (config,) = [
        one
        for name, one in vars(module).items()
        if name.endswith("Config") and one.__module__ == module.__name__
    ]
    return parse(config, words[1:])


def _values_of(value, key):
    if isinstance(value, dict):
        for name, below in value.items():
            if name == key:
                yield below
            yield from _values_of(below, key)
    elif isinstance(value, list):
        for below in value:
            yield from _values_of(below, key)


# ----- Airflow, crontab, systemd


@functools.cache
def dag_constants():
    """The constants of the DAG's file, without Airflow."""
    import datetime

    known = {"datetime": datetime}
    body = ast.parse(DAG.read_text("utf-8")).body
    assigned = [one for one in body if isinstance(one, ast.Assign)]
    exec(compile(ast.Module(assigned, []), str(DAG), "exec"), known)
    return known


def dag_command(date):
    """The DAG's command as bash gets it; tests/test_deploy_airflow.py lets Airflow render it."""
    words = dag_constants()["COMMAND"]
    if date is None:
        words = re.sub(r"{% if logical_date %}.*?{% endif %}", "", words)
    words = re.sub(r"{%.*?%}", "", re.sub(r"{{.*?}}", str(date), words))
    return re.sub(
        r'"\$\{(\w+):.*?\}"', lambda found: {"LTD_PYTHON": "python"}.get(found[1], "/x"), words
    )


def crontab_lines():
    lines = CRONTAB.read_text("utf-8").splitlines()
    return [line for line in lines if line[:1].isdigit() or line[:1] == "*"]


def unit(path):
    """Key -> values of a systemd unit, in order."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def cron_schedule(expression, zone):
    minute, hours, *rest = expression.split()[:5]
    assert rest == ["*", "*", "*"], f"not every day: {expression!r}"
    first, _, last = hours.partition("-")
    times = [f"{int(hour):02d}:{int(minute):02d}" for hour in (first, last or first)]
    return Schedule(zone, *times)


def schedules():
    """Name -> schedule of everything that fires nights by itself."""
    found = {}
    for name, document in manifests():
        if "schedule" in document.get("spec", {}):
            spec = document["spec"]
            found[name] = cron_schedule(spec["schedule"], spec["timeZone"])
    known = dag_constants()
    found[DAG.name] = cron_schedule(known["SCHEDULE"], known["TIMEZONE"])
    (zone,) = re.findall(r"^CRON_TZ=(\S+)$", CRONTAB.read_text("utf-8"), re.M)
    for line in crontab_lines():
        found[CRONTAB.name] = cron_schedule(line, zone)
    days, time, zone = unit(TIMER)["OnCalendar"][0].split()
    assert days == "*-*-*"
    found[TIMER.name] = Schedule(zone, time[:5], time[:5])
    return found


# ----- images


def instructions(path):
    """(name, arguments) of a Dockerfile, with its ARGs filled in."""
    text = re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.M).replace("\\\n", " ")
    known, found = {}, []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "ARG":
            key, _, value = rest.partition("=")
            known[key] = value
        found.append((name, re.sub(r"\$\{(\w+)\}", lambda one: known[one[1]], rest.strip())))
    return found


def copied(path):
    """The paths in the checkout that an image copies."""
    return [
        source
        for name, rest in instructions(path)
        if name == "COPY" and "--from=" not in rest
        for source in [word for word in rest.split() if not word.startswith("--")][:-1]
    ]
