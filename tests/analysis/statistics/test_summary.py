"""Figures of folds against scipy, enumeration and other definitions; what cannot be told is None."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gliolake.analysis.statistics.summary import compared, corrected_t_test, holm, mean_sem, rank_sum
from gliolake.errors import InputError
from gliolake.modeling.evaluation.scores import corrected_interval

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def test_mean_and_sem_read_as_the_study_prints_them() -> None:
    values = [0.6, 0.7, None, 0.65, float("nan")]
    found = mean_sem(values)
    assert found.sem == pytest.approx(stats.sem([0.6, 0.7, 0.65]))
    assert (str(found), found.folds) == ("0.650 ± 0.029", 3)
    assert str(mean_sem([0.7])) == "0.700 ± –"
    assert str(mean_sem([None])) == "– ± –"
    with pytest.raises(InputError, match="finite"):
        mean_sem([0.5, float("inf")])


def test_the_rank_sum_p_is_the_share_of_arrangements_as_far_out() -> None:
    a, b = [0.61, 0.66, 0.70, 0.72], [0.55, 0.58, 0.60, 0.63, 0.64]
    ranks = stats.rankdata(a + b)
    sums = np.array([sum(chosen) for chosen in combinations(ranks, len(a))])
    seen = ranks[: len(a)].sum()
    tail = min((sums >= seen).mean(), (sums <= seen).mean())
    found = rank_sum(a, b)
    assert found.p == pytest.approx(2 * tail)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found.statistic == seen - len(a) * (len(a) + 1) / 2
    assert found.units == 9


def test_the_rank_sum_test_of_twenty_tied_folds_is_near_the_plain_normal_one() -> None:
    stream = np.random.default_rng(0)
    a, b = (stream.normal(mean, 0.03, 20).round(2).tolist() for mean in (0.62, 0.60))
    assert rank_sum(a, b).p == pytest.approx(stats.ranksums(a, b).pvalue, rel=0.05)


def test_equal_folds_have_a_rank_sum_p_of_one_and_no_folds_none() -> None:
    assert rank_sum([0.5] * 20, [0.5] * 20).p == 1
    nothing = rank_sum([0.5], [None])
    assert (nothing.first, nothing.second, nothing.difference, nothing.p) == (0.5, None, None, None)


def test_the_corrected_t_test_is_the_paired_one_with_a_wider_error() -> None:
    stream = np.random.default_rng(1)
    a, b = stream.normal(0.62, 0.03, 20), stream.normal(0.60, 0.03, 20)
    plain = stats.ttest_rel(a, b)
    # With nothing shared the correction is gone.
    free = corrected_t_test(a.tolist(), b.tolist(), tested=1e-12, trained=1)
    assert (free.statistic, free.p) == pytest.approx((plain.statistic, plain.pvalue))
    assert (free.ci_low, free.ci_high) == pytest.approx(tuple(plain.confidence_interval()))
    found = corrected_t_test(a.tolist(), b.tolist(), tested=117, trained=468)
    assert found.statistic == pytest.approx(plain.statistic / (1 + 20 * 117 / 468) ** 0.5)
    assert found.p is not None
    assert found.p > plain.pvalue


def test_its_interval_is_the_one_that_training_reports() -> None:
    stream = np.random.default_rng(2)
    a, b = stream.normal(0.62, 0.03, 20), stream.normal(0.60, 0.03, 20)
    found = corrected_t_test([*a, None, 0.9], [*b, 0.9, None], 117, 468)
    # modeling keeps intervals within 0 to 1, so the differences are moved there and back.
    summary = corrected_interval(((a - b + 1) / 2).tolist(), 117, 468)
    assert summary.ci_low is not None
    assert summary.ci_high is not None
    assert (found.ci_low, found.ci_high) == pytest.approx((2 * summary.ci_low - 1, 2 * summary.ci_high - 1))
    assert found.units == 20


def test_folds_that_do_not_vary_are_equal_or_say_nothing() -> None:
    same = corrected_t_test([0.6, 0.7, 0.8], [0.6, 0.7, 0.8], 1, 4)
    assert (same.difference, same.ci_low, same.ci_high, same.p) == (0, 0, 0, 1)
    moved = corrected_t_test([0.6, 0.7, 0.8], [0.5, 0.6, 0.7], 1, 4)
    assert moved.difference == pytest.approx(0.1)
    assert (moved.ci_low, moved.statistic, moved.p) == (None, None, None)
    single = corrected_t_test([0.6, None], [0.5, 0.4], 1, 4)
    assert (single.first, single.p, single.units) == (0.6, None, 1)
    assert corrected_t_test([None], [0.4], 1, 4).difference is None


def test_folds_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(InputError, match="2 folds of one model and 1"):
        corrected_t_test([0.6, 0.7], [0.5], 1, 4)
    with pytest.raises(InputError, match="above 0"):
        corrected_t_test([0.6, 0.7], [0.5, 0.6], 0, 4)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20))
def test_swapping_two_models_turns_the_sign_and_keeps_p(folds: list[tuple[float, float]]) -> None:
    first, second = ([fold[side] for fold in folds] for side in (0, 1))
    there, back = corrected_t_test(first, second, 1, 4), corrected_t_test(second, first, 1, 4)
    assert there.p == back.p
    assert there.difference == -(back.difference or 0.0)
    assert there.ci_low == (None if back.ci_high is None else -back.ci_high)
    assert rank_sum(first, second).p == pytest.approx(rank_sum(second, first).p)


def test_an_interval_of_a_difference_stays_within_one() -> None:
    wide = compared("made", 0.9, 0.1, 0.5, law=stats.norm(), units=5)
    assert (wide.ci_low, wide.ci_high) == (pytest.approx(0.8 - 0.979982), 1)
    assert wide.p == pytest.approx(2 * stats.norm.sf(1.6))


@given(P_VALUES)
def test_holm_is_closed_testing_with_bonferroni(p_values: list[float]) -> None:
    # Of every set of hypotheses that holds this one, the Bonferroni p of the set; the largest decides.
    names = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in combinations(names, size)]
    by_hand = [max(min(1, len(s) * min(p_values[j] for j in s)) for s in sets if i in s) for i in names]
    assert holm(p_values) == pytest.approx(by_hand)


@given(P_VALUES)
def test_holm_keeps_the_order_and_lowers_nothing(p_values: list[float]) -> None:
    corrected = np.array(holm(p_values), np.float64)
    assert (corrected >= p_values).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_comparisons_without_p_do_not_count_in_the_family() -> None:
    assert holm([0.01, None, 0.04, float("nan")]) == [0.02, None, 0.04, None]
    assert holm([]) == []
    assert holm([None]) == [None]
    with pytest.raises(InputError, match="0 to 1"):
        holm([0.5, 1.2])
