"""The schedules of nightly retraining: valid, hardened, at the same time, with real flags."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from schemas.command import CANNOT_CREATE, DATA, RETRY, USAGE
from tests import deploy_kit as kit
from tests.test_lock import locked

MANIFESTS = kit.manifests()
COMMANDS = kit.commands()
PODS = [
    pytest.param(pod, id=f"{name}{where}")
    for name, one in MANIFESTS
    for where, pod in kit.pods(one)
]
FINAL = {USAGE, DATA, CANNOT_CREATE}
HARDENED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
FOLDERS = ["kubernetes", "kubernetes/ray"]
RESOURCES = {"cpu", "memory"}
FLINK = "flink-main-container"  # to which the operator gives image, command and resources


def names(pairs):
    return [name for name, _ in pairs]


def settings_text():
    return (kit.DEPLOY / "nightly.toml").read_text("utf-8")


# ----- manifests


@pytest.mark.parametrize("document", [one for _, one in MANIFESTS], ids=names(MANIFESTS))
def test_a_cluster_would_accept(document):
    assert kit.faults(document) == []


@pytest.mark.parametrize("document", [one for _, one in MANIFESTS], ids=names(MANIFESTS))
def test_a_cluster_would_refuse_any_misspelled_field_of(document):
    accepted = [where for where, spoiled in kit.misspelled(document) if not kit.faults(spoiled)]
    assert [where for where in accepted if where.split(".")[-2] not in kit.FREE] == []


@pytest.mark.parametrize("folder", kit.overlays())
def test_a_cluster_would_accept_what_kustomize_makes_of(folder):
    found = {one["kind"]: kit.faults(one) for one in kit.rendered(folder)}
    assert {kind: faults for kind, faults in found.items() if faults} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_renders_manifests_with_the_settings_file_in_them(folder):
    rendered = kit.rendered(folder)
    (settings,) = [one for one in rendered if one["kind"] == "ConfigMap"]
    assert settings["metadata"]["name"] == "ltd-nightly"
    assert settings["data"] == {"nightly.toml": settings_text()}
    images = {c["image"] for one in rendered for _, pod in kit.pods(one) for c in pod["containers"]}
    assert images == {f"registry.example.com/ltd-bert/ray:{version()}"}


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_may_do_nothing_but_its_work(pod):
    about = pod["securityContext"]
    assert about["runAsNonRoot"] is True
    assert about["runAsUser"] > 0
    assert about["seccompProfile"] == {"type": "RuntimeDefault"}
    # Only Ray's autoscaler talks to the cluster's API, from the head of the standing cluster.
    assert pod["automountServiceAccountToken"] is (pod["serviceAccountName"] == "ltd-ray")
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for container in kit.containers(pod):
        may = dict(container["securityContext"])
        assert may.pop("runAsUser", 1) > 0
        may.pop("runAsGroup", None)
        assert may == HARDENED
        if container["name"] != FLINK:
            assert container["resources"]["requests"].keys() >= RESOURCES
            assert container["resources"]["limits"].keys() >= RESOURCES


@pytest.mark.parametrize("pod", PODS)
def test_what_a_pod_names_exists(pod):
    accounts = [one for _, one in MANIFESTS if one["kind"] == "ServiceAccount"]
    assert pod["serviceAccountName"] in {one["metadata"]["name"] for one in accounts}
    volumes = {one["name"]: one for one in pod["volumes"]}
    mounted = set()
    for container in kit.containers(pod):
        places = {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
        assert "emptyDir" in places["/tmp"]
        mounted |= {one["name"] for one in container["volumeMounts"]}
    assert mounted == volumes.keys()
    claims = {one["metadata"]["name"] for _, one in MANIFESTS if "Claim" in one["kind"]}
    assert {
        one["persistentVolumeClaim"]["claimName"]
        for one in volumes.values()
        if "persistentVolumeClaim" in one
    } <= claims
    assert {one["configMap"]["name"] for one in volumes.values() if "configMap" in one} <= {
        "ltd-nightly"
    }


@pytest.mark.parametrize("pod", PODS)
def test_a_network_policy_holds_for_every_pod(pod):
    policies = [one["spec"] for _, one in MANIFESTS if one["kind"] == "NetworkPolicy"]
    held = [
        one
        for one in policies
        if one["podSelector"]["matchLabels"].items() <= pod["labels"].items()
    ]
    assert len(held) == 1
    assert held[0]["policyTypes"] == ["Ingress", "Egress"]
    assert all("to" in one for one in held[0]["egress"])


def test_a_late_partition_is_waited_for_and_bad_data_is_not():
    job = kit.manifest("CronJob")["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    by_code = {}
    for rule in job["podFailurePolicy"]["rules"]:
        if "onExitCodes" in rule:
            codes = rule["onExitCodes"]
            assert (codes["containerName"], codes["operator"]) == (container["name"], "In")
            by_code |= dict.fromkeys(codes["values"], rule["action"])
    assert by_code == dict.fromkeys(FINAL, "FailJob") | {RETRY: "Ignore"}
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # podFailurePolicy needs it
    assert set(kit.dag_constants()["FINAL"]) == FINAL
    service = kit.unit(kit.SERVICE)
    assert set(map(int, service["RestartPreventExitStatus"][0].split())) == FINAL
    assert service["Restart"] == ["on-failure"]


# ----- one time, one command


def test_all_schedules_fire_at_the_same_time_in_the_settings_time_zone():
    found = kit.schedules()
    assert len(found) == 5
    zone = tomllib.loads(settings_text())["timezone"]
    assert {(one.zone, one.first) for one in found.values()} == {(zone, "02:30")}


def test_all_schedules_but_kuberay_s_still_try_when_a_partition_is_given_up():
    last = 24 + float(tomllib.loads(settings_text()).get("late_hours", 6))  # o'clock, the next day
    begin = 24 + 2.5
    known, service = kit.dag_constants(), kit.unit(kit.SERVICE)
    assert service["RestartSec"] == ["15min"]
    ends = {
        "CronJob": begin
        + kit.manifest("CronJob")["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] / 3600,
        "Airflow": begin + known["RETRIES"] * known["RETRY_DELAY"].total_seconds() / 3600,
        "crontab": 24 + int(kit.schedules()[kit.CRONTAB.name].last[:2]) + 0.5,
        "systemd": begin + int(service["StartLimitBurst"][0]) / 4,
    }
    assert {name: end for name, end in ends.items() if end <= last} == {}
    assert all(end < begin + 24 for end in ends.values())


@pytest.mark.parametrize("words", [words for _, words in COMMANDS], ids=names(COMMANDS))
def test_the_job_s_own_parser_takes_the_command_of(words):
    config = kit.parsed(words)
    assert config.settings.is_absolute()
    assert getattr(config, "date", None) in (None, "2026-11-20")


def test_a_mistyped_flag_would_be_noticed():
    with pytest.raises(SystemExit) as ended:
        kit.parsed(["nightly", "--setting", "/ltd/nightly.toml"])
    assert ended.value.code == USAGE


def test_all_schedules_are_among_the_commands():
    assert {name.split(":")[0].split(" ")[0] for name, _ in COMMANDS} == {
        "kubernetes/cronjob.yaml",
        "kubernetes/rollback.yaml",
        "kubernetes/ray/raycronjob.yaml",
        kit.DAG.name,
        kit.CRONTAB.name,
        kit.SERVICE.name,
    }


def test_what_the_settings_name_is_on_a_volume_of_the_pod(tmp_path):
    from distill_jobs.nightly.settings import read_settings

    job = kit.manifest("CronJob")["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    volumes = {one["name"]: one for one in job["template"]["spec"]["volumes"]}
    places = {
        one["mountPath"]: ("configMap" in volumes[one["name"]], one.get("readOnly", False))
        for one in container["volumeMounts"]
        if one["mountPath"].startswith("/ltd/")
    }
    assert places == {
        "/ltd/deploy": (True, True),
        "/ltd/work": (False, False),
        "/ltd/texts": (False, True),
    }
    file = tmp_path / kit.parsed(container["command"][3:]).settings.relative_to("/ltd")
    file.parent.mkdir()
    file.write_text(settings_text(), "utf-8")
    settings = read_settings(file)
    work = [settings.home, settings.store, settings.idf, settings.tasks, settings.labelled]
    assert {Path(one).relative_to(tmp_path).parts[0] for one in work} == {"work"}
    assert {Path(one).relative_to(tmp_path).parts[0] for one in settings.corpus} == {"texts"}


def test_under_systemd_only_the_work_folder_can_be_written():
    service = kit.unit(kit.SERVICE)
    (config,) = [kit.parsed(words) for name, words in COMMANDS if name == kit.SERVICE.name]
    assert service["ReadWritePaths"] == [str(config.settings.parents[1] / "work")]
    assert service["ProtectSystem"] == ["strict"]


def test_systemd_takes_the_units_and_would_name_a_misspelled_key(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    text = kit.SERVICE.read_text("utf-8").replace("/opt/ltd-bert/.venv/bin/python", sys.executable)
    service, timer = tmp_path / kit.SERVICE.name, tmp_path / kit.TIMER.name
    timer.write_text(kit.TIMER.read_text("utf-8"))

    def verify(service_text):
        service.write_text(service_text.replace("=/opt/ltd-bert", f"={tmp_path}"))
        command = ["systemd-analyze", "verify", service, timer]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert verify(text) == (0, "")
    assert "Unknown key 'NoNewPrivilege'" in verify(text.replace("Privileges=", "Privilege="))[1]
    assert verify(text.replace("on-failure", "always"))[0] == 1


# ----- images

IMAGES = sorted((kit.DEPLOY / "images").glob("*.Dockerfile"))


def version():
    return tomllib.loads((kit.ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_base_images_are_of_the_locked_ray_and_beam():
    bases = {one.stem: [r for n, r in kit.instructions(one) if n == "FROM"] for one in IMAGES}
    assert bases == {
        "ray": [f"rayproject/ray:{locked()['ray']}-py311-cpu"],
        "beam-worker": [
            f"apache/beam_python3.11_sdk:{locked()['apache-beam']} AS beam",
            "python:3.11.14-slim-bookworm",
        ],
        "dataflow": [
            "gcr.io/dataflow-templates-base/python311-template-launcher-base:latest AS launcher",
            f"registry.example.com/ltd-bert/beam-worker:{version()}",
        ],
    }


def test_every_image_of_ours_in_a_manifest_is_of_this_version_and_can_be_built():
    found = {c["image"] for one in PODS for c in kit.containers(one.values[0]) if "image" in c}
    found = {one for one in found if "ltd-bert/" in one}
    (base,) = kit.read_manifests(kit.DEPLOY / "kubernetes" / "kustomization.yaml")
    (named,) = base["images"]
    assert named["newTag"] == version()
    registry = named["newName"].removesuffix(named["name"])
    full = {f"{registry}ltd-bert/{one}:{version()}" for one in ("ray", "beam-worker")}
    assert found == {named["name"], *full}
    assert {"ray", "beam-worker"} <= {one.stem for one in IMAGES}


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_an_image_installs_only_what_is_locked_and_runs_as_nobody_special(path):
    found = kit.instructions(path)
    installs = re.findall(
        r"pip install (.*?)(?:&&|$)", "\n".join(r for n, r in found if n == "RUN"), re.M
    )
    assert installs
    assert all({"--require-hashes", "--no-index"} & set(one.split()) for one in installs)
    assert all("--no-deps" in one and "--no-build-isolation" in one for one in installs)
    users = [rest for name, rest in found if name == "USER"]
    if path.stem == "dataflow":
        assert users[-1] == "0:0"  # on a machine of its own, whose mounts are root's
    else:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    assert [name for name, _ in found if name in ("ADD", "VOLUME", "EXPOSE")] == []
    assert [one for one in kit.copied(path) if not (kit.ROOT / one).exists()] == []


def test_the_project_builds_from_what_the_images_copy_and_is_whole(tmp_path):
    pytest.importorskip("setuptools")
    (sources,) = {tuple(kit.copied(path)) for path in IMAGES if path.stem != "dataflow"}
    for source in sources:
        whole = (kit.ROOT / source).is_dir()
        (shutil.copytree if whole else shutil.copy)(kit.ROOT / source, tmp_path / Path(source).name)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--no-compile", "--target", tmp_path / "to", tmp_path]
    subprocess.run(command, check=True, capture_output=True)

    def files(root):
        return {
            one.relative_to(root).as_posix()
            for package in ("schemas", "pipelines", "distill_jobs")
            for one in (root / package).rglob("*")
            if one.is_file() and one.suffix != ".pyc"
        }

    assert files(tmp_path / "to") == files(kit.ROOT)
