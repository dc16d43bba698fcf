"""ROC curves against scikit-learn's, and their band against the bootstrap of the AUC."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as reference

from gliolake.analysis.curves.roc import GRID, roc_curve
from gliolake.modeling.evaluation.bootstrap import patient_bootstrap, weighted_auc

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=2, max_size=40)


@given(ROWS)
def test_a_curve_is_the_highest_sensitivity_at_each_rate_and_encloses_the_auc(rows: list[tuple[bool, int]]) -> None:
    labels, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    curve = roc_curve(labels, scores, np.arange(len(rows)), seed=0, resamples=20)
    if labels.all() or not labels.any():
        assert curve is None
        return
    assert curve is not None
    false, true, _ = reference(labels, scores)
    assert curve.y == pytest.approx(np.interp(GRID + 1e-9, false, true))
    # A rising curve that is known at steps of h is off by at most h/2 in its area.
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(roc_auc_score(labels, scores), abs=GRID[1] / 2 + 1e-6)


def some_scans(scans: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    stream = np.random.default_rng(seed)
    labels = np.arange(scans) % 2 == 0
    return labels, stream.normal(size=scans) + labels


def test_the_band_holds_the_curve_and_is_as_wide_as_the_interval_of_the_auc_needs() -> None:
    labels, scores = some_scans(120)
    curve = roc_curve(labels, scores, np.arange(120), seed=0)
    assert curve is not None
    assert curve.ci_low is not None
    assert curve.ci_high is not None
    assert (curve.ci_low <= curve.y).all()
    assert (curve.y <= curve.ci_high).all()
    found = patient_bootstrap(weighted_auc(labels, scores), np.arange(120), seed=0)
    assert found.ci_low is not None
    # Points of a band vary more than their mean, the area.
    assert np.trapezoid(curve.ci_low, curve.x) < found.ci_low


def test_scans_of_one_patient_come_and_go_together() -> None:
    labels, scores = some_scans(60)
    alone = roc_curve(labels, scores, np.arange(60), seed=0)
    fourfold = roc_curve(np.tile(labels, 4), np.tile(scores, 4), np.tile(np.arange(60), 4), seed=0)
    assert alone is not None
    assert fourfold is not None
    assert fourfold.y == pytest.approx(alone.y)
    assert fourfold.ci_low == pytest.approx(alone.ci_low)
    assert fourfold.ci_high == pytest.approx(alone.ci_high)


def test_one_patient_has_a_curve_without_a_band() -> None:
    curve = roc_curve([True, False], [0.2, 0.1], ["one", "one"], seed=0)
    assert curve is not None
    assert {row["ci_low"] for row in curve.rows()} == {None}
    assert {row["y"] for row in curve.rows()} == {1.0}
