"""Metrics and intervals against their definitions, and what a fold that cannot show one gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from gliolake.modeling.evaluation.scores import METRICS, bootstrap_interval, corrected_interval, scores


def test_metrics_agree_with_scikit_learn() -> None:
    stream = np.random.default_rng(0)
    labels, probability = stream.random(200) > 0.4, stream.random(200).round(2)
    called = probability >= 0.5
    found = scores(labels, probability)
    assert found == pytest.approx(
        {
            "auc": metrics.roc_auc_score(labels, probability),
            "accuracy": metrics.accuracy_score(labels, called),
            "precision": metrics.precision_score(labels, called),
            "recall": metrics.recall_score(labels, called),
            "brier": metrics.brier_score_loss(labels, probability),
        }
    )


def test_a_fold_that_cannot_show_a_metric_gives_none() -> None:
    one_class = scores(np.array([True, True]), np.array([0.9, 0.2]))
    assert one_class["auc"] is None
    assert one_class["recall"] == 0.5
    nothing_called = scores(np.array([True, False]), np.array([0.3, 0.2]))
    assert nothing_called["precision"] is None
    assert nothing_called["auc"] == 1
    assert scores(np.array([False]), np.array([0.6]))["recall"] is None
    assert set(scores(np.zeros(0, np.bool_), np.zeros(0)).values()) == {None}


def test_the_interval_over_folds_is_the_corrected_resampled_t() -> None:
    values = [0.6, 0.7, 0.65, 0.55, None]
    summary = corrected_interval(values, tested=20, trained=80)
    known = np.array(values[:4], np.float64)
    half = stats.t.ppf(0.975, 3) * np.sqrt(known.var(ddof=1) * (1 / 4 + 20 / 80))
    assert (summary.mean, summary.ci_low, summary.ci_high) == pytest.approx((0.625, 0.625 - half, 0.625 + half))
    assert summary.folds == 4
    alone = corrected_interval([None, 0.7], tested=20, trained=80)
    assert (alone.mean, alone.ci_low) == (0.7, None)
    assert corrected_interval([None, None], tested=20, trained=80).mean is None


@pytest.mark.parametrize("metric", METRICS)
def test_the_bootstrap_resamples_patients_and_means_over_models(metric: str) -> None:
    stream = np.random.default_rng(1)
    patients = np.repeat([f"p{i}" for i in range(30)], 2)
    labels = np.repeat(stream.random(30) > 0.4, 2)
    probability = np.clip(0.3 + 0.3 * labels + 0.25 * stream.standard_normal((4, 60)), 0, 1)
    values = [scores(labels, p)[metric] for p in probability]
    summary = bootstrap_interval(values, metric, labels, probability, patients, seed=0)
    by_hand = []
    for _ in range(400):
        drawn = np.concatenate([np.flatnonzero(patients == p) for p in stream.choice(np.unique(patients), 30)])
        by_hand.append(np.mean([scores(labels[drawn], p[drawn])[metric] or 0.0 for p in probability]))
    assert summary.mean == pytest.approx(np.mean([v for v in values if v is not None]))
    assert (summary.ci_low, summary.ci_high) == pytest.approx(tuple(np.percentile(by_hand, (2.5, 97.5))), abs=0.025)
