"""DeLong's test against the definition pair by pair, against simulation, and where it has nothing to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from gliolake.analysis.statistics.delong import delong_test
from gliolake.analysis.statistics.summary import auc_difference
from gliolake.errors import InputError


def two_models(seed: int, patients: int, scans: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores of two models with ties, and patients of up to ``scans`` scans that resemble each other."""
    stream = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), stream.integers(1, scans + 1, patients))
    stream.shuffle(of)
    labels = (stream.random(patients)[of] + 0.3 * stream.standard_normal(len(of))) > 0.5
    shared = stream.standard_normal(patients)[of]
    first, second = ((0.8 * labels + shared + 0.7 * stream.standard_normal(len(of))).round(1) for _ in range(2))
    return labels, first, second, np.array([f"p{i}" for i in of])


def pairs(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(positives, negatives): 1 where the pair is in order, half for ties."""
    ahead = scores[labels][:, None] - scores[~labels][None]
    return (ahead > 0) + 0.5 * (ahead == 0)


def obuchowski(labels: np.ndarray, models: list[np.ndarray], patients: np.ndarray) -> np.ndarray:
    """Covariance matrix of AUCs, clusters one by one as Obuchowski (1997) writes it."""
    orders = [pairs(labels, scores) for scores in models]
    positive, negative = orders[0].shape
    names, of_positive, of_negative = sorted(set(patients)), patients[labels], patients[~labels]
    x = np.array([[(o.mean(1) - o.mean())[of_positive == n].sum() for n in names] for o in orders])
    y = np.array([[(o.mean(0) - o.mean())[of_negative == n].sum() for n in names] for o in orders])
    i10, i01, i = len(set(of_positive)), len(set(of_negative)), len(names)
    s10 = i10 / ((i10 - 1) * positive) * x @ x.T
    s01 = i01 / ((i01 - 1) * negative) * y @ y.T
    s11 = i / (i - 1) * x @ y.T
    return s10 / positive + s01 / negative + (s11 + s11.T) / (positive * negative)


def test_one_scan_per_patient_gives_plain_delong() -> None:
    labels, first, second, patients = two_models(0, 80, 1)
    orders = [pairs(labels, scores) for scores in (first, second)]
    covariance = (
        np.cov([o.mean(1) for o in orders]) / labels.sum() + np.cov([o.mean(0) for o in orders]) / (~labels).sum()
    )
    error = (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5
    found = delong_test(labels, first, second, patients)
    assert (found.first, found.second) == pytest.approx([roc_auc_score(labels, s) for s in (first, second)])
    assert found.difference is not None
    assert found.statistic == pytest.approx(found.difference / error)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.difference / error)))
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (found.difference - 1.959964 * error, found.difference + 1.959964 * error)
    )
    assert found.units == 80


@pytest.mark.parametrize("seed", range(5))
def test_several_scans_per_patient_give_obuchowskis_variance(seed: int) -> None:
    labels, first, second, patients = two_models(seed, 40, 4)
    covariance = obuchowski(labels, [first, second], patients)
    error = (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5
    found = delong_test(labels, first, second, patients)
    assert found.difference is not None
    assert found.statistic == pytest.approx(found.difference / error)
    assert found.units == 40


def test_its_interval_is_near_that_of_the_patient_bootstrap() -> None:
    labels, first, second, patients = two_models(1, 150, 3)
    test, resampled = (
        delong_test(labels, first, second, patients), auc_difference(labels, first, second, patients, seed=0)
    )  # fmt: skip
    assert test.difference == pytest.approx(resampled.difference)
    assert (test.ci_low, test.ci_high) == pytest.approx((resampled.ci_low, resampled.ci_high), abs=0.012)


def test_equal_models_differ_in_one_of_twenty_datasets_only_if_patients_are_the_unit() -> None:
    stream, clustered, scanwise = np.random.default_rng(3), 0, 0
    for _ in range(400):
        labels = np.repeat(stream.random(40) > 0.5, 4)
        # Both models say the same of all scans of a patient, with errors of their own.
        first, second = (labels + np.repeat(stream.standard_normal(40), 4) for _ in range(2))
        clustered += (delong_test(labels, first, second, np.repeat(np.arange(40), 4)).p or 0) < 0.05
        scanwise += (delong_test(labels, first, second, np.arange(160)).p or 0) < 0.05
    assert 0.02 < clustered / 400 < 0.09
    assert scanwise / 400 > 0.2


SCORES = st.lists(
    st.tuples(st.booleans(), *[st.integers(-3, 3)] * 2, st.integers(0, 9)), min_size=2, max_size=40
).filter(lambda rows: len({row[0] for row in rows}) == 2)


@settings(deadline=None)
@given(SCORES)
def test_only_ranks_and_the_order_of_the_models_matter(rows: list[tuple[bool, int, int, int]]) -> None:
    labels, first, second, patients = (np.array(column) for column in zip(*rows, strict=True))
    found = delong_test(labels, first, second, patients)
    assert delong_test(labels, np.exp(first / 2), second**3, patients) == found
    swapped = delong_test(labels, second, first, patients)
    assert swapped.p == (None if found.p is None else pytest.approx(found.p))
    assert swapped.difference == pytest.approx(-(found.difference or 0.0))
    turned = delong_test(~labels, -first, -second, patients)
    assert turned.difference == pytest.approx(found.difference)
    shuffled = np.random.default_rng(0).permutation(len(labels))
    again = delong_test(*(column[shuffled] for column in (labels, first, second, patients)))
    assert (again.first, again.second) == pytest.approx((found.first, found.second))


def test_models_that_rank_alike_have_a_p_of_one() -> None:
    labels, first, _, patients = two_models(0, 30, 2)
    same = delong_test(labels, first, 2 * first + 1, patients)
    assert (same.difference, same.ci_low, same.ci_high, same.p) == (0, 0, 0, 1)
    constant = delong_test(labels, np.zeros(len(labels)), np.ones(len(labels)), patients)
    assert (constant.first, constant.second, constant.p) == (0.5, 0.5, 1)


def test_a_difference_without_spread_or_with_too_few_patients_has_no_p() -> None:
    labels = np.array([True, True, False, False])
    perfect = delong_test(labels, labels, ~labels, np.arange(4))
    assert (perfect.difference, perfect.ci_low, perfect.p) == (1, None, None)
    alone = delong_test(labels, [3, 1, 2, 0], [0, 1, 2, 3], np.array(["a", "a", "b", "c"]))
    assert (alone.first, alone.second, alone.ci_low, alone.p) == (0.75, 0, None, None)
    one_patient = delong_test(labels, [3, 1, 2, 0], [0, 1, 2, 3], np.zeros(4))
    assert (one_patient.p, one_patient.units) == (None, 1)


def test_a_variance_that_rounding_takes_below_zero_is_zero() -> None:
    labels, patients = np.array([1, 1, 0, 1, 0, 0]), np.array([2, 1, 2, 2, 1, 1])
    found = delong_test(labels, [1, 2, 1, 2, 0, 2], [1, 1, 2, 0, 2, 2], patients)
    assert found.difference == pytest.approx(13 / 18)
    assert (found.ci_low, found.statistic, found.p) == (None, None, None)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": [True] * 4}, "one class"),
        ({"labels": [0, 1, 2, 1]}, "neither yes nor no"),
        ({"labels": [True, None, False, True]}, "neither yes nor no"),
        ({"labels": []}, "at least one scan"),
        ({"first": [1, 2, 3]}, "for 4 scans"),
        ({"second": [1, 2, 3, np.nan]}, "1 of 4 predictions are missing"),
        ({"patients": ["a", "b"]}, "for 4 scans"),
        ({"patients": np.array(["a", None, "b", "c"], object)}, "no patient"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed: dict[str, Any], said: str) -> None:
    given = {"labels": [0, 1, 0, 1], "first": [1, 2, 3, 4], "second": [4, 3, 2, 1], "patients": list("abcd")}
    with pytest.raises(InputError, match=said):
        delong_test(**given | changed)
