"""ray_workers.py without a cluster: what Ray is told, what is tried again and what is not."""

import pytest
import ray
from ray.exceptions import ActorDiedError
from ray.train import ControllerError, WorkerGroupError

from distill_jobs import ray_workers
from distill_jobs.preflight import preflight
from distill_jobs.ray_workers import Workers, _explain, _trainer, train_with_ray
from distill_jobs.train import TrainConfig
from tests.vector_store import make_store


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    store = str(make_store(folder / "store"))
    config = TrainConfig(store=store, out=folder / "out", embedding=8, validation_rows=60)
    return preflight(config)[0]


def test_elastic_workers_are_spread_and_fixed_ones_are_not():
    elastic, fixed = Workers(4, 1, gpu=False).scaling(), Workers(2, None, gpu=True).scaling()
    assert (elastic.num_workers, elastic.placement_strategy) == ((1, 4), "SPREAD")
    assert (fixed.num_workers, fixed.placement_strategy) == (2, "PACK")
    assert fixed.resources_per_worker == {"CPU": 1.0, "GPU": 1.0}


def test_the_network_interface_is_passed_on_to_the_workers(run, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    monkeypatch.delenv("NCCL_SOCKET_IFNAME", raising=False)
    trainer = _trainer(run, Workers(2, None, gpu=False))
    wanted = {"env_vars": {"GLOO_SOCKET_IFNAME": "eth7"}}
    assert trainer.run_config.worker_runtime_env == wanted


def test_workers_that_look_for_each_other_on_their_own_hosts_are_told_what_to_set(monkeypatch):
    # As it was with two network namespaces (ray 2.60, torch 2.13).
    error = RuntimeError(
        "Gloo connectFullMesh failed with [pair.cc:152] timed out connecting: SO_ERROR: "
        "Connection refused, remote=[127.0.0.1]:31627$0"
    )
    hosts = ["10.79.0.1", "10.79.0.2"]
    nodes = [{"Alive": True, "NodeManagerAddress": host} for host in hosts]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    with pytest.raises(ConnectionError, match="set GLOO_SOCKET_IFNAME"):
        _explain(error)
    _explain(RuntimeError("Connection closed by peer [10.79.0.2]:31627"))
    nodes[1]["Alive"] = False
    _explain(error)


LOST = WorkerGroupError("a node died", {1: ActorDiedError()})
NO_GROUP = ControllerError(RuntimeError("Gloo connectFullMesh failed"))


@pytest.fixture
def fits(run, monkeypatch):
    """Function (ends, checkpoints) -> number of fits, each of which ends so; None is well."""

    def train(ends, checkpoints=()):
        left, steps, done = list(ends), list(checkpoints), []

        class Trainer:
            def fit(self):
                done.append(1)
                if (end := left.pop(0)) is not None:
                    raise end

        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
        monkeypatch.setattr(ray, "nodes", list)
        monkeypatch.setattr(ray_workers, "_trainer", lambda run, workers: Trainer())
        monkeypatch.setattr(ray_workers, "_newest", lambda run: steps.pop(0) if steps else None)
        try:
            train_with_ray(run, Workers(2, None, gpu=False))
        finally:
            train.number = len(done)
        return len(done)

    return train


def test_a_group_that_does_not_come_up_is_tried_three_times(fits):
    assert fits([NO_GROUP, NO_GROUP, None]) == 3
    with pytest.raises(ControllerError):
        fits([NO_GROUP] * 9)
    assert fits.number == 3


def test_a_lost_controller_is_tried_again(fits):
    assert fits([ActorDiedError(), None]) == 2


def test_workers_that_keep_dying_are_tried_again_only_if_they_got_further(fits):
    with pytest.raises(WorkerGroupError):
        fits([LOST, None])
    assert fits.number == 1
    # The newest checkpoint before and after each fit.
    assert fits([LOST, LOST, None], [None, "step-1", "step-1", "step-2"]) == 3


def test_an_error_of_our_code_ends_at_once_as_what_it_is(fits):
    with pytest.raises(ValueError, match="a damaged part"):
        fits([ControllerError(ValueError("a damaged part")), None])
    assert fits.number == 1
