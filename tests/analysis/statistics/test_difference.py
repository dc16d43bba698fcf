"""The difference of two models' AUCs over resampled patients, against one written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gliolake.analysis.statistics.summary import auc_difference
from gliolake.modeling.evaluation.scores import auc


def test_the_difference_is_scored_on_the_same_resamples() -> None:
    stream = np.random.default_rng(4)
    labels = np.repeat(stream.random(60) > 0.4, 2)
    probability = np.clip(0.4 + 0.2 * labels + 0.2 * stream.standard_normal(120), 0, 1).round(2)
    patients = np.repeat([f"p{i}" for i in range(60)], 2)
    other = np.random.default_rng(0).random(len(labels))
    found = auc_difference(labels, probability, other, patients, seed=0, resamples=300)
    stream, names = np.random.default_rng(0), np.unique(patients)
    differences = []
    for _ in range(300):
        often = stream.multinomial(60, np.full(60, 1 / 60))
        drawn = np.concatenate([np.repeat(np.flatnonzero(patients == n), k) for n, k in zip(names, often, strict=True)])
        differences.append(
            roc_auc_score(labels[drawn], probability[drawn]) - roc_auc_score(labels[drawn], other[drawn])
        )
    assert found.difference == pytest.approx((auc(labels, probability) or 0) - (auc(labels, other) or 0))
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(np.percentile(differences, (2.5, 97.5))))
    same = auc_difference(labels, probability, probability, patients, seed=0, resamples=50)
    assert (same.difference, same.ci_low, same.ci_high, same.units) == (0, 0, 0, 60)
    assert auc_difference(np.ones(120), probability, probability, patients, seed=0).difference is None
