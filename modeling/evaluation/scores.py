"""Metrics of a fold, and intervals of their mean. An undefined metric is None, never a substitute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gliolake.modeling.evaluation.bootstrap import THRESHOLD, over_folds, patient_bootstrap

METRICS = ("auc", "accuracy", "precision", "recall", "brier")


def auc(labels: np.ndarray, probability: np.ndarray) -> float | None:
    """Area under the ROC curve: the share of (methylated, unmethylated) pairs in the right order, ties half."""
    from scipy.stats import rankdata

    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return None
    ranks = rankdata(probability)
    return float((ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


def scores(labels: np.ndarray, probability: np.ndarray) -> dict[str, float | None]:
    """All metrics of labels (n,) bool and probabilities (n,); methylated is called at 0.5 and above.

    AUC is None with one class, precision where nothing is called methylated, recall where nothing is, all with no rows.
    """
    called = probability >= THRESHOLD
    return {
        "auc": auc(labels, probability),
        "accuracy": _share(called == labels),
        "precision": _share(labels[called]),
        "recall": _share(called[labels]),
        "brier": float(np.mean((probability - labels) ** 2)) if len(labels) else None,
    }


def _share(of: np.ndarray) -> float | None:
    return float(of.mean()) if len(of) else None


@dataclass(frozen=True)
class Summary:
    """Mean and SD over folds, a 95 % interval of the mean, and how many folds it rests on; None where there is none."""

    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    folds: int


def corrected_error(deviation: float, folds: int, tested: float, trained: float) -> float:
    """Standard error of a mean over the folds of a cross-validation, which share training scans.

    The variance is scaled by 1/k + tested/trained instead of 1/k (Nadeau and Bengio, Machine Learning 52, 2003).

    Args:
        deviation: of the ``folds`` values.
        tested, trained: mean number of scans in a test part and in a training part.
    """
    return deviation * (1 / folds + tested / trained) ** 0.5


def corrected_interval(values: Sequence[float | None], tested: float, trained: float) -> Summary:
    """Mean over folds with the corrected resampled t interval.

    Folds without a value are left out.

    Args:
        values: the metric of each fold.
        tested, trained: mean number of scans in a test part and in a training part.
    """
    from scipy.stats import t

    known = np.array([v for v in values if v is not None], np.float64)
    k = len(known)
    if k < 2:
        return Summary(float(known[0]) if k else None, None, None, None, k)
    mean, sd = float(known.mean()), float(known.std(ddof=1))
    half = float(t.ppf(0.975, k - 1)) * corrected_error(sd, k, tested, trained)
    return Summary(mean, sd, max(0.0, mean - half), min(1.0, mean + half), k)


def bootstrap_interval(
    values: Sequence[float | None], metric: str, labels: np.ndarray, probability: np.ndarray, patients: np.ndarray,
    *, seed: int, resamples: int = 2000,
) -> Summary:  # fmt: skip
    """Mean over folds with a percentile interval over resampled patients.

    Args:
        values: the metric of each fold.
        metric: its name.
        labels: (m,) bool. probability: (F, m), NaN where a fold did not predict a scan. patients: (m,).
        seed, resamples: of the bootstrap.
    """
    known = [v for v in values if v is not None]
    mean = float(np.mean(known)) if known else None
    sd = float(np.std(known, ddof=1)) if len(known) > 1 else None
    if mean is None:
        return Summary(None, sd, None, None, 0)
    statistic = over_folds(metric, labels, probability)
    found = patient_bootstrap(statistic, patients, seed=[seed, METRICS.index(metric)], resamples=resamples)
    return Summary(mean, sd, found.ci_low, found.ci_high, len(known))
