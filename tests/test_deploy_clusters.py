"""Flink and Ray on Kubernetes: the rules of their operators, and all that must agree."""

import copy
import functools
import os
import re
import shlex
import zipfile
from pathlib import Path

import pytest
import yaml
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.transforms.environments import python_sdk_dependencies

from pipelines.running import beam_options
from tests import deploy_kit as kit
from tests import kuberay
from tests.test_lock import locked

POOL = "50000"  # Beam's entry point knows no other: sdks/python/container/boot.go
RAY_KINDS = ("RayCluster", "RayJob", "RayCronJob")
UNITS = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def flink():
    return kit.manifest("FlinkDeployment")


def pool_pod():
    return flink()["spec"]["taskManager"]["podTemplate"]["spec"]


def submit_pod():
    (found,) = [one for name, one in kit.manifests() if name == "kubernetes/flink/submit.yaml:Job"]
    return found["spec"]["template"]["spec"]


def container(pod, name):
    (found,) = [one for one in kit.containers(pod) if one["name"] == name]
    return found


def jobs():
    """Name -> config of the two Beam jobs that are submitted, read by their own parsers."""
    found = {}
    for name in ("idf", "teacher"):
        words = container(submit_pod(), name)["command"]
        assert words[:4] == ["python", "-m", "pipelines", name]
        found[name] = kit.parsed(words[3:], "pipelines")
    return found


def options():
    first, second = (one.runner_options for one in jobs().values())
    assert first == second
    return beam_options(first)


def policy(name):
    return kit.manifest("NetworkPolicy", name)["spec"]


def ports(rules):
    return {one["port"] for rule in rules for one in rule["ports"]}


def places(one):
    return {mount["mountPath"] for mount in one["volumeMounts"] if mount["mountPath"] != "/tmp"}


def claims(pod, one):
    """Mounted path -> claim, of a container."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    return {
        mount["mountPath"]: volumes[mount["name"]]["persistentVolumeClaim"]["claimName"]
        for mount in one["volumeMounts"]
        if "persistentVolumeClaim" in volumes[mount["name"]]
    }


def lies_on(path, mounted):
    return any(Path(path).is_relative_to(place) for place in mounted)


# ----- Flink


def test_flink_is_one_that_this_beam_has_a_job_server_for_and_all_versions_agree():
    spec = flink()["spec"]
    minor = spec["flinkVersion"].removeprefix("v").replace("_", ".")
    assert minor in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    assert re.fullmatch(rf"flink:{minor}\.\d+-scala_2.12-java11", spec["image"])
    beam = locked()["apache-beam"]
    image = container(submit_pod(), "job-server")["image"]
    assert image == f"apache/beam_flink{minor}_job_server:{beam}"


def test_flink_is_the_one_that_was_run_here():
    listed = (kit.DEPLOY / "flink" / "jars.sha256").read_text("ascii")
    (run,) = set(re.findall(r"flink-dist-([\d.]+)\.jar", listed))
    assert flink()["spec"]["image"].startswith(f"flink:{run}-")


def test_a_lost_taskmanager_is_noticed_as_soon_as_in_the_cluster_that_was_run_here():
    settings = flink()["spec"]["flinkConfiguration"]
    (path,) = (kit.DEPLOY / "flink").rglob("config.yaml")
    run = yaml.safe_load(path.read_text("utf-8"))
    for name in ("interval", "timeout"):
        assert settings[f"heartbeat.{name}"] == str(run["heartbeat"][name])
    kind = run["restart-strategy"]["type"]
    assert settings["restart-strategy.type"] == kind
    attempts = int(settings[f"restart-strategy.{kind}.attempts"])
    seconds = float(settings[f"restart-strategy.{kind}.delay"].removesuffix(" s"))
    assert attempts == run["restart-strategy"][kind]["attempts"]
    # Flink has given the lost one up when the job begins anew.
    assert seconds > int(settings["heartbeat.timeout"]) / 1000
    assert [name for name in settings if "checkpoint" in name or "state.backend" in name] == []


def test_flink_s_settings_are_ones_that_flink_knows():
    """The operator passes any on, and Flink ignores what it does not know."""
    cache = Path(os.environ.get("LTD_CACHE") or Path.home() / ".cache" / "ltd-bert")
    jars = sorted((cache / "flink").glob("flink-*/flink-dist-*.jar"))
    if not jars:
        pytest.skip("make flink-up puts Flink there")
    with zipfile.ZipFile(jars[-1]) as jar:
        inside = "org/apache/flink/configuration/"
        names = [one for one in jar.namelist() if one.startswith(inside) and "Options" in one]
        known = b"".join(map(jar.read, names))
    # A string constant of a class: a 1, its length, itself.
    settings = flink()["spec"]["flinkConfiguration"]
    assert [one for one in settings if _constant(one) not in known] == []
    assert _constant("heartbeat.timeut") not in known


def _constant(text):
    return b"\1" + len(text).to_bytes(2, "big") + text.encode("ascii")


def test_the_rules_that_flink_s_operator_checks_beside_its_schema_hold():
    name, spec = flink()["metadata"]["name"], flink()["spec"]
    assert re.fullmatch(r"[a-z]([-a-z\d]{0,43}[a-z\d])?", name)
    assert spec["serviceAccount"]
    assert not {"kubernetes.namespace", "kubernetes.cluster-id"} & spec["flinkConfiguration"].keys()
    assert spec["jobManager"]["replicas"] == 1  # more need high availability
    assert spec["taskManager"]["replicas"] >= 1
    for manager in ("jobManager", "taskManager"):
        assert re.fullmatch(r"\d+m", spec[manager]["resource"]["memory"])
        names = [one["name"] for one in spec[manager]["podTemplate"]["spec"]["containers"]]
        assert names.count("flink-main-container") == 1
    assert "job" not in spec  # a session cluster
    assert all(isinstance(value, str) for value in spec["flinkConfiguration"].values())


def test_a_job_asks_for_as_many_workers_as_there_are_slots_and_each_has_a_pool_of_its_own():
    spec = flink()["spec"]
    assert spec["flinkConfiguration"]["taskmanager.numberOfTaskSlots"] == "1"
    assert options().view_as(FlinkRunnerOptions).parallelism == spec["taskManager"]["replicas"]


def test_the_jobs_reach_the_job_server_and_the_workers_their_pool():
    portable = options().view_as(PortableOptions)
    assert options().view_as(StandardOptions).runner == "PortableRunner"
    server = container(submit_pod(), "job-server")
    given = dict(one.removeprefix("--").split("=") for one in server["args"])
    assert portable.job_endpoint == f"localhost:{given['job-port']}"
    assert given["job-host"] == "localhost"
    assert server["startupProbe"]["exec"]["command"][-1].endswith(f"/localhost/{given['job-port']}")
    # Without it a job that stalls, or whose pod is evicted, keeps its slots.
    assert options().view_as(FlinkRunnerOptions).flink_master == given["flink-master"]
    pool = container(pool_pod(), "worker-pool")
    assert pool["args"] == ["--worker_pool"]
    assert [str(one["containerPort"]) for one in pool["ports"]] == [POOL]
    assert (portable.environment_type, portable.environment_config) == (
        "EXTERNAL",
        f"localhost:{POOL}",
    )


def test_only_the_ports_that_are_meant_to_be_can_be_reached():
    spec, server = flink()["spec"], container(submit_pod(), "job-server")
    by_setting = {
        int(value) for name, value in spec["flinkConfiguration"].items() if name.endswith(".port")
    }
    (rest,) = [one for one in server["args"] if one.startswith("--flink-master=")]
    host, port = rest.removeprefix("--flink-master=").split(":")
    assert host == f"{flink()['metadata']['name']}-rest"
    assert spec["flinkConfiguration"]["rest.port"] == port
    cluster, submit = policy("ltd-flink"), policy("ltd-flink-submit")
    assert ports(cluster["ingress"]) == by_setting
    assert ports(cluster["egress"]) - {53} == by_setting - {int(port)}
    assert ports(submit["egress"]) - {53} == {int(port)}
    assert submit["ingress"] == []
    assert int(POOL) not in by_setting


def test_nothing_is_staged_so_that_job_server_and_workers_need_no_folder_in_common():
    assert python_sdk_dependencies(options()) == []


def test_the_teacher_comes_after_the_count_and_the_job_ends_with_it():
    pod = submit_pod()
    assert [one["name"] for one in pod["initContainers"]] == ["job-server", "idf"]
    server, counting = pod["initContainers"]
    assert server["restartPolicy"] == "Always"  # a sidecar: ended when the teacher has
    assert "restartPolicy" not in counting
    assert [one["name"] for one in pod["containers"]] == ["teacher"]
    found = jobs()
    assert found["teacher"].idf == found["idf"].out
    assert found["teacher"].corpus == found["idf"].corpus


def test_what_the_beam_jobs_read_and_write_lies_on_volumes_that_submitter_and_workers_share():
    pool = claims(pool_pod(), container(pool_pod(), "worker-pool"))
    found = jobs()
    paths = [*found["idf"].corpus, found["idf"].out, found["teacher"].teacher, found["teacher"].out]
    for name in ("idf", "teacher"):
        mounted = claims(submit_pod(), container(submit_pod(), name))
        assert mounted == pool
        assert [one for one in paths if not lies_on(one, mounted)] == []


def test_the_submitter_s_mistakes_are_final():
    (job,) = [one for name, one in kit.manifests() if name == "kubernetes/flink/submit.yaml:Job"]
    (rule,) = [one for one in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in one]
    assert set(rule["onExitCodes"]["values"]) == set(kit.dag_constants()["FINAL"])
    assert rule["action"] == "FailJob"


def gpus(document):
    return {
        one["name"]: one["resources"]["limits"].pop("nvidia.com/gpu", None)
        for _, pod in kit.pods(document)
        for one in kit.containers(pod)
        if "resources" in one
    }


def of_kind(folder, kind):
    (found,) = [copy.deepcopy(one) for one in kit.rendered(folder) if one["kind"] == kind]
    return found


def test_the_gpu_overlay_gives_every_worker_pool_a_gpu_and_changes_nothing_else():
    document = of_kind("kubernetes/flink/gpu", "FlinkDeployment")
    assert gpus(document) == {"worker-pool": "1"}
    assert document == flink()


# ----- Ray


def ray_documents():
    found = dict(kit.manifests())
    for folder in kit.overlays():
        # Without kubectl, what an overlay makes is not looked at.
        try:
            documents = kit.rendered(folder)
        except pytest.skip.Exception:
            continue
        found |= {f"{folder}:{one['kind']}": one for one in documents}
    return {name: one for name, one in found.items() if one["kind"] in RAY_KINDS}


RAY = ray_documents()


def cluster_of(document):
    spec = document["spec"].get("jobTemplate", document["spec"])
    return spec.get("rayClusterSpec", spec)


@pytest.mark.parametrize("document", RAY.values(), ids=RAY.keys())
def test_the_rules_that_kuberay_checks_beside_its_schema_hold(document):
    assert kuberay.faults(document) == []
    cluster = cluster_of(document)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}


SPOILED = {
    "name too long": {"metadata.name": "n" * 48},
    "name is no DNS label": {"metadata.name": "2026"},
    "suspend needs shutdown": {"spec.suspend": True, "spec.shutdownAfterJobFinishes": False},
    "ttl needs shutdown": {"spec.shutdownAfterJobFinishes": False},
    "ttl is negative": {"spec.ttlSecondsAfterFinished": -1},
    "rules exclude shutdown": {"spec.deletionStrategy": {"deletionRules": [{}]}},
    "a chosen cluster excludes suspend": {"spec.clusterSelector": {"a": "b"}, "spec.suspend": True},
    "a chosen cluster excludes retries": {"spec.clusterSelector": {"a": "b"}},
    "interactive excludes retries": {"spec.submissionMode": "InteractiveMode"},
    "no entrypoint": {"spec.entrypoint": ""},
    "a sidecar excludes a submitter": {"spec.submissionMode": "SidecarMode"},
    "a submitter must end": {"spec.submitterPodTemplate.spec.restartPolicy": "Always"},
    "no deadline": {"spec.activeDeadlineSeconds": 0},
    "retries are negative": {"spec.backoffLimit": -1},
    "bad runtime environment": {"spec.runtimeEnvYAML": "pip"},
    "a token needs Ray 2.52": {"spec.rayClusterSpec.rayVersion": "2.51.0"},
    "replicas out of bounds": {"spec.rayClusterSpec.workerGroupSpecs.0.replicas": 3},
    "a group that is suspended cannot be scaled": {
        "spec.rayClusterSpec.enableInTreeAutoscaling": True,
        "spec.rayClusterSpec.workerGroupSpecs.0.suspend": True,
    },
    "Kueue: must begin suspended": {"metadata.labels": {kuberay.QUEUE: "q"}},
    "Kueue: must not scale": {
        "metadata.labels": {kuberay.QUEUE: "q"},
        "spec.rayClusterSpec.enableInTreeAutoscaling": True,
    },
}


@pytest.mark.parametrize(("fault", "changes"), SPOILED.items(), ids=SPOILED.keys())
def test_a_rayjob_that_breaks_a_rule_of_kuberay_s_would_be_noticed(fault, changes):
    document = copy.deepcopy(kit.manifest("RayJob"))
    for where, value in changes.items():
        *path, last = [int(one) if one.isdigit() else one for one in where.split(".")]
        functools.reduce(lambda below, key: below[key], path, document)[last] = value
    assert fault in kuberay.faults(document)


@pytest.mark.parametrize("document", RAY.values(), ids=RAY.keys())
def test_ray_s_version_and_image_are_the_locked_ones(document):
    cluster = cluster_of(document)
    assert cluster["rayVersion"] == locked()["ray"]
    images = {one["image"] for _, pod in kit.pods(document) for one in kit.containers(pod)}
    assert len(images) == 1
    assert "ltd-bert/ray:" in images.pop()


TRAININGS = {name: one for name, one in RAY.items() if one["kind"] == "RayJob"}


@pytest.mark.parametrize("document", TRAININGS.values(), ids=TRAININGS.keys())
def test_a_training_fits_its_cluster(document):
    (words,) = kit.commands_of(document)
    config = kit.parsed(words[3:])
    cluster = cluster_of(document)
    (group,) = cluster["workerGroupSpecs"]
    assert config.workers == group["replicas"]
    assert config.min_workers < config.workers
    worker = group["template"]["spec"]["containers"][0]
    # Each worker asks Ray for a processor, and for a GPU where --gpu says so.
    assert amount(worker["resources"]["limits"]["cpu"]) >= 1
    assert config.gpu is ("nvidia.com/gpu" in worker["resources"]["limits"])
    assert {one["name"]: one["value"] for one in worker["env"]}["GLOO_SOCKET_IFNAME"] == "eth0"
    for one in (worker, cluster["headGroupSpec"]["template"]["spec"]["containers"][0]):
        assert lies_on(config.store, places(one))
        assert lies_on(config.out, places(one))


def test_the_gpu_overlay_of_the_training_changes_nothing_else():
    document = of_kind("kubernetes/train/gpu", "RayJob")
    assert gpus(document) == {"submitter": None, "ray-head": None, "ray-worker": "1"}
    document["spec"]["entrypoint"] = document["spec"]["entrypoint"].removesuffix(" --gpu")
    assert document == kit.manifest("RayJob")


def test_trainings_wait_for_a_queue_that_exists():
    job = of_kind("kubernetes/train/kueue", "RayJob")
    local, queue, flavor = (
        of_kind("kubernetes/train/kueue", kind)
        for kind in ("LocalQueue", "ClusterQueue", "ResourceFlavor")
    )
    assert job["metadata"].pop("labels") == {kuberay.QUEUE: local["metadata"]["name"]}
    assert job["spec"].pop("suspend") is True
    assert job == kit.manifest("RayJob")
    assert local["spec"]["clusterQueue"] == queue["metadata"]["name"]
    (group,) = queue["spec"]["resourceGroups"]
    assert [one["name"] for one in group["flavors"]] == [flavor["metadata"]["name"]]


def amount(quantity):
    number, unit = re.fullmatch(r"([\d.]+)(m|[KMG]i)?", str(quantity)).groups()
    return float(number) * UNITS.get(unit, 1)


def requested(job):
    """Resource -> what a RayJob's pods request together; for GPUs the limit is the request."""
    cluster, totals = cluster_of(job), {}
    pods = [(1, cluster["headGroupSpec"]), (1, {"template": job["spec"]["submitterPodTemplate"]})]
    pods += [(one["replicas"], one) for one in cluster["workerGroupSpecs"]]
    for number, pod in pods:
        for one in kit.containers(pod["template"]["spec"]):
            for name, quantity in {
                **one["resources"]["limits"],
                **one["resources"]["requests"],
            }.items():
                totals[name] = totals.get(name, 0) + number * amount(quantity)
    return totals


@pytest.mark.parametrize("folder", ["kubernetes/train/kueue", "kubernetes/train/gpu"])
def test_the_quota_covers_all_that_a_training_requests_and_two_of_them_fit(folder):
    job = of_kind(folder, "RayJob")
    (group,) = of_kind("kubernetes/train/kueue", "ClusterQueue")["spec"]["resourceGroups"]
    (flavor,) = group["flavors"]
    quota = {one["name"]: amount(one["nominalQuota"]) for one in flavor["resources"]}
    assert set(group["coveredResources"]) == quota.keys()
    assert {
        name: (total, quota.get(name))
        for name, total in requested(job).items()
        if 2 * total > quota.get(name, 0)
    } == {}


def test_the_standing_cluster_s_autoscaler_is_as_confined_as_the_rest():
    cluster = kit.manifest("RayCluster")["spec"]
    added, head = cluster["autoscalerOptions"], cluster["headGroupSpec"]["template"]["spec"]
    assert added["securityContext"] == head["containers"][0]["securityContext"]
    assert {"cpu", "memory"} == added["resources"]["limits"].keys()
    assert {one["mountPath"] for one in added["volumeMounts"]} == {"/tmp"}
    volumes = {one["name"] for one in head["volumes"]}
    assert {one["name"] for one in added["volumeMounts"]} <= volumes
    (group,) = cluster["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"]) == (0, 0)
    # The role that KubeRay makes for it must not fall to other pods.
    assert head["serviceAccountName"] != group["template"]["spec"]["serviceAccountName"]
    users = [
        name
        for name, document in kit.manifests()
        for _, pod in kit.pods(document)
        if pod["serviceAccountName"] == head["serviceAccountName"]
    ]
    assert users == ["kubernetes/raycluster/raycluster.yaml:RayCluster"]


# ----- the page that people copy from


PAGES = [kit.DEPLOY / "README.md", kit.ROOT / "docs" / "cluster.md"]


def blocks(pages=PAGES):
    text = "\n".join(page.read_text("utf-8") for page in pages)
    return [one.replace("\\\n", " ") for one in re.findall(r"```bash\n(.*?)```", text, re.S)]


def variables():
    """Name -> value of what the pages' commands put into one, appended where it is appended to."""
    found = {}
    for line in (line for block in blocks() for line in block.splitlines()):
        match = re.fullmatch(r'(\w+)="(.*)"', line)
        if match:
            found[match[1]] = match[2].replace(f"${match[1]}", found.get(match[1], ""))
    return found


def page_commands(pages=PAGES):
    """(package, words) of every job on the page; options files stand where the shell puts them."""
    found = []
    for line in (line for block in blocks(pages) for line in block.splitlines()):
        match = re.search(r"-m (pipelines|distill_jobs) (.*)", line.partition("   #")[0])
        if match:
            words = re.sub(
                r"\$\(grep -v '\^#' (\S+)\)",
                lambda one: " ".join(map(shlex.quote, kit.options_in(kit.ROOT / one[1]))),
                match[2],
            )
            for name, value in variables().items():
                words = words.replace(f"${name}", value)
            found.append((match[1], shlex.split(re.sub(r" \[.*", "", words))))
    return found


@pytest.mark.parametrize(("package", "words"), page_commands(), ids=str)
def test_every_command_of_the_page_is_taken_by_the_job_s_own_parser_and_by_beam_s(package, words):
    config = kit.parsed([one.replace("...", "x") for one in words], package)
    beam_options(getattr(config, "runner_options", ()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_files_that_exist(page):
    text = page.read_text("utf-8")
    named = set(re.findall(r"deploy/[\w./-]*\w(?![\w.{-])", text))
    assert len(named) > 5
    assert [one for one in named if not (kit.ROOT / one).exists()] == []


def test_the_page_names_all_overlays():
    text = PAGES[0].read_text("utf-8")
    short = {one.removeprefix("kubernetes").strip("/") for one in kit.overlays()}
    assert [one for one in short if f"kubernetes/{one}".rstrip("/") not in text] == []


def test_the_page_submits_to_the_standing_cluster_no_more_workers_than_it_may_have():
    (training,) = [words for package, words in page_commands(PAGES[:1]) if words[0] == "train"]
    (group,) = kit.manifest("RayCluster")["spec"]["workerGroupSpecs"]
    assert kit.parsed(training).workers <= group["maxReplicas"]
    assert f"service/{kit.manifest('RayCluster')['metadata']['name']}-head-svc" in "".join(blocks())
