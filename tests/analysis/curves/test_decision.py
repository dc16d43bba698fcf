"""Decision curves by their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from gliolake.analysis.curves.decision import decision_curve
from gliolake.errors import InputError

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=40)


@given(ROWS)
def test_net_benefit_is_that_of_the_calls_at_each_threshold(rows: list[tuple[bool, int]]) -> None:
    labels, probability = np.array([row[0] for row in rows]), np.array([row[1] / 10 for row in rows])
    curve = decision_curve(labels, probability, np.array([0, 0.1, 0.3, 0.35, 0.9]))
    for t, found in zip(curve.threshold, curve.model, strict=True):
        _, false, _, true = confusion_matrix(labels, probability >= t, labels=[False, True]).ravel()
        assert found == pytest.approx((true - false * t / (1 - t)) / len(labels))
    everyone = decision_curve(labels, np.ones(len(labels)), curve.threshold)
    assert curve.treat_all == pytest.approx(everyone.model)
    assert curve.model[0] == pytest.approx(curve.treat_all[0])
    assert not curve.treat_none.any()


def test_treating_all_is_worth_nothing_at_the_prevalence_and_a_perfect_model_the_prevalence() -> None:
    labels = np.arange(10) < 4
    curve = decision_curve(labels, labels)
    assert len(curve.threshold) == 99
    assert curve.treat_all[39] == pytest.approx(0)
    assert curve.model == pytest.approx(np.full(99, 0.4))


def test_one_class_has_a_curve_too() -> None:
    assert decision_curve([0, 0], [0.2, 0.8], [0.5]).model == pytest.approx([-0.5])
    assert decision_curve([1, 1], [0.2, 0.8], [0.5]).model == pytest.approx([0.5])


def test_a_curve_becomes_rows() -> None:
    assert decision_curve([1, 0], [0.9, 0.1], [0.5]).rows() == [
        {"threshold": 0.5, "model": 0.5, "treat_all": 0.0, "treat_none": 0.0}
    ]


def test_thresholds_and_probabilities_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="threshold"):
        decision_curve([1, 0], [0.9, 0.1], [0.5, 1])
    with pytest.raises(InputError, match="threshold"):
        decision_curve([1, 0], [0.9, 0.1], [np.nan])
    with pytest.raises(InputError, match=r"-2 to 1.5; expected probabilities"):
        decision_curve([1, 0], [1.5, -2])
