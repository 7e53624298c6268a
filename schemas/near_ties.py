"""Pairs of characters that jieba and jieba-rs may read differently, because both readings tie.

Inside a run of single characters both use the same hidden Markov model, but jieba-rs rounds its
probabilities. Where "one word" and "two words" are within the rounding of each other, the two
libraries can choose differently: 常在 before another character is 1.5e-7 apart, and was cut
differently on 5 of 3.28 million real lines. The largest gap that was seen to flip is 5.5e-7.

States of the model: B begins a word, E ends it, S stands alone.
"""

import numpy as np
import numpy.typing as npt
from jieba.finalseg import emit_P, start_P, trans_P

WITHIN = 2e-6  # nats


def near_ties(within: float = WITHIN) -> list[str]:
    """All pairs whose readings BE and SS differ by less than `within`, whatever stands around them.

    >>> "常在" in near_ties()
    True
    """
    firsts, left = _gains("B")
    seconds, right = _gains("E")
    order = np.argsort(right)
    found: set[str] = set()
    for context in _contexts():
        low = np.searchsorted(right[order], -left - context - within)
        high = np.searchsorted(right[order], -left - context + within)
        for first in np.flatnonzero(high > low):
            found |= {firsts[first] + seconds[i] for i in order[low[first] : high[first]]}
    return sorted(found)


def _gains(state: str) -> tuple[list[str], npt.NDArray[np.float64]]:
    """Characters that can be in a state and stand alone, and by how much the state is likelier."""
    characters = sorted(emit_P[state].keys() & emit_P["S"].keys())
    gains = [emit_P[state][one] - emit_P["S"][one] for one in characters]
    return characters, np.array(gains)


def _contexts() -> list[float]:
    """What neighbours add to BE over SS: the start, E or S before; the end, B or S after."""
    inner = trans_P["B"]["E"] - trans_P["S"]["S"]
    before = [table["B"] - table["S"] for table in (start_P, trans_P["E"], trans_P["S"])]
    after = [0.0, *(trans_P["E"][then] - trans_P["S"][then] for then in "BS")]
    return [one + inner + other for one in before for other in after]
