"""Stored teacher vectors of labelled rows -> the task's teacher: a multinomial logistic head.

Array letters: N rows, F features, C classes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from schemas.weights import Floats

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# C of the penalty. Of 0.0003 to 0.3, best on average over tnews, waimai and lcqmc with 100, 1,000
# and 3,000 labels; 0.1 loses 6 points on tnews with 1,000, and 4 on lcqmc (2026-11-21).
STRENGTH = 0.003


@dataclasses.dataclass(frozen=True)
class LogisticHead:
    """Holds a linear layer from vectors as they are stored to logits.

    Attributes:
        weights_CF: a row for each class.
        bias_C: logits of the zero vector.
        classes: their names.
    """

    weights_CF: Doubles
    bias_C: Doubles
    classes: tuple[str, ...]

    def logits(self, features_NF: Floats) -> Floats:
        """Raw scores [N, C] before any softmax or temperature; their mean over the classes is 0."""
        found_NC: Floats = (features_NF @ self.weights_CF.T + self.bias_C).astype(np.float32)
        return found_NC

    def digest(self) -> str:
        """Names the head by its numbers and classes."""
        content = self.weights_CF.tobytes() + self.bias_C.tobytes()
        names = json.dumps(self.classes, ensure_ascii=False).encode()
        return hashlib.blake2b(content + names, digest_size=8).hexdigest()


def fit_head(features_NF: Floats, labels_N: Integers, classes: Sequence[str]) -> LogisticHead:
    """Fit a multinomial logistic regression on standardised features.

    The bias is penalised as the weights are. So there is one best head, classes without a row get
    low logits and not infinitely low ones, and logits have a mean of 0 over the classes, which the
    soft objectives ask for.

    Args:
        features_NF: of labelled rows.
        labels_N: class numbers.
        classes: their names; some may have no row.

    Raises:
        ValueError: if the rows have one class only.

    >>> head = fit_head(np.float32([[0], [1], [2], [3]]), np.array([0, 0, 1, 1]), ("冷", "热"))
    >>> head.logits(np.float32([[1.5], [9]])).argmax(axis=1).tolist()
    [0, 1]
    """
    if len(np.unique(labels_N)) < 2:
        raise ValueError(f"a head needs rows of at least 2 classes, got {len(labels_N)} of one")
    mean_F = features_NF.mean(axis=0, dtype=np.float64)
    deviation_F = np.maximum(features_NF.std(axis=0, dtype=np.float64), 1e-6)
    scaled_NF = (features_NF - mean_F) / deviation_F
    inputs_NG = np.hstack([scaled_NF, np.ones((len(scaled_NF), 1))])
    wanted_NC = np.eye(len(classes))[labels_N]
    found = minimize(
        _cost,
        np.zeros(inputs_NG.shape[1] * len(classes)),
        (inputs_NG, wanted_NC),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 500, "ftol": 1e-10, "gtol": 1e-4},
    )
    weights_CG = found.x.reshape(len(classes), -1)
    weights_CG -= weights_CG.mean(axis=0)  # 0 but for rounding: the penalty has it so
    weights_CF = weights_CG[:, :-1] / deviation_F
    return LogisticHead(weights_CF, weights_CG[:, -1] - weights_CF @ mean_F, tuple(classes))


def _cost(flat: Doubles, inputs_NG: Doubles, wanted_NC: Doubles) -> tuple[float, Doubles]:
    """Cross entropy in nats plus the penalty, summed over rows, and its gradient."""
    weights_CG = flat.reshape(wanted_NC.shape[1], -1)
    logits_NC = inputs_NG @ weights_CG.T
    logits_NC -= logits_NC.max(axis=1, keepdims=True)
    logits_NC -= np.log(np.exp(logits_NC).sum(axis=1, keepdims=True))
    penalty = (flat**2).sum() / (2 * STRENGTH)
    slope_CG = (np.exp(logits_NC) - wanted_NC).T @ inputs_NG + weights_CG / STRENGTH
    return float(penalty - (wanted_NC * logits_NC).sum()), slope_CG.ravel()


def pair_features(one_NH: Floats, other_NH: Floats) -> Floats:
    """What a head reads of two vectors: `distill_jobs.tuning.network.features`, in NumPy."""
    apart_NH = np.abs(one_NH - other_NH)
    found_NF: Floats = np.hstack([one_NH, other_NH, one_NH * other_NH, apart_NH])
    return found_NF
