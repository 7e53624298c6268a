"""Bootstrap samples -> a number with its interval, and a plain word for a difference.

The samples of every model are of the same rows (`metrics.resample`), so a difference is paired.
Array letters: R bootstrap samples, with the value on the rows as they are in front.
"""

import dataclasses

from distill_jobs.evaluation.metrics import Doubles, interval


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number and where 95 % of its bootstrap samples lie."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Difference(Estimate):
    """How much higher one model is than another."""

    @property
    def verdict(self) -> str:
        """Whether the interval leaves 0 out, and on which side.

        >>> Difference(-0.02, -0.03, -0.01).verdict, Difference(0.01, -0.01, 0.03).verdict
        ('worse', 'no difference shown')
        """
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no difference shown"


def estimate(samples_R: Doubles) -> Estimate:
    """The value in front, and the interval of the samples behind it."""
    return Estimate(float(samples_R[0]), *interval(samples_R[1:]))


def difference(samples_R: Doubles, other_R: Doubles) -> Difference:
    """The difference in each sample (paired bootstrap: Efron & Tibshirani 1993, Koehn 2004).

    Rows that are hard for both models then do not blur it.

    >>> import numpy as np
    >>> difference(np.array([0.5, 0.4, 0.6]), np.array([0.3, 0.2, 0.4])).verdict
    'better'
    """
    apart_R = samples_R - other_R
    return Difference(float(apart_R[0]), *interval(apart_R[1:]))
