"""How sensitive each array is to few bits -> the smallest storage whose vectors are near enough.

Q-BERT asks the Hessian's eigenvalues where bits matter. Here the student says it itself: for each
array alone, at every number of bits and size of group, how much the sentence vectors turn.
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np

from distill_jobs.compress.packed_graph import Plan, Storage
from distill_jobs.compress.packing import pack
from schemas.weights import Floats

CHOICES = tuple(Storage(bits, group) for bits, group in itertools.product((2, 4, 8), (32, 64, 128)))
_HALVINGS = 7  # of the interval in which the allowed loss is sought: 1 % of it is left

Options = Mapping[str, Mapping[Storage, tuple[int, float]]]
"""For each array and storage: bytes, and what is lost, 1 - cosine, with that array alone so."""


def measure_options(
    arrays: Mapping[str, Floats], cosine_of: Callable[[Plan], float]
) -> dict[str, dict[Storage, tuple[int, float]]]:
    """Measure every array alone in every storage.

    Args:
        arrays: by the names of the graph's constants.
        cosine_of: mean cosine to the student's own vectors under a plan.
    """
    return {
        name: {
            one: (pack(value, *one).size, max(0.0, 1 - cosine_of({name: one}))) for one in CHOICES
        }
        for name, value in arrays.items()
    }


def cheapest(options: Options, allowed: float) -> dict[str, Storage]:
    """The smallest storage whose losses, taken to add up, are within what is allowed.

    From the best storage of every array, the step that saves most bytes for what it loses is taken
    again and again; steps that no longer fit are left out.

    >>> one, two = Storage(8), Storage(4)
    >>> both = {one: (100, 0.0), two: (50, 0.1)}
    >>> cheapest({"a": both, "b": {one: (10, 0.0), two: (5, 0.1)}}, 0.15)
    {'a': Storage(bits=4, group=64), 'b': Storage(bits=8, group=64)}
    """
    chosen = {name: min(own, key=lambda one: own[one][1]) for name, own in options.items()}
    lost = sum(options[name][one][1] for name, one in chosen.items())
    while True:
        steps = []
        for name, now in chosen.items():
            size, loss = options[name][now]
            for one, (smaller, more) in options[name].items():
                if smaller < size and lost + more - loss <= allowed:
                    steps.append(((size - smaller) / max(more - loss, 1e-12), name, one))
        if not steps:
            return chosen
        _, name, best = max(steps)
        lost += options[name][best][1] - options[name][chosen[name]][1]
        chosen[name] = best


def smallest(
    options: Options, least_cosine: float, cosine_of: Callable[[Plan], float]
) -> dict[str, Storage]:
    """The smallest plan found whose vectors, measured with all arrays at once, are near enough.

    Losses do not quite add up, so the allowed sum is sought by halving.

    Raises:
        ValueError: if even the best storage of every array is too far.
    """
    found = cheapest(options, 0.0)
    best = cosine_of(found)
    if best < least_cosine:
        raise ValueError(
            f"no storage in 8 bits or fewer has a cosine of {least_cosine}, the best {best:.6f}; "
            "take --bits 16"
        )
    low, high = 0.0, 4 * (1 - least_cosine)
    for _ in range(_HALVINGS):
        allowed = (low + high) / 2
        plan = cheapest(options, allowed)
        if cosine_of(plan) >= least_cosine:
            low = allowed
            if _size(options, plan) < _size(options, found):
                found = plan
        else:
            high = allowed
    return found


def _size(options: Options, plan: Plan) -> int:
    return int(np.sum([options[name][one][0] for name, one in plan.items()]))
