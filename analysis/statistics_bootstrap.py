"""Percentile intervals by resampling patients: all scans of a patient come and go together.

A statistic is a function of weights: how often each scan was drawn. So a resample copies nothing, thousands are one
array, and a chunk of them bounds the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.statistics import Comparison
from analysis.statistics_inputs import Floats, as_labels, as_patients, as_scores
from lake.errors import InputError

Statistic = Callable[[Floats], Floats]
"""Weights (resamples, scans) to values (resamples,); NaN where a resample cannot show it."""

CHUNK = 500_000  # weights at a time: 4 MB, and some 30 MB in all
SHOWN = 0.95  # least share of resamples that must show the statistic


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval. ``shown`` is the share of resamples that could show it."""

    value: float | None
    low: float | None
    high: float | None
    shown: float


def patient_bootstrap(
    statistic: Statistic, patients: npt.ArrayLike, *, seed: int | Sequence[int], resamples: int = 2000
) -> Interval:
    """The statistic of the scans as they are, and its percentile interval over resampled patients.

    There is no interval with fewer than two patients, or if more than one resample in twenty cannot show the statistic
    (no scan of a class, say): an interval of the others would answer another question.

    Args:
        statistic: see ``Statistic``.
        patients: (n,) whose scan each is.
        seed, resamples: of the bootstrap; the chunks do not change what is drawn.

    Raises:
        InputError: no scans, a scan without a patient, or no resamples.
    """
    if resamples < 1:
        raise InputError(f"{resamples} resamples; at least 1 is needed.")
    scans = np.size(patients)
    if not scans:
        raise InputError("There are no scans to resample.")
    patient = as_patients(patients, scans)
    count = int(patient.max()) + 1
    own = float(statistic(np.ones((1, scans)))[0])
    value = own if np.isfinite(own) else None
    if count < 2 or value is None:
        return Interval(value, None, None, 0.0)
    stream, found, chunk = np.random.default_rng(seed), [], max(1, CHUNK // scans)
    for start in range(0, resamples, chunk):
        drawn = stream.multinomial(count, np.full(count, 1 / count), min(chunk, resamples - start))
        found.append(statistic(drawn.astype(np.float64)[:, patient]))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    shown = len(values) / resamples
    if shown < SHOWN:
        return Interval(value, None, None, shown)
    low, high = np.percentile(values, (2.5, 97.5))
    return Interval(value, float(low), float(high), shown)


def weighted_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> Statistic:
    """AUC as a statistic: the weighted share of pairs in the right order, ties half; NaN with one class.

    Args:
        labels: (n,) bool, or 0 and 1. scores: (n,).

    Raises:
        InputError: shapes that do not fit, or a missing prediction.
    """
    truth = as_labels(labels)
    given = as_scores(scores, len(truth))
    order = np.argsort(given, kind="stable")
    truth, given = truth[order], given[order]
    ties = np.flatnonzero(np.r_[True, given[1:] != given[:-1]])

    def statistic(weights: Floats) -> Floats:
        rising = weights[:, order]
        positive = np.add.reduceat(rising * truth, ties, axis=1)
        negative = np.add.reduceat(rising * ~truth, ties, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(1) * negative.sum(1)
        right = np.einsum("rg,rg->r", positive, below)
        return np.divide(right, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)

    return statistic


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
    return Comparison("patient bootstrap", a, b, found.value, found.low, found.high, None, None, units)
