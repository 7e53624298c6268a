"""A training -> Ray Train's workers, which may be fewer after a node is lost.

Ray starts the workers again when one dies, or a node with all on it; the loop goes on from its own
checkpoints. What Ray does not try again, or tries in vain, is decided here.
"""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import torch
from ray import train as ray_train
from ray.exceptions import RayActorError
from ray.train import (
    ControllerError,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    UserCallback,
    WorkerGroupError,
)
from ray.train.torch import TorchConfig, TorchTrainer

from distill_jobs import checkpoint
from distill_jobs.loop import Run, train
from schemas.command import keeping_sigterm

_TRIES = 3  # of a group of workers that does not come up
_PLACING = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclasses.dataclass(frozen=True)
class Workers:
    """Ray Train's workers, each with a processor.

    Attributes:
        most: number of them.
        fewest: with which it goes on where there is no room for more; None for always `most`.
        gpu: give each a GPU.
    """

    most: int
    fewest: int | None
    gpu: bool

    def scaling(self) -> ScalingConfig:
        """What Ray Train is told; workers that may be lost are spread over the nodes."""
        number: Any = (self.fewest, self.most) if self.fewest else self.most
        return ScalingConfig(
            num_workers=number,
            use_gpu=self.gpu,
            resources_per_worker={"CPU": 1.0, **({"GPU": 1.0} if self.gpu else {})},
            placement_strategy="SPREAD" if self.fewest else "PACK",
        )


def train_with_ray(run: Run, workers: Workers) -> None:
    """Run the loop in workers, and again while that may help.

    Raises:
        Exception: what our code raised in a worker, at once.
        ConnectionError: if workers on several hosts look for each other on their own.
        TrainingFailedError: if the group of workers does not come up, or keeps dying before it
            gets any further.
    """
    if not ray.is_initialized():
        with keeping_sigterm():  # Ray would let it abort this process
            start_ray(workers.most)
    if workers.fewest:
        # How long Ray waits for room that is gone: it believes in a lost node for up to 20 s.
        os.environ.setdefault(_PLACING, "10")
    _say_if_it_waits(workers)
    tries = 0
    while True:
        before = _newest(run)
        try:
            _fit(_trainer(run, workers))
        except (TrainingFailedError, RayActorError) as failed:
            cause = failed.controller_failure if isinstance(failed, ControllerError) else failed
            if not may_pass(cause):
                raise cause from None
            _explain(cause)
            tries = 0 if _newest(run) != before else tries + 1
            # Workers that die have been started again by Ray already, three times.
            if tries == _TRIES or (tries and isinstance(failed, WorkerGroupError)):
                raise
            _say({"event": "training goes on", "after": str(cause).strip().splitlines()[-1]})
        else:
            return


def _trainer(run: Run, workers: Workers) -> TorchTrainer:
    passed_on = {name: os.environ[name] for name in _INTERFACES if name in os.environ}
    return TorchTrainer(
        functools.partial(_worker, run),
        scaling_config=workers.scaling(),
        torch_config=TorchConfig(backend="nccl" if workers.gpu else "gloo", timeout_s=300),
        # A fresh name each time: our own checkpoints say where to go on, and Ray's record of a
        # killed run may be damaged.
        run_config=RunConfig(
            name=f"attempt-{int(time.time() * 1000)}",
            storage_path=str(Path(run.folder) / "ray"),
            failure_config=FailureConfig(max_failures=3),
            callbacks=[_EndAtOnce()],  # type: ignore[list-item]
            worker_runtime_env={"env_vars": passed_on},
            logging_config=LoggingConfig(log_level="ERROR"),  # type: ignore[call-arg]
        ),
    )


def _fit(trainer: TorchTrainer) -> None:
    try:
        trainer.fit()
    except SystemExit:
        # When we are evicted: an elastic training's room is given back by Ray on SIGINT at once,
        # after 180 s otherwise, and whoever goes on with the training would wait for it.
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise


def _worker(run: Run) -> None:
    train(run, ray_train.report)


class _EndAtOnce(UserCallback):
    """Ray would start the workers again after an error of ours too, to meet it again."""

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        for error in worker_exceptions.values():
            if not may_pass(error):
                raise error


def may_pass(error: Exception) -> bool:
    """Whether the same may succeed another time: Ray or the network failed, not our code.

    A worker whose peer died has a RuntimeError of torch's, so not all errors of ours can be
    told: shapes that do not fit are tried again too.

    >>> may_pass(ValueError("a damaged part")), may_pass(RuntimeError("Connection closed by peer"))
    (False, True)
    """
    if isinstance(error, NotImplementedError | torch.OutOfMemoryError):
        return False
    rays = type(error).__module__.partition(".")[0] == "ray"
    return rays or isinstance(error, RuntimeError | ConnectionError | TimeoutError)


def _explain(error: Exception) -> None:
    """Say what is wrong where gloo took the address that a host has for itself only."""
    nodes: list[Any] = ray.nodes()  # type: ignore[no-untyped-call]
    hosts = {node["NodeManagerAddress"] for node in nodes if node["Alive"]}
    if len(hosts) > 1 and "connectFullMesh" in str(error) and "127.0.0.1" in str(error):
        raise ConnectionError(
            "workers on several hosts look for each other at 127.0.0.1, which each host's own name "
            "stands for; set GLOO_SOCKET_IFNAME (with GPUs NCCL_SOCKET_IFNAME) to the name of the "
            "network interface, such as eth0, for this command, or by `ray job submit "
            """--runtime-env-json '{"env_vars": {"GLOO_SOCKET_IFNAME": "eth0"}}'`"""
        ) from error


def _say_if_it_waits(workers: Workers) -> None:
    """Ray waits for room without a word."""
    needed, kind = workers.fewest or workers.most, "GPU" if workers.gpu else "CPU"
    room = ray.cluster_resources().get(kind, 0.0)  # type: ignore[no-untyped-call]
    if room < needed:
        _say({"event": "waiting for nodes", "wanted": f"{needed} {kind}", "there_are": room})


def _newest(run: Run) -> Path | None:
    return checkpoint.newest(Path(run.folder) / "checkpoints")[0]


def start_ray(workers: int) -> None:
    """Connect to the cluster that the environment names, or start one here.

    Args:
        workers: that it must have processors for.
    """
    if os.environ.get("RAY_ADDRESS"):
        ray.init()
        return
    # Not the cluster that somebody has left running here. The reader does not use the object store;
    # the default would take 30 % of the memory.
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=256 << 20,
        log_to_driver=True,
        num_cpus=max(workers, os.cpu_count() or 1),
    )


def _say(event: dict[str, object]) -> None:
    sys.stderr.write(json.dumps(event) + "\n")
