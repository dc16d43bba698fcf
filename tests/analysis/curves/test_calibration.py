"""Calibration against scikit-learn and the sums it must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from gliolake.analysis.curves.calibration import calibration
from gliolake.errors import InputError

ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60)


def test_bins_are_those_of_scikit_learn() -> None:
    stream = np.random.default_rng(0)
    probability = stream.beta(2, 3, 237).round(2)
    labels = stream.random(237) < probability
    found = calibration(labels, probability, bins=8)
    observed, predicted = calibration_curve(labels, probability, n_bins=8, strategy="quantile")
    assert (found.observed, found.predicted) == (pytest.approx(observed), pytest.approx(predicted))
    assert found.scans.sum() == 237
    assert found.error == pytest.approx(np.average(np.abs(observed - predicted), weights=found.scans))
    assert found.brier == pytest.approx(brier_score_loss(labels, probability))


@given(ROWS, st.integers(1, 12))
def test_the_parts_add_up_to_the_brier_score(rows: list[tuple[bool, float]], bins: int) -> None:
    labels, probability = (np.array(column) for column in zip(*rows, strict=True))
    found = calibration(labels, probability, bins)
    assert found.brier == pytest.approx(np.mean((probability - labels) ** 2))
    assert 1 <= len(found.scans) <= bins
    assert found.scans.sum() == len(rows)
    assert 0 <= found.error <= 1
    assert found.error**2 <= found.reliability + 1e-12  # a mean is at most the root mean square
    assert found.resolution <= found.uncertainty + 1e-12
    # What the bins blur: a bin's spread of probabilities less twice their covariance with the call.
    blurred = 0.0
    for low, high in zip(found.low, found.high, strict=True):
        of = (probability >= low) & (probability <= high)
        p, y = probability[of] - probability[of].mean(), labels[of] - labels[of].mean()
        blurred += float((p * p - 2 * p * y).sum()) / len(rows)
    assert found.within == pytest.approx(blurred, abs=1e-9)


def test_a_forecaster_of_the_truth_has_no_error() -> None:
    found = calibration([1, 0, 1, 0], [1, 0, 1, 0], bins=2)
    assert (found.error, found.brier, found.reliability) == (0, 0, 0)
    assert found.resolution == found.uncertainty == 0.25


def test_a_constant_prediction_is_one_bin() -> None:
    found = calibration([1, 0, 0, 0], [0.75] * 4)
    assert found.rows() == [{"low": 0.75, "high": 0.75, "scans": 4, "predicted": 0.75, "observed": 0.25}]
    assert found.error == 0.5
    assert found.within == 0


def test_one_class_is_calibrated_too() -> None:
    found = calibration([1, 1], [0.5, 0.7], bins=1)
    assert (found.observed[0], found.uncertainty) == (1, 0)
    assert found.error == pytest.approx(0.4)


def test_what_is_no_probability_or_no_bin_is_refused() -> None:
    with pytest.raises(InputError, match="probabilities"):
        calibration([1, 0], [0.5, 1.01])
    with pytest.raises(InputError, match="0 bins"):
        calibration([1, 0], [0.5, 0.6], bins=0)
    with pytest.raises(InputError, match="missing or infinite"):
        calibration([1, 0], [0.5, np.nan])
