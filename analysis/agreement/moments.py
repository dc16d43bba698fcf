"""Concordance of many features at once, from moments that can be added up, and its interval by a jackknife.

The coefficient of all scans follows from the sum of the moments of groups of patients, and how sure it is from the sums
that leave one group out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

NEAREST_ONE = 1 - 2.0**-53
"""Fisher's z of 1 is infinite; that of the largest number below it is 18.7."""


@dataclass(frozen=True)
class Moments:
    """What is kept of n pairs of vectors, all in double precision.

    Attributes:
        n: number of pairs, at least 1.
        mean: (2, features) of the first and of the second vectors.
        spread: (3, features) sums over pairs: squared deviation of the first from its mean, of the second, and the
            product of the two.
    """

    n: int
    mean: Array
    spread: Array

    @classmethod
    def of(cls, first: npt.ArrayLike, second: npt.ArrayLike) -> Moments:
        """Of pairs of vectors, (n, features) each. Deviations are from the mean: an offset costs no digits."""
        x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)
        mean = np.stack([x.mean(axis=0), y.mean(axis=0)])
        x, y = x - mean[0], y - mean[1]
        return cls(len(x), mean, np.stack([np.einsum("nf,nf->f", a, b) for a, b in ((x, x), (y, y), (x, y))]))

    def __add__(self, other: Moments) -> Moments:
        """Of both together (Chan, Golub, LeVeque 1983, The American Statistician 37:242-247)."""
        n = self.n + other.n
        apart = other.mean - self.mean
        between = np.stack([apart[0] ** 2, apart[1] ** 2, apart[0] * apart[1]]) * (self.n * other.n / n)
        return Moments(n, self.mean + apart * (other.n / n), self.spread + other.spread + between)

    def concordance(self) -> Array:
        """Lin's coefficient of each feature, (features,), as ``gliolake.concordance.concordance`` defines it."""
        apart = self.spread[0] + self.spread[1] + self.n * (self.mean[0] - self.mean[1]) ** 2
        return np.divide(2 * self.spread[2], apart, out=np.full(apart.shape, np.nan), where=apart > 0)


def jackknifed(groups: Sequence[Moments]) -> tuple[Array, Array]:
    """The coefficients of all groups together, (features,), and of all but one of them each, (groups, features).

    Moments are added up, not subtracted from the whole, of which a group with an outlier may be nearly all. Of a single
    group nothing can be left out: the second array has no row.
    """
    before = list(accumulate(groups, add))
    after = list(accumulate(reversed(groups), add))[::-1]
    whole = before[-1].concordance()
    if len(groups) < 2:
        return whole, np.empty((0, len(whole)))
    without = [after[1], *(one + other for one, other in zip(before, after[2:], strict=False)), before[-2]]
    return whole, np.array([moments.concordance() for moments in without])


def interval(whole: Array, without: Array, patients: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """95 % interval of coefficients, or of means of them, by a jackknife over groups of patients.

    Fisher's z is taken as normal, with the variance of the jackknife that leaves out groups of unequal size (Busing,
    Meijer, van der Leeden 1999, Statistics and Computing 9:3-8); the quantile is Student's t with a degree of freedom
    less than there are groups.

    Args:
        whole: (k,) coefficients of everybody.
        without: (groups, k) of all but one group each.
        patients: (groups,) how many are in each.

    Returns:
        Both ends, (k,) each; NaN where there are fewer than two groups, or a coefficient is missing.
    """
    from scipy.special import stdtrit

    number = len(without)
    if number < 2:
        return np.full(whole.shape, np.nan), np.full(whole.shape, np.nan)
    z, z_without = (np.arctanh(np.clip(value, -NEAREST_ONE, NEAREST_ONE)) for value in (whole, without))
    times = (patients.sum() / patients)[:, None]
    pseudo = times * z - (times - 1) * z_without
    centre = number * z - ((1 - 1 / times) * z_without).sum(axis=0)
    half = stdtrit(number - 1, 0.975) * np.sqrt(((pseudo - centre) ** 2 / (times - 1)).mean(axis=0))
    return np.minimum(np.tanh(z - half), whole), np.maximum(np.tanh(z + half), whole)


def mean_known(values: Array) -> Array:
    """Mean along the last axis over what is not NaN; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
