"""What KubeRay 1.7 and Kueue check of Ray's kinds beside their schemas, or should."""

import re

import yaml

_NAMES = {"RayCluster": 53, "RayJob": 47, "RayCronJob": 36}
_DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_V2 = "RAY_enable_autoscaler_v2"
QUEUE = "kueue.x-k8s.io/queue-name"
ONCE = (None, "Never")


def faults(document):
    """What KubeRay's utils/validation.go would say of a document, one line each."""
    kind, about, spec = document["kind"], document["metadata"], document["spec"]
    said = []
    if len(about["name"]) > _NAMES[kind]:
        said.append("name too long")
    if not re.fullmatch(_DNS_1035, about["name"]):
        said.append("name is no DNS label")
    if kind == "RayCronJob":
        said += ["time zone in the schedule"] if "TZ=" in spec["schedule"] else []
        spec = spec["jobTemplate"]
    if kind == "RayCluster":
        return said + _cluster_faults(spec)
    said += _job_faults(spec)
    if "rayClusterSpec" in spec:
        said += _cluster_faults(spec["rayClusterSpec"])
    return said + _queue_faults(about, spec)


def _job_faults(spec):
    shuts = spec.get("shutdownAfterJobFinishes", False)
    mode = spec.get("submissionMode", "K8sJobMode")
    chosen = bool(spec.get("clusterSelector"))
    head = spec.get("rayClusterSpec", {}).get("headGroupSpec", {}).get("template", {})
    submitter = spec.get("submitterPodTemplate", {}).get("spec", {})
    sidecar = mode == "SidecarMode"
    rules = {
        "suspend needs shutdown": spec.get("suspend") and not shuts,
        "ttl needs shutdown": spec.get("ttlSecondsAfterFinished", 0) > 0 and not shuts,
        "ttl is negative": spec.get("ttlSecondsAfterFinished", 0) < 0,
        "rules exclude shutdown": spec.get("deletionStrategy", {}).get("deletionRules") and shuts,
        "no cluster": not chosen and "rayClusterSpec" not in spec,
        "a chosen cluster excludes suspend": chosen and spec.get("suspend"),
        "a chosen cluster excludes the sidecar": chosen and sidecar,
        "a chosen cluster excludes retries": chosen and spec.get("backoffLimit"),
        "interactive excludes retries": mode == "InteractiveMode" and spec.get("backoffLimit"),
        "no entrypoint": mode != "InteractiveMode" and not spec.get("entrypoint"),
        "a sidecar excludes a submitter": sidecar
        and {"submitterPodTemplate", "submitterConfig"} & spec.keys(),
        "a sidecar needs a head that ends": sidecar
        and head.get("spec", {}).get("restartPolicy") not in ONCE,
        "a submitter must end": submitter
        and submitter.get("restartPolicy") not in ("Never", "OnFailure"),
        "no deadline": spec.get("activeDeadlineSeconds", 1) <= 0,
        "retries are negative": spec.get("backoffLimit", 0) < 0,
        "bad runtime environment": not isinstance(
            yaml.safe_load(spec.get("runtimeEnvYAML", "{}")), dict
        ),
    }
    return [name for name, broken in rules.items() if broken]


def _cluster_faults(spec):
    head, groups = spec["headGroupSpec"], spec.get("workerGroupSpecs", [])
    scales = spec.get("enableInTreeAutoscaling", False)
    version = tuple(map(int, spec.get("rayVersion", "0").split(".")))
    (ray, *_) = [*head["template"]["spec"]["containers"], None]
    names = {one["name"] for one in (ray or {}).get("env", [])}
    second = scales and spec.get("autoscalerOptions", {}).get("version") == "v2"
    policies = [one["template"]["spec"].get("restartPolicy") for one in (head, *groups)]
    rules = {
        "no container": not all(one["template"]["spec"]["containers"] for one in (head, *groups)),
        "a token needs Ray 2.52": spec.get("authOptions", {}).get("mode") == "token"
        and version < (2, 52),
        "labels belong to the group": any("labels" in one["rayStartParams"] for one in groups),
        "resources are said twice": any(
            one.get("resources")
            and {"num-cpus", "num-gpus", "memory"} & one["rayStartParams"].keys()
            for one in (head, *groups)
        ),
        "autoscaler v2 without autoscaling": not scales and _V2 in names,
        "autoscaler v2 is said twice": second and _V2 in names,
        "autoscaler v2 restarts no pod": second and not {*policies} <= {*ONCE},
        "a group that is suspended cannot be scaled": scales
        and any(one.get("suspend") for one in groups),
        "replicas out of bounds": any(
            not one.get("minReplicas", -1) <= one.get("replicas", 0) <= one.get("maxReplicas", -1)
            for one in groups
        ),
    }
    return [name for name, broken in rules.items() if broken]


def _queue_faults(about, spec):
    """Kueue's limits for a RayJob that carries the label of a queue."""
    if QUEUE not in about.get("labels", {}):
        return []
    cluster = spec.get("rayClusterSpec", {})
    rules = {
        "Kueue: must begin suspended": not spec.get("suspend"),
        "Kueue: must shut down": not spec.get("shutdownAfterJobFinishes"),
        "Kueue: must have a cluster of its own": bool(spec.get("clusterSelector")),
        "Kueue: must not scale": cluster.get("enableInTreeAutoscaling", False),
        "Kueue: too many worker groups": len(cluster.get("workerGroupSpecs", [])) > 7,
    }
    return [name for name, broken in rules.items() if broken]
