"""Summaries over the folds of an experiment: mean, spread, intervals and optimism of every metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gliolake.modeling.evaluation.crossval import SPLITS, Figure, Result
from gliolake.modeling.evaluation.scores import METRICS, bootstrap_interval, corrected_interval


@dataclass(frozen=True)
class Predictions:
    """Labels (n,) bool and patients (n,) of scans, and the probabilities (folds, n) that each fold gave them, or NaN.

    trained: mean number of scans that a fold was trained on, test part aside.
    """

    labels: np.ndarray
    patients: np.ndarray
    probability: np.ndarray
    trained: float


@dataclass(frozen=True)
class MetricSummary:
    """A row of table summaries, the experiment's name aside."""

    split: str
    metric: str
    mean: float | None
    sd: float | None
    sem: float | None
    ci_low: float | None
    ci_high: float | None
    bootstrap_low: float | None
    bootstrap_high: float | None
    optimism: float | None
    folds: int
    scans: int
    patients: int


def of_result(result: Result, *, seed: int) -> list[MetricSummary]:
    """Summaries of a cross-validation that is all here."""
    internal = len(result.labels) - len(result.external)
    tested = float(np.mean([len(fold.test) for fold in result.folds]))
    parts = {"internal": np.arange(internal), "external": result.external}
    return summarise(
        result.figures,
        {
            split: Predictions(
                result.labels[rows], result.patients[rows], result.answer.probability[:, rows], internal - tested
            )
            for split, rows in parts.items()
        },
        seed=seed,
    )


def summarise(figures: Sequence[Figure], given: dict[str, Predictions], *, seed: int) -> list[MetricSummary]:
    """A summary for each split that has predictions, and each metric.

    The interval that a report quotes (ci_low, ci_high) is, inside, where folds share training scans, that of the
    corrected resampled t (``gliolake.modeling.evaluation.scores.corrected_error``), and outside that by bootstrap over
    patients. The latter is given for both splits (bootstrap_low, bootstrap_high).

    Args:
        figures: of all folds.
        given: by split.
        seed: of the bootstrap.
    """
    found = []
    for split in SPLITS:
        predictions = given[split]
        seen = np.isfinite(predictions.probability)
        if not seen.any():
            continue
        some = seen.any(0)
        labels, patients = predictions.labels[some], predictions.patients[some]
        probability = predictions.probability[:, some]
        for metric in METRICS:
            of = [figure for figure in figures if (figure.split, figure.metric) == (split, metric)]
            values = [figure.value for figure in of]
            summary = bootstrap_interval(values, metric, labels, probability, patients, seed=seed)
            tested = float(seen.sum(1).mean())
            quoted = corrected_interval(values, tested, predictions.trained) if split == "internal" else summary
            added = [figure.optimism for figure in of if figure.optimism is not None]
            row = MetricSummary(
                split, metric, summary.mean, summary.sd,
                None if summary.sd is None else summary.sd / summary.folds**0.5,
                quoted.ci_low, quoted.ci_high, summary.ci_low, summary.ci_high,
                float(np.mean(added)) if added else None, summary.folds, len(labels), len(np.unique(patients)),
            )  # fmt: skip
            found.append(row)
    return found


def as_row(experiment: str, summary: MetricSummary) -> dict[str, Any]:
    """The row of table summaries."""
    return {"experiment": experiment, **vars(summary)}
