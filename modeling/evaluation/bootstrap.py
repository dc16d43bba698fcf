"""Percentile intervals by a bootstrap over patients: the scans of a patient are drawn together.

A statistic is a function of weights: how often each scan was drawn. So a resample copies nothing, thousands are one
array, and a chunk of them bounds the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError
from gliolake.modeling.data.validation import Floats, as_labels, as_patients, as_scores

Statistic = Callable[[Floats], Floats]
"""Weights (resamples, scans) to values (resamples,); NaN where a resample cannot show it."""

CHUNK = 500_000  # weights at a time: 4 MB, and some 30 MB in all
THRESHOLD = 0.5
"""Probability from which on a scan is called methylated."""

SHOWN = 0.95  # least share of resamples that must show the statistic


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval. ``shown`` is the share of resamples that could show it."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
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


def weighted_metric(metric: str, labels: npt.ArrayLike, probability: npt.ArrayLike) -> Statistic:
    """A metric of ``gliolake.modeling.evaluation.scores`` as a statistic; NaN where the drawn scans cannot show it.

    Args:
        metric: its name.
        labels: (n,) bool, or 0 and 1. probability: (n,).

    Raises:
        InputError: shapes that do not fit, or a missing prediction.
    """
    if metric == "auc":
        return weighted_auc(labels, probability)
    truth = as_labels(labels)
    given = as_scores(probability, len(truth))
    called = given >= THRESHOLD
    everything = np.ones(len(truth))
    of, over = {
        "accuracy": (called == truth, everything),
        "precision": (called & truth, called),
        "recall": (called & truth, truth),
        "brier": ((given - truth) ** 2, everything),
    }[metric]

    def statistic(weights: Floats) -> Floats:
        sums = weights @ np.stack((of, over)).T.astype(np.float64)
        return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)

    return statistic


def over_folds(metric: str, labels: npt.ArrayLike, probability: Floats) -> Statistic:
    """The mean of a metric over folds, each on the scans it predicted; a fold that cannot show it is left out.

    Args:
        metric: its name.
        labels: (n,) bool, or 0 and 1.
        probability: (folds, n), NaN where a fold did not predict a scan.
    """
    truth = as_labels(labels)
    parts = [np.flatnonzero(np.isfinite(own)) for own in probability]
    folds = [
        (rows, weighted_metric(metric, truth[rows], own[rows]))
        for rows, own in zip(parts, probability, strict=True)
        if len(rows)
    ]

    def statistic(weights: Floats) -> Floats:
        found = np.stack([of(weights[:, rows]) for rows, of in folds])
        known = np.isfinite(found)
        count = known.sum(0)
        return np.divide(np.where(known, found, 0).sum(0), count, out=np.full(len(weights), np.nan), where=count > 0)

    return statistic
