"""One probability from many fits: what the line and the interval promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from gliolake.modeling.export.recalibration import Recalibration, as_recalibration, recalibrate
from tests.support.full import examples


def told(patients: int, sureness: float, seed: int = 0, fits: int = 20, resamples: int = 200) -> Recalibration:
    """From out-of-fold predictions whose logits are ``sureness`` times those by which the labels were drawn."""
    stream = np.random.default_rng(seed)
    true = stream.normal(0, 1, patients)
    labels = stream.random(patients) < expit(true)
    names = np.array([f"patient {i}" for i in range(patients)])
    return recalibrate(expit(sureness * true), labels, names, fits=fits, seed=seed, resamples=resamples)


@pytest.mark.parametrize("sureness", [4.0, 0.25])
def test_too_much_and_too_little_sureness_are_undone(sureness: float) -> None:
    found = told(3000, sureness, resamples=50)
    assert found.line[1] == pytest.approx(1 / sureness, rel=0.15)
    asked = found.estimate(np.full(20, expit(sureness * 0.8)))
    assert asked.ci_low < expit(0.8) < asked.ci_high


def test_a_model_that_is_right_when_turned_round_says_the_share_of_methylated_patients() -> None:
    labels = np.arange(60) % 3 == 0
    upside_down = np.where(labels, 0.2, 0.8) + np.random.default_rng(0).normal(0, 0.02, 60)
    found = recalibrate(upside_down, labels, np.arange(60), fits=5, seed=0, resamples=100)
    assert found.line[1] == 0
    for probability in (0.01, 0.99):
        assert found.estimate(np.full(5, probability)).probability == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("says", [0.0, 0.5, 1.0])
def test_predictions_without_a_difference_and_classes_told_apart_without_a_fault_have_a_line(says: float) -> None:
    labels = np.arange(40) % 2 == 0
    constant = recalibrate(np.full(40, says), labels, np.arange(40), fits=2, seed=0, resamples=50)
    perfect = recalibrate(labels * 1.0, labels, np.arange(40), fits=2, seed=0, resamples=50)
    for found in (constant, perfect):
        assert np.isfinite(found.line).all()
        assert np.isfinite(found.lines).all()
    assert perfect.estimate(np.ones(2)).probability > 0.9
    assert constant.estimate(np.full(2, says)).probability == pytest.approx(0.5, abs=0.01)


@settings(deadline=None, max_examples=examples(60))
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 3))
def test_the_interval_holds_the_probability_whatever_the_fits_say(fits: list[float], seed: int) -> None:
    found = FOUND[seed]
    asked = found.estimate(np.array(fits))
    assert 0 <= asked.ci_low <= asked.probability <= asked.ci_high <= 1
    more = found.estimate(np.minimum(np.array(fits) + 0.1, 1))
    assert more.probability >= asked.probability, "a line never falls"
    counted = np.arange(len(fits)) == len(fits) - 1
    assert found.estimate(np.array(fits), counted) == found.estimate(np.array(fits[-1:]))


FOUND = [told(50, 1.0, seed=seed) for seed in range(4)]


def test_more_patients_and_fits_that_agree_make_it_narrower() -> None:
    def width(found: Recalibration, fits: np.ndarray) -> float:
        asked = found.estimate(fits)
        return asked.ci_high - asked.ci_low

    agreeing = np.full(20, expit(0.8))
    scattered = expit(0.8 + np.random.default_rng(1).normal(0, 1, 20))
    few, many = told(50, 1.0), told(1000, 1.0)
    assert width(many, agreeing) < 0.5 * width(few, agreeing)
    assert width(many, agreeing) < 0.5 * width(many, scattered)


def test_the_same_predictions_give_the_same_bits_and_scans_of_a_patient_come_and_go_together() -> None:
    one, again = told(40, 1.0), told(40, 1.0)
    for name, tensor in one.tensors().items():
        assert np.array_equal(tensor, again.tensors()[name])
    back = as_recalibration(one.tensors())
    assert back.estimate(np.array([0.3, 0.6])) == one.estimate(np.array([0.3, 0.6]))
    stream = np.random.default_rng(0)
    labels = stream.random(40) < 0.5
    score = expit(logit(np.where(labels, 0.7, 0.3)) + stream.normal(0, 1, 40))
    alone = recalibrate(score, labels, np.arange(40), fits=2, seed=0, resamples=300)
    copied = recalibrate(
        np.tile(score, 4), np.tile(labels, 4), np.tile(np.arange(40), 4), fits=2, seed=0, resamples=500
    )
    strangers = recalibrate(np.tile(score, 4), np.tile(labels, 4), np.arange(160), fits=2, seed=0, resamples=300)
    spread = [found.lines[:, 0].std() for found in (alone, copied, strangers)]
    assert spread[1] == pytest.approx(spread[0], rel=0.25), "four scans of a patient are no four patients"
    assert spread[2] < 0.7 * spread[1]
