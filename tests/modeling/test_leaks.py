"""The proof of honesty, for every model: what is not there is not found, and a split that leaks is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from gliolake.modeling.data.folds import Fold, LeakingSplit, cut_folds
from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation import crossval
from gliolake.modeling.evaluation.crossval import cross_validate
from gliolake.modeling.evaluation.scores import auc
from gliolake.modeling.models.fitting import fit_model
from gliolake.modeling.models.problem import FitInputs
from gliolake.modeling.models.settings import MODELS, Settings, defaults
from tests.support.full import ALL_EXAMPLES

SHUFFLES, PLANTED, CHANCE = (40, 20, 0.03) if ALL_EXAMPLES else (10, 5, 0.06)
"""How many deals of labels are tried, how often a label is planted, and how far from one half a mean AUC may lie by
chance; its standard deviation is about a quarter of that."""

SCANS = 200
NAMES = ("T1", "T1wCE")
FEATURE = np.sign(np.sin(np.arange(400) * 2 * np.pi / 80 + 0.3)) / 20
"""A direction of unit length, wide enough for filters of five taps to see."""


def quick(model: str) -> Settings:
    """The model's settings, but two branches and few, large steps."""
    settings = replace(defaults(model), branches=NAMES)
    if model == "logistic":
        return replace(settings, c_grid=(1e-3,))
    few = {"epochs": 4, "batch": 32, "ensemble_size": 1, "learning_rate": max(settings.learning_rate, 2e-3)}
    return replace(settings, hidden=tuple(min(width, 16) for width in settings.hidden), **few)


def noise(seed: int, scans: int = SCANS) -> np.ndarray:
    """Vectors (n, 2, 400) float32 with nothing in them."""
    return np.random.default_rng(seed).standard_normal((scans, 2, 400), np.float32)


def with_label(values: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Values whose component along ``FEATURE`` says the label, in some of the rows alone."""
    out = values.copy()
    own = values[rows] @ FEATURE
    out[rows] += (4 * np.where(labels[rows], 1, -1)[:, None] - own)[..., None] * FEATURE
    return out


def scans_of(values: np.ndarray, labels: np.ndarray) -> Scans:
    return Scans(values, labels, np.array([f"patient {i}" for i in range(len(labels))]), NAMES)


def aucs(model: str, labels: np.ndarray, folds: Sequence[Fold], copies: Sequence[np.ndarray], seed: int) -> list[float]:
    """AUC of each fold on its test part, each trained and tested on a copy of the values of its own."""
    n, many = len(labels), len(folds)
    moved = [
        replace(fold, fitting=fold.fitting + f * n, validation=fold.validation + f * n, test=fold.test + f * n)
        for f, fold in enumerate(folds)
    ]
    patients = np.array([f"patient {i}" for i in range(n * many)])
    problem = FitInputs(
        np.concatenate(copies), np.ones((n * many, 2), np.bool_), np.tile(labels, many), patients, moved,
        np.tile([0, 1], (many, 1)), max(len(fold.fitting) for fold in folds), n * many, quick(model), seed, 1,
    )  # fmt: skip
    (answer,) = fit_model(model, problem, [np.zeros(2, np.bool_)], lambda: None)
    found = [auc(problem.labels[fold.test], answer.probability[f, fold.test]) for f, fold in enumerate(moved)]
    return [one for one in found if one is not None]


@pytest.mark.parametrize("model", MODELS)
def test_shuffled_labels_are_not_found(model: str) -> None:
    """Every shuffle is dealt to other folds: with the same ones the deal would tie a label to a scan's place."""
    found = []
    for shuffle in range(SHUFFLES):
        labels = np.random.default_rng([1, shuffle]).permutation(np.arange(SCANS) % 2 == 0)
        scans = scans_of(noise(shuffle // 4), labels)
        result = cross_validate(scans, model, settings=quick(model), repeats=1, seed=shuffle, threads=1)
        found += [one.value for one in result.figures if one.metric == "auc" and one.value is not None]
    assert len(found) == SHUFFLES * 5
    assert np.mean(found) == pytest.approx(0.5, abs=CHANCE)


@pytest.mark.parametrize("model", MODELS)
def test_a_label_planted_in_the_test_part_is_not_found_and_one_planted_everywhere_is(model: str) -> None:
    """The label is planted, and its opposite in a second copy: without a leak both copies have the same model, and what
    it makes of the feature by chance is for one copy what it is against the other."""
    labels = np.arange(SCANS) % 2 == 0
    everywhere = np.arange(SCANS)
    unseen, seen = [], []
    for seed in range(PLANTED):
        folds = [
            fold for fold in cut_folds(labels, everywhere.astype(str), repeats=1, folds=2, seed=seed) for _ in range(2)
        ]
        values = [noise(2 * seed + f // 2) for f in range(4)]
        said = [labels, ~labels] * 2
        copies = [with_label(*of, fold.test) for *of, fold in zip(values, said, folds, strict=True)]
        unseen += aucs(model, labels, folds, copies, seed)
        if seed < 3:
            copies = [with_label(*of, everywhere) for of in zip(values, said, strict=True)]
            seen += aucs(model, labels, folds, copies, seed)
    assert len(unseen) == PLANTED * 4
    assert np.mean(unseen) == pytest.approx(0.5, abs=CHANCE)
    assert np.mean(seen) > 0.85


@pytest.mark.parametrize("side", ["test", "validation"])
@pytest.mark.parametrize("model", MODELS)
def test_a_patient_split_by_hand_within_a_fold_is_refused(
    model: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(40) % 2 == 0
    scans = scans_of(noise(0, 40), labels)
    folds = cut_folds(labels, scans.patients, repeats=1, folds=5, seed=0)
    scans.patients[[folds[3].fitting[0], getattr(folds[3], side)[0]]] = "patient AB"
    monkeypatch.setattr(crossval, "cut_folds", lambda *_, **__: folds)
    with pytest.raises(LeakingSplit, match=r"both the fitting and the \w+ part, first patient AB"):
        cross_validate(scans, model, settings=quick(model), repeats=1)


@pytest.mark.parametrize("model", MODELS)
def test_a_patient_with_one_scan_in_training_and_one_in_external_is_refused(model: str) -> None:
    labels = np.arange(40) % 2 == 0
    external = replace(scans_of(noise(1, 2), labels[:2]), patients=np.array(["other", "patient 7"]))
    with pytest.raises(LeakingSplit, match="both in training and external, first patient 7"):
        cross_validate(scans_of(noise(0, 40), labels), model, settings=quick(model), external=external, repeats=1)


@pytest.mark.parametrize("model", MODELS)
def test_labels_of_the_test_part_change_no_bit_of_its_predictions(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(60) % 2 == 0
    scans = scans_of(with_label(noise(0, 60), labels, np.arange(0, 60, 5)), labels)
    folds = cut_folds(labels, scans.patients, repeats=1, folds=5, seed=0)
    monkeypatch.setattr(crossval, "cut_folds", lambda *_, **__: folds)
    settings = replace(quick(model), c_grid=(1e-5, 1e-1), epochs=20, learning_rate=2e-3)
    turned = labels.copy()
    turned[folds[0].test] ^= True
    before, after = (
        cross_validate(replace(scans, labels=each), model, settings=settings, repeats=1).answer
        for each in (labels, turned)
    )
    assert np.array_equal(before.probability[0], after.probability[0], equal_nan=True)
    assert not np.array_equal(before.test_selected[0], after.test_selected[0], equal_nan=True), "peeking would have"
