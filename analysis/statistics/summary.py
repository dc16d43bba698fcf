"""Statistics over folds: mean ± SEM, the study's rank-sum test, the corrected resampled t test, Holm's correction.

A fold that could not show a metric is None (NaN is taken as None) and is left out. What the figures cannot tell is
None as well, by the rule each function states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError
from gliolake.modeling.data.validation import Floats, as_labels, as_scores
from gliolake.modeling.evaluation.bootstrap import patient_bootstrap, weighted_auc
from gliolake.modeling.evaluation.scores import corrected_error

NO_SPREAD = 1e-12  # a standard error below this is rounding: nothing varied


@dataclass(frozen=True)
class MeanSem:
    """Mean of folds, its standard error as the study prints it (SD / √folds, as if independent), how many they are."""

    mean: float | None
    sem: float | None
    folds: int

    def __str__(self) -> str:
        mean, sem = ("–" if value is None else f"{value:.3f}" for value in (self.mean, self.sem))
        return f"{mean} ± {sem}"


@dataclass(frozen=True)
class Comparison:
    """Two models compared, as a row.

    Attributes:
        test: Its name.
        first, second: What was compared, each model's mean or AUC.
        difference: First less second; ci_low, ci_high: 95 % interval of it, None where the test gives none.
        statistic, p: Of the test, two-sided; None where it cannot be computed.
        units: How many folds or patients it rests on.
    """

    test: str
    first: float | None
    second: float | None
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    statistic: float | None
    p: float | None
    units: int


def mean_sem(values: Sequence[float | None]) -> MeanSem:
    """Mean ± SEM over folds. No mean without a fold, no SEM with fewer than two.

    Raises:
        InputError: a value is infinite, or they are no single column.
    """
    known = _known(values)
    k = len(known)
    return MeanSem(float(known.mean()) if k else None, float(known.std(ddof=1)) / k**0.5 if k > 1 else None, k)


def rank_sum(first: Sequence[float | None], second: Sequence[float | None]) -> Comparison:
    """Wilcoxon's rank-sum test, two-sided, as the study used it.

    It takes folds as independent, which those of a repeated cross-validation are not: its p is too small, and is there
    to stand beside the study's. Exact where a side has eight values or fewer and none are tied, else normal with
    corrections for ties and continuity (scipy's ``mannwhitneyu``); ``statistic`` is U of the first side. p is 1
    where all values are equal and None where a side has none.

    Raises:
        InputError: a value is infinite, or they are no single column.
    """
    from scipy.stats import mannwhitneyu

    a, b = _known(first), _known(second)
    one, other, units = mean_sem(first).mean, mean_sem(second).mean, len(a) + len(b)
    if one is None or other is None:
        return Comparison("rank-sum", one, other, None, None, None, None, None, units)
    found = mannwhitneyu(a, b)
    u, p = float(found.statistic), float(found.pvalue)
    return Comparison("rank-sum", one, other, one - other, None, None, u, p, units)


def corrected_t_test(
    first: Sequence[float | None], second: Sequence[float | None], tested: float, trained: float
) -> Comparison:
    """The corrected resampled t-test of two models on the same folds (see
    ``gliolake.modeling.evaluation.scores.corrected_error``).

    Pairs with a missing side are left out; with fewer than two pairs there is no test. See ``compared`` for
    differences that do not vary.

    Args:
        first, second: the metric of each fold, in the same order.
        tested, trained: mean number of scans in a test part and in a training part.

    Raises:
        InputError: sides of unequal length, an infinite value, or a part without scans.
    """
    from scipy.stats import t

    a, b = _column(first), _column(second)
    if len(a) != len(b):
        raise InputError(f"{len(a)} folds of one model and {len(b)} of the other.", hint="Pair them fold by fold.")
    if not (tested > 0 and trained > 0):
        raise InputError(f"{tested:g} scans tested and {trained:g} trained on; both must be above 0.")
    both = np.isfinite(a) & np.isfinite(b)
    a, b, k = a[both], b[both], int(both.sum())
    if not k:
        return Comparison("corrected t", None, None, None, None, None, None, None, 0)
    error = corrected_error(float((a - b).std(ddof=1)), k, tested, trained) if k > 1 else None
    return compared("corrected t", float(a.mean()), float(b.mean()), error, law=t(max(k - 1, 1)), units=k)


def compared(test: str, first: float, second: float, error: float | None, *, law: Any, units: int) -> Comparison:
    """A two-sided test of ``first - second`` against 0, with a 95 % interval kept within −1 to 1.

    Args:
        test, first, second, units: as in ``Comparison``.
        error: standard error of the difference. None: unknown, so there is no interval and no p.
        law: a frozen distribution of scipy, symmetric around 0, that difference / error follows if nothing differs.

    Returns:
        The comparison. If the error is 0, so that nothing varied: interval 0 to 0 and p = 1 for equal models; neither
        for models that differ, as their difference was then seen without any spread to judge it by.
    """
    difference = first - second
    if error is not None and error > NO_SPREAD:
        half, statistic = float(law.ppf(0.975)) * error, difference / error
        low, high = max(-1.0, difference - half), min(1.0, difference + half)
        return Comparison(
            test, first, second, difference, low, high, statistic, 2 * float(law.sf(abs(statistic))), units
        )
    if error is not None and abs(difference) <= NO_SPREAD:
        return Comparison(test, first, second, 0.0, 0.0, 0.0, None, 1.0, units)
    return Comparison(test, first, second, difference, None, None, None, None, units)


def auc_difference(
    labels: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, patients: npt.ArrayLike,
    *, seed: int | Sequence[int], resamples: int = 2000,
) -> Comparison:  # fmt: skip
    """Difference of two models' AUCs on the same scans, both scored on the same resamples of patients.

    It has no statistic and no p, and with one class only nothing but None; ``units`` are patients.

    Raises:
        InputError: shapes that do not fit, a missing prediction, or a scan without a patient.
    """
    one, other = weighted_auc(labels, first), weighted_auc(labels, second)
    found = patient_bootstrap(lambda w: one(w) - other(w), patients, seed=seed, resamples=resamples)
    everything = np.ones((1, np.size(labels)))
    a, b = (None if found.value is None else float(auc(everything)[0]) for auc in (one, other))
    units = len(np.unique(np.asarray(patients)))
    return Comparison("patient bootstrap", a, b, found.value, found.ci_low, found.ci_high, None, None, units)


def unpaired_auc_difference(
    labels: npt.ArrayLike, scores: npt.ArrayLike, patients: npt.ArrayLike, of_first: npt.ArrayLike,
    *, seed: int | Sequence[int], resamples: int = 2000,
) -> Comparison:  # fmt: skip
    """Difference of the AUCs of two groups of scans, all patients being resampled together.

    A group's size varies from resample to resample as it would from study to study. As ``auc_difference`` otherwise.

    Args:
        labels, scores, patients: (n,) of the scans of both groups.
        of_first: (n,) bool: the scans of the first group.
        seed, resamples: of the bootstrap.

    Raises:
        InputError: shapes that do not fit, a missing prediction, a scan without a patient, or an empty group.
    """
    truth = as_labels(labels)
    given, inside = as_scores(scores, len(truth)), np.asarray(of_first, np.bool_)
    one, other = (weighted_auc(truth[group], given[group]) for group in (inside, ~inside))
    found = patient_bootstrap(
        lambda w: one(w[:, inside]) - other(w[:, ~inside]), patients, seed=seed, resamples=resamples
    )
    a, b = (
        None if found.value is None else float(auc(np.ones((1, int(group.sum()))))[0])
        for auc, group in ((one, inside), (other, ~inside))
    )
    units = len(np.unique(np.asarray(patients)))
    return Comparison("patient bootstrap", a, b, found.value, found.ci_low, found.ci_high, None, None, units)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values of one family, corrected after Holm (1979), in their order: reject where one is at most the level.

    A comparison without a p (None, NaN) keeps None and does not count as one of the family.

    Raises:
        InputError: a p outside 0 to 1.
    """
    p = _column(p_values)
    known = np.flatnonzero(np.isfinite(p))
    if len(known) and (p[known].min() < 0 or p[known].max() > 1):
        raise InputError(f"p values from {p[known].min():g} to {p[known].max():g}; expected 0 to 1.")
    rising = known[np.argsort(p[known], kind="stable")]
    left = len(known) - np.arange(len(known))
    corrected = np.minimum(np.maximum.accumulate(p[rising] * left), 1.0)
    of = dict(zip(rising.tolist(), corrected.tolist(), strict=True))
    return [of.get(i) for i in range(len(p))]


def _column(values: Sequence[float | None]) -> Floats:
    """Values as float64 (n,), NaN where there is none."""
    column = np.array(values, np.float64)  # None becomes NaN
    if column.ndim != 1 or np.isinf(column).any():
        raise InputError("Values of folds must be one column of finite numbers.")
    return column


def _known(values: Sequence[float | None]) -> Floats:
    column = _column(values)
    return column[np.isfinite(column)]
