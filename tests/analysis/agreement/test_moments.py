"""Concordance from moments: that of the vectors, however they are cut up; and intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from gliolake.analysis.agreement.moments import Moments, interval, jackknifed, mean_known
from gliolake.concordance import concordance


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 9), st.sampled_from([0.0, 3.0, -2e5]),
    st.sampled_from([1e-3, 1.0, 1e6]),
)  # fmt: skip
def test_sums_of_parts_give_the_coefficient_of_all(
    seed: int, rows: int, groups: int, offset: float, scale: float
) -> None:
    stream = np.random.default_rng(seed)
    x = (offset + scale * stream.standard_normal((rows, 7))).astype(np.float32)
    y = (x + scale * stream.standard_normal((rows, 7))).astype(np.float32)
    x[:, 0] = y[:, 0] = 0.1  # one constant: nothing can be said
    x[:, 1], y[:, 1] = 0.1, 0.3  # two constants: no agreement
    y[:, 2] = x[:, 2]
    of = stream.integers(0, groups, rows)
    there = np.unique(of)
    whole, without = jackknifed([Moments.of(x[of == one], y[of == one]) for one in there])
    np.testing.assert_allclose(whole, concordance(x, y), rtol=1e-9, atol=1e-12)
    assert np.isnan(whole[0])
    assert len(without) == (len(there) if len(there) > 1 else 0)
    for one, rest in zip(there, without, strict=False):
        np.testing.assert_allclose(rest, concordance(x[of != one], y[of != one]), rtol=1e-9, atol=1e-12)


def test_it_is_pearsons_r_times_how_far_the_line_is_the_diagonal() -> None:
    stream = np.random.default_rng(1)
    x = 1e4 + stream.standard_normal((200, 5))
    y = 0.5 * x + 5e3 + 0.3 * stream.standard_normal((200, 5))
    expected = []
    for a, b in zip(x.T, y.T, strict=True):
        ratio, shift = a.std() / b.std(), (a.mean() - b.mean()) / np.sqrt(a.std() * b.std())
        expected.append(pearsonr(a, b).statistic * 2 / (ratio + 1 / ratio + shift**2))
    np.testing.assert_allclose(Moments.of(x, y).concordance(), expected, rtol=1e-9)


def simulated(stream: np.random.Generator, patients: int, features: int, each: int) -> tuple[np.ndarray, ...]:
    """Both sides of ``each`` scans per patient, which differ little, and whose patient each is; the truth is 0.48."""
    shared = stream.standard_normal((patients, features))
    x, y = (shared + 0.8 * stream.standard_normal((patients, features)) + off for off in (0.0, 0.9))
    of = np.repeat(np.arange(patients), each)
    return *(side[of] + 0.05 * stream.standard_normal((len(of), features)) for side in (x, y)), of


TRUTH = 2 / (2 * (1 + 0.8**2 + 0.05**2) + 0.9**2)


@pytest.mark.parametrize("groups", [60, 17], ids=["each patient", "groups of unequal size"])
def test_the_interval_holds_the_truth_as_often_as_it_says_and_patients_are_its_unit(groups: int) -> None:
    x, y, patient = simulated(np.random.default_rng(2), patients=60, features=2000, each=3)
    sizes = np.bincount(np.unique(patient) % groups)

    def held(of: np.ndarray, sizes: np.ndarray) -> float:
        whole, without = jackknifed([Moments.of(x[of == one], y[of == one]) for one in np.unique(of)])
        low, high = interval(whole, without, sizes)
        return float(((low <= TRUTH) & (high >= TRUTH)).mean())

    assert 0.93 < held(patient % groups, sizes) < 0.97
    scans = np.arange(len(patient))
    assert held(scans, np.ones(len(scans))) < 0.8  # as if three scans told three times as much


def test_perfect_agreement_is_certain_and_one_group_tells_nothing() -> None:
    x = np.random.default_rng(3).standard_normal((9, 4))
    each = [Moments.of(x[n : n + 1], x[n : n + 1]) for n in range(9)]
    np.testing.assert_allclose(interval(*jackknifed(each), np.ones(9, np.int64)), 1, rtol=1e-12)
    assert np.isnan(interval(*jackknifed(each[:1]), np.ones(0, np.int64))).all()


def test_a_mean_is_over_what_is_known() -> None:
    assert mean_known(np.array([[1.0, np.nan, 3.0], [np.nan] * 3])) == pytest.approx([2.0, np.nan], nan_ok=True)
