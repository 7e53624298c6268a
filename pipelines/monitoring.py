"""Numbers to watch: Beam metrics while a job runs, a Prometheus file when it is done.

Flink's and Dataflow's consoles show the metrics. A bundle that is tried again counts twice in them,
so what counts is the summary of the commit, whose counts travel as data.
"""

import time
from collections.abc import Mapping

from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from schemas import parts
from schemas.command import redact
from schemas.commits import Commit

_NAMESPACE = "ltd"

SENTENCES_READ = Metrics.counter(_NAMESPACE, "sentences_read")
RECORDS_REJECTED = Metrics.counter(_NAMESPACE, "records_rejected")
SENTENCES_NEW = Metrics.counter(_NAMESPACE, "sentences_new")
SENTENCES_EMBEDDED = Metrics.counter(_NAMESPACE, "sentences_embedded")
TOKENS = Metrics.counter(_NAMESPACE, "tokens")
PADDED_TOKENS = Metrics.counter(_NAMESPACE, "padded_tokens")
SHARD_ROWS = Metrics.distribution(_NAMESPACE, "shard_rows")
SHARD_MILLISECONDS = Metrics.distribution(_NAMESPACE, "shard_milliseconds")


def metrics_of(result: PipelineResult) -> dict[str, float]:
    """The counters and distributions of a pipeline that has ended, each over all its steps."""
    try:
        found = result.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))
    except Exception:
        return {}  # a runner that cannot tell must not fail a run that has committed
    numbers: dict[str, float] = {}
    for one in found["counters"]:
        name = one.key.metric.name
        numbers[name] = numbers.get(name, 0) + one.result
    for one in found["distributions"]:
        # Each has one step, so there is nothing to add up; one that saw nothing has no extremes.
        for part in ("count", "sum", "min", "max") if one.result.count else ():
            numbers[f"{one.key.metric.name}_{part}"] = getattr(one.result, part)
    return numbers


def write_gauges(job: str, out: str, done: Commit, metrics: Mapping[str, float]) -> None:
    """Write ``<out>.runs/<job>.prom``, for the textfile collector of Prometheus' node_exporter.

    Args:
        job: the command's name.
        out: folder of the table, in the label `store`.
        done: the run's commit; every number of its summary becomes a gauge.
        metrics: Beam's, whose names get the prefix `beam_`.
    """
    numbers = {
        **{name: n for name, n in done.summary.items() if isinstance(n, int | float)},
        **{f"beam_{name}": value for name, value in metrics.items()},
        "last_success_timestamp_seconds": time.time(),
    }
    registry = CollectorRegistry()
    for name, value in sorted(numbers.items()):
        meaning = f"{name} of the last run that committed"
        gauge = Gauge(f"ltd_{job}_{name}", meaning, ["store"], registry=registry)
        gauge.labels(redact(out)).set(value)
    folder = f"{out}.runs"
    parts.write_bytes(generate_latest(registry), folder, f"{job}.prom")
    parts.tidy(folder)
