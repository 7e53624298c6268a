"""Labelled rows, and perhaps soft ones -> a network of the best epoch by the dev rows.

Array letters: N rows, B of a batch, C classes.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch

from distill_jobs.evaluation import metrics
from distill_jobs.loop import schedule
from distill_jobs.tuning import losses
from distill_jobs.tuning.examples import Batch, Examples, in_order, passes
from distill_jobs.tuning.network import Tuned
from distill_jobs.tuning.teacher_head import fit_head

LEAST_STEPS = 25  # of an epoch: with 100 labels a pass is 4 steps
# Learning rates of random weights: with 0.001 for both they do worse than they can (2026-11-21).
FROM_SCRATCH, RANDOM_HEAD = 3e-3, 1e-2
PATIENCE = 3  # epochs without a better dev score before a training ends


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the rows, each of at least `LEAST_STEPS` steps.
        batch_size: labelled rows in a step.
        soft_batch_size: soft rows in a step.
        learning_rate: peak, of AdamW, for the student.
        head_learning_rate: of the head.
        seed: of the order of rows and of the head.
        kd: a name of `losses.SOFT`.
        temperature: of the soft labels.
        alpha: weight of the hard labels where there are soft ones, which weigh 1 - alpha.
    """

    epochs: int = 10
    batch_size: int = 32
    soft_batch_size: int = 128
    learning_rate: float = 1e-3
    head_learning_rate: float = 1e-3
    seed: int = 0
    kd: str = "kl"
    temperature: float = 2.0
    alpha: float = 0.5


@dataclasses.dataclass(frozen=True)
class Fitted:
    """How a training went.

    Attributes:
        epoch: the best, whose weights are kept; 0 for the weights before any step.
        epochs: done until it stopped.
        steps: of the optimizer.
        dev: score of the best epoch.
    """

    epoch: int
    epochs: int
    steps: int
    dev: float


def fit(
    network: Tuned, train: Examples, dev: Examples, recipe: Recipe, soft: Examples | None = None
) -> Fitted:
    """Train a network in place; it ends with the weights of its best epoch.

    Args:
        network: on any device.
        train: with hard labels.
        dev: what decides which epoch is best: by the score, and of equals by the loss.
        recipe: how.
        soft: with the teacher's logits [N, C] for targets; of pairs also its scores [N, 1].

    Raises:
        ValueError: if the training runs away.
    """
    learned = [one for one in network.parameters() if one.requires_grad]
    optimizer = _optimizer(network, recipe)
    sizes = [(train, recipe.batch_size)] + ([(soft, recipe.soft_batch_size)] if soft else [])
    per_epoch = max(LEAST_STEPS, *(-(-len(rows) // size) for rows, size in sizes))
    total = per_epoch * recipe.epochs
    best, kept, at = _reached(network, dev), _copy(network), 0
    steps = _losses(network, train, soft, recipe)
    for step in range(total):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(step, total)
        optimizer.zero_grad(set_to_none=True)
        network.train()
        next(steps).backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        epoch, rest = divmod(step + 1, per_epoch)
        if rest:
            continue
        reached = _reached(network, dev)
        if reached > best:
            best, kept, at = reached, _copy(network), epoch
        if epoch - at >= PATIENCE:
            break
    network.load_state_dict(kept)
    return Fitted(at, epoch, step + 1, round(best[0], 6))


def warm_head(network: Tuned, train: Examples) -> None:
    """Begin with the logistic head of the student's vectors as they are, and not with a random one.

    A random head pulls the vectors about before it knows anything: with it tuned students were
    worse than frozen ones (linear probing then fine-tuning, Kumar et al. 2022, arXiv 2202.10054).
    """
    features_NF = predict(network, train, network.read).numpy()
    outputs = network.head.linear.out_features
    head = fit_head(features_NF, train.targets.numpy(), [str(one) for one in range(outputs)])
    with torch.no_grad():
        network.head.linear.weight.copy_(torch.from_numpy(head.weights_CF))
        network.head.linear.bias.copy_(torch.from_numpy(head.bias_C))


def _reached(network: Tuned, dev: Examples) -> tuple[float, float]:
    """How good a network is: its score, and the loss for equals.

    Raises:
        ValueError: if it gives a number that is not finite: such a network is never kept.
    """
    found_NC = predict(network, dev)
    if not torch.isfinite(found_NC).all():
        raise ValueError("the training ran away to NaN or infinity: try a lower --learning-rate")
    return _score(found_NC, dev), -float(losses.hard(found_NC, dev.targets))


def _copy(network: Tuned) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _optimizer(network: Tuned, recipe: Recipe) -> torch.optim.Optimizer:
    student = [one for one in network.student.parameters() if one.requires_grad]
    groups = [
        {"params": list(network.head.parameters()), "peak": recipe.head_learning_rate},
        *([{"params": student, "peak": recipe.learning_rate}] if student else []),
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=0.01)


def _losses(
    network: Tuned, train: Examples, soft: Examples | None, recipe: Recipe
) -> Iterator[torch.Tensor]:
    """The loss of step after step, without end."""
    device = network.student.offset.device
    labelled = passes(train, recipe.batch_size, recipe.seed)
    unlabelled = passes(soft, recipe.soft_batch_size, recipe.seed + 1) if soft else None
    for batch in labelled:
        told = _hard(network, batch.to(device))
        if unlabelled is None:
            yield told
            continue
        other = next(unlabelled).to(device)
        found = network(other) if other.targets.shape[1] > 1 else losses.score(network(other))
        taught = losses.SOFT[recipe.kd](found, other.targets, recipe.temperature)
        yield recipe.alpha * told + (1 - recipe.alpha) * taught


def _hard(network: Tuned, batch: Batch) -> torch.Tensor:
    return losses.hard(network(batch), batch.targets)


@torch.no_grad()
def predict(
    network: Tuned, examples: Examples, read: Callable[[Batch], torch.Tensor] | None = None
) -> torch.Tensor:
    """Logits [N, C] of all rows, in their order, on the CPU; or what `read` gives of a batch."""
    network.eval()
    device = network.student.offset.device
    found_NC: torch.Tensor | None = None
    for rows, batch in in_order(examples):
        logits_BC = (read or network)(batch.to(device)).cpu()
        if found_NC is None:
            found_NC = torch.empty(len(examples), logits_BC.shape[1])
        found_NC[rows] = logits_BC
    assert found_NC is not None
    return found_NC


def _score(found_NC: torch.Tensor, examples: Examples) -> float:
    """What dev rows are judged by: accuracy, or of scores Spearman's correlation."""
    if examples.targets.is_floating_point():
        return scores(found_NC, examples)["spearman"]
    return float((found_NC.argmax(dim=1) == examples.targets).double().mean())


def scores(found_NC: torch.Tensor, examples: Examples) -> dict[str, float]:
    """Accuracy; of pairs also the area under the curve; of graded pairs Spearman's correlation."""
    once_1N = np.ones((1, len(examples)))
    targets_N = examples.targets.numpy()
    if examples.targets.is_floating_point():
        values_N = found_NC[:, 0].double().numpy()
        return {"spearman": float(metrics.spearman(values_N, targets_N.astype(float), once_1N)[0])}
    found = {"accuracy": _score(found_NC, examples)}
    if len(examples.sides) == 2:
        margin_N = (found_NC[:, 1] - found_NC[:, 0]).double().numpy()
        found["auc"] = float(metrics.auc(margin_N, targets_N == 1, once_1N)[0])
    return found
