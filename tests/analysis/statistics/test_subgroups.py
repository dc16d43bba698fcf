"""Subgroups by hand, and groups that say nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gliolake.analysis.statistics.subgroups import age_bands, subgroups
from gliolake.errors import InputError
from gliolake.modeling.evaluation.bootstrap import patient_bootstrap, weighted_auc
from gliolake.modeling.evaluation.scores import auc


def cohort() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """120 scans of 100 patients, most of them at sites A and B, three at C, and some nowhere."""
    stream = np.random.default_rng(5)
    patients = np.r_[np.arange(100), np.arange(20)]
    labels = (stream.random(100) > 0.45)[patients]
    site = np.array(["A"] * 45 + ["B"] * 45 + ["C"] * 3 + [None] * 7, object)[patients]
    return labels, 0.5 * labels + stream.random(120), patients, site


def test_each_group_has_its_own_auc_interval_and_counts() -> None:
    labels, scores, patients, site = cohort()
    rows = {row.group: row for row in subgroups(labels, scores, patients, site, seed=0)}
    assert list(rows) == ["A", "B", "C", "unknown"]
    of = site == "A"
    found = patient_bootstrap(weighted_auc(labels[of], scores[of]), patients[of], seed=0)
    assert (rows["A"].scans, rows["A"].patients, rows["A"].positive) == (65, 45, labels[of].sum())
    assert rows["A"].auc == pytest.approx(auc(labels[of], scores[of]))
    assert (rows["A"].ci_low, rows["A"].ci_high, rows["A"].note) == (found.ci_low, found.ci_high, None)


def test_a_row_does_not_depend_on_the_other_groups() -> None:
    labels, scores, patients, site = cohort()
    of = site == "B"
    alone = subgroups(labels[of], scores[of], patients[of], site[of], seed=0)
    assert alone[0] in subgroups(labels, scores, patients, site, seed=0)


def test_a_group_too_small_says_so_instead_of_an_auc() -> None:
    labels, scores, patients, site = cohort()
    small = subgroups(labels, scores, patients, site, seed=0)[2]
    assert (small.scans, small.auc, small.ci_low) == (3, None, None)
    methylated = int(labels[site == "C"].sum())
    assert small.note == f"{methylated} methylated and {3 - methylated} unmethylated patients; 10 of each are needed"
    one_class = subgroups(labels[labels], scores[labels], patients[labels], site[labels], seed=0)
    assert {row.auc for row in one_class} == {None}
    assert one_class[0].note is not None
    assert "and 0 unmethylated" in one_class[0].note


def test_many_scans_of_few_patients_are_still_few_patients() -> None:
    labels = np.arange(60) % 2 == 0
    row = subgroups(labels, np.arange(60), np.arange(60) % 4, ["M"] * 60, seed=0)[0]
    assert (row.scans, row.patients, row.auc) == (60, 4, None)


def test_a_group_that_resamples_often_miss_a_class_of_has_no_interval() -> None:
    labels = np.arange(20) < 2
    row = subgroups(labels, np.arange(20) % 7, np.arange(20), ["G4"] * 20, seed=0, smallest=2)[0]
    assert row.auc is not None
    assert row.ci_low is None
    assert row.note is not None
    assert "of the resamples have both classes" in row.note


def test_missing_groups_are_one_group() -> None:
    rows = subgroups([0, 1, 1, 0], [1, 2, 3, 4], list("abcd"), [None, float("nan"), "", 3.0], seed=0, smallest=1)
    assert [(row.group, row.scans) for row in rows] == [("3.0", 1), ("unknown", 3)]


def test_ages_fall_into_bands_of_completed_years_that_sort() -> None:
    found = age_bands([0, 49.9, 50, 64, 65, 103, None, float("nan")])
    assert found == ["0–49", "0–49", "50–64", "50–64", "65+", "65+", None, None]
    assert age_bands([40, 60], edges=()) == ["0+", "0+"]
    with pytest.raises(InputError, match="-1 years"):
        age_bands([30, -1, None])
    with pytest.raises(InputError, match="65, 50"):
        age_bands([30], edges=(65, 50))


def test_groups_that_do_not_fit_the_scans_are_refused() -> None:
    with pytest.raises(InputError, match="1 groups for 2 scans"):
        subgroups([0, 1], [0.1, 0.2], ["a", "b"], ["M"], seed=0)
    with pytest.raises(InputError, match="at least 1"):
        subgroups([0, 1], [0.1, 0.2], ["a", "b"], ["M", "F"], seed=0, smallest=0)
