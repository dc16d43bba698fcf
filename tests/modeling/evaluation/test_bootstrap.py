"""The patient bootstrap against one written out and scikit-learn; folds; its memory; its silences."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from gliolake.errors import InputError
from gliolake.modeling.evaluation import bootstrap
from gliolake.modeling.evaluation.bootstrap import over_folds, patient_bootstrap, weighted_auc
from gliolake.modeling.evaluation.scores import METRICS, auc, bootstrap_interval, scores


def cohort(patients: int = 60, scans: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions with ties and patients."""
    stream = np.random.default_rng(4)
    labels = np.repeat(stream.random(patients) > 0.4, scans)
    probability = np.clip(0.4 + 0.2 * labels + 0.2 * stream.standard_normal(len(labels)), 0, 1).round(2)
    return labels, probability, np.repeat([f"p{i}" for i in range(patients)], scans)


ROWS = st.lists(st.tuples(st.booleans(), st.integers(-4, 4), st.integers(0, 3)), min_size=1, max_size=30)


@given(ROWS)
def test_the_weighted_auc_counts_a_scan_as_often_as_it_was_drawn(rows: list[tuple[bool, int, int]]) -> None:
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    found = weighted_auc(labels, scores)(weights[None].astype(np.float64))
    repeated = auc(np.repeat(labels, weights), np.repeat(scores, weights))
    assert np.isnan(found[0]) if repeated is None else found[0] == pytest.approx(repeated)
    moved = weighted_auc(labels, np.exp(scores / 3))(weights[None].astype(np.float64))
    assert np.array_equal(found, moved, equal_nan=True)


def test_the_weighted_auc_agrees_with_scikit_learn() -> None:
    labels, probability, _ = cohort()
    weights = np.random.default_rng(0).random((3, len(labels)))
    by_hand = [roc_auc_score(labels, probability, sample_weight=w) for w in weights]
    assert weighted_auc(labels, probability)(weights) == pytest.approx(by_hand)


def test_the_interval_is_the_one_that_training_reports() -> None:
    labels, probability, patients = cohort()
    found = patient_bootstrap(weighted_auc(labels, probability), patients, seed=(7, METRICS.index("auc")))
    value = auc(labels, probability)
    summary = bootstrap_interval([value], "auc", labels, probability[None], patients, seed=7)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((value, summary.ci_low, summary.ci_high))
    assert found.shown == 1


def test_chunks_change_nothing_and_a_seed_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probability, patients = cohort()
    statistic = weighted_auc(labels, probability)
    whole = patient_bootstrap(statistic, patients, seed=1)
    assert patient_bootstrap(statistic, patients, seed=2) != whole
    monkeypatch.setattr(bootstrap, "CHUNK", 7 * len(labels) + 1)
    assert patient_bootstrap(statistic, patients, seed=1) == whole


def test_memory_does_not_grow_with_the_resamples() -> None:
    labels, probability, patients = cohort(patients=5000, scans=1)
    tracemalloc.start()
    patient_bootstrap(weighted_auc(labels, probability), patients, seed=0, resamples=1200)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 8 * bootstrap.CHUNK  # all at once: 8 times as much


def test_patients_come_and_go_as_a_whole() -> None:
    labels, probability, patients = cohort(scans=1)
    single = patient_bootstrap(weighted_auc(labels, probability), patients, seed=0)
    # Every scan ten times over: no more patients, so no narrower.
    tenfold = patient_bootstrap(weighted_auc(*np.tile((labels, probability), 10)), np.tile(patients, 10), seed=0)
    assert (tenfold.ci_low, tenfold.ci_high) == pytest.approx((single.ci_low, single.ci_high))


def test_a_mean_over_folds_counts_each_fold_on_the_scans_it_predicted() -> None:
    labels, probability, _ = cohort()
    of_fold = np.stack([np.where(np.arange(120) % 3 == fold, probability, np.nan) for fold in range(3)])
    weights = np.random.default_rng(2).integers(0, 4, (4, 120)).astype(np.float64)
    for metric in METRICS:
        found = over_folds(metric, labels, of_fold)(weights)
        for row, value in zip(weights.astype(int), found, strict=True):
            by_hand = []
            for fold in range(3):
                drawn = np.repeat(np.arange(fold, 120, 3), row[fold::3])
                by_hand.append(scores(labels[drawn], probability[drawn])[metric])
            assert value == pytest.approx(np.mean([one for one in by_hand if one is not None]))
    nobody = over_folds("auc", labels, np.where(labels, of_fold, np.nan))
    assert np.isnan(nobody(weights)).all()


def test_what_resamples_cannot_show_has_no_interval() -> None:
    labels, probability, patients = cohort(scans=1)
    one_class = patient_bootstrap(weighted_auc(np.ones(60), probability), patients, seed=0)
    assert (one_class.value, one_class.ci_low) == (None, None)
    one_patient = patient_bootstrap(weighted_auc(labels, probability), np.zeros(60), seed=0)
    assert (one_patient.value, one_patient.ci_low) == (auc(labels, probability), None)
    # One methylated patient of 60 is missing from a third of the resamples.
    rare = patient_bootstrap(weighted_auc(np.arange(60) == 0, probability), patients, seed=0)
    assert rare.ci_low is None
    assert rare.shown == pytest.approx(1 - np.exp(-1), abs=0.03)
    constant = patient_bootstrap(weighted_auc(labels, np.zeros(60)), patients, seed=0)
    assert (constant.value, constant.ci_low, constant.ci_high) == (0.5, 0.5, 0.5)


def test_no_scans_and_no_resamples_are_refused() -> None:
    labels, probability, patients = cohort()
    with pytest.raises(InputError, match="no scans"):
        patient_bootstrap(lambda w: w.sum(1), [], seed=0)
    with pytest.raises(InputError, match="0 resamples"):
        patient_bootstrap(weighted_auc(labels, probability), patients, seed=0, resamples=0)
