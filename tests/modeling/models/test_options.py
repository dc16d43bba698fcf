"""The options of training: masked branches, modality drop-out, class weights, temperature, ensembles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.crossval import Result, cross_validate
from gliolake.modeling.evaluation.scores import auc
from gliolake.modeling.models.calibration import LIMITS, temperature, tempered
from gliolake.modeling.models.logistic import log_loss
from gliolake.modeling.models.problem import CVPredictions
from gliolake.modeling.models.settings import MODELS, Settings, defaults
from gliolake.modeling.models.siamese import training
from gliolake.modeling.models.siamese.branch import Inputs

NAMES = ("FLAIR", "T1", "T2")
NETWORKS = [model for model in MODELS if model != "logistic"]


def made(scans: int, seed: int = 0, name: str = "patient", every: int = 2, signal: float = 0.1) -> Scans:
    """Scans of three branches with a signal; one scan in ``every`` is methylated, and a few branches are missing."""
    stream = np.random.default_rng(seed)
    labels = np.arange(scans) % every == 0
    values = stream.standard_normal((scans, 3, 400), np.float32)
    values += np.where(labels, signal, -signal)[:, None, None] * np.random.default_rng(99).standard_normal(400)
    values[np.arange(3, scans, 7), np.arange(3, scans, 7) % 3] = np.nan
    return Scans(values.astype(np.float32), labels, np.array([f"{name} {i}" for i in range(scans)]), NAMES)


def quick(model: str) -> Settings:
    settings = replace(defaults(model), branches=NAMES, epochs=3, c_grid=(1e-3, 1e-2))
    return replace(settings, batch=16, ensemble_size=1, learning_rate=max(settings.learning_rate, 1e-3))


def run(model: str, settings: Settings, scans: Scans | None = None, external: Scans | None = None) -> Result:
    return cross_validate(scans or made(60), model, settings=settings, external=external, repeats=1, threads=1)


def mean_probability(result: Result) -> float:
    return float(np.nanmean(result.answer.probability))


@pytest.mark.parametrize("model", MODELS)
def test_masked_branches_are_predicted_without_as_if_they_were_missing(model: str) -> None:
    external = made(12, 1, "other")
    without = external.values.copy()
    without[:, 1] = np.nan
    masked_branches = run(model, replace(quick(model), masked_branches=("T1",)), external=external)
    missing = run(model, quick(model), external=replace(external, values=without))
    rows = masked_branches.external
    assert np.array_equal(masked_branches.answer.probability[:, rows], missing.answer.probability[:, rows])
    assert masked_branches.answer.selection == missing.answer.selection, "it was trained on all of them"
    whole = run(model, quick(model), external=external)
    assert not np.array_equal(masked_branches.answer.probability[:, rows], whole.answer.probability[:, rows])


@pytest.mark.parametrize("model", NETWORKS)
def test_modality_dropout_changes_the_training_and_not_who_is_predicted(model: str) -> None:
    plain, dropped = (run(model, replace(quick(model), modality_dropout=share)) for share in (0.0, 0.5))
    there = np.isfinite(plain.answer.probability)
    assert np.array_equal(np.isfinite(dropped.answer.probability), there)
    assert not np.array_equal(dropped.answer.probability[there], plain.answer.probability[there])
    assert np.array_equal(dropped.present, plain.present), "all branches are shown when it predicts"


def test_modality_dropout_leaves_a_scan_one_of_its_branches_at_least() -> None:
    stream = np.random.default_rng(0)
    present = stream.random((2, 500, 3)) < 0.7
    present[0, :3], present[0, 3] = np.eye(3, dtype=np.bool_), False
    nothing = np.zeros(0, np.float32)
    inputs = Inputs(nothing, nothing, present, nothing, nothing)
    for share in (0.3, 0.999):
        left = training._without_some(inputs, share, [np.random.default_rng([1, fit]) for fit in (0, 1)]).present
        assert not (left & ~present).any(), "none is made up"
        assert np.array_equal(left.any(-1), present.any(-1))
        many = present.sum(-1) == 3
        # Of three, each stays with the share that is not masked; when all would go, one stays after all.
        assert left[many].mean() == pytest.approx(1 - share + share**3 / 3, abs=0.05)


@pytest.mark.parametrize("model", MODELS)
def test_balanced_classes_raise_the_mean_probability_where_few_are_methylated(model: str) -> None:
    scans = made(80, every=5, signal=0.05)
    # A network that knows its scans by heart, as this one does soon, has no use for their weights.
    settings = replace(quick(model), epochs=3 if model == "snn_lowrank" else 15)
    plain, balanced = (mean_probability(run(model, replace(settings, balanced=each), scans)) for each in (False, True))
    assert plain < balanced - 0.05
    assert abs(balanced - 0.5) < abs(plain - 0.5)


def told(sureness: float, scans: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are ``sureness`` times those by which the labels were drawn, and the labels."""
    stream = np.random.default_rng(seed)
    true = stream.normal(0, 1.5, scans)
    return expit(sureness * true), stream.random(scans) < expit(true)


@pytest.mark.parametrize("sureness", [4.0, 0.3])
def test_the_temperature_undoes_too_much_and_too_little_sureness(sureness: float) -> None:
    found = temperature(*told(sureness))
    assert found == pytest.approx(sureness, rel=0.25)
    assert (found > 1) == (sureness > 1)


def test_a_tempered_answer_keeps_the_order_and_its_held_out_log_loss_is_less() -> None:
    probability, labels = told(4.0)
    validation_probability, asked = np.where(np.arange(400) < 200, [[1.0], [np.nan]], [[np.nan], [1.0]]) * probability
    before = CVPredictions(asked[None], asked[None], validation_probability[None], None, {"epoch": [3]})
    after = tempered(before, labels)
    rows = np.flatnonzero(np.isfinite(asked))
    assert np.array_equal(np.isfinite(after.probability[0]), np.isfinite(asked))
    assert auc(labels[rows], after.probability[0, rows]) == auc(labels[rows], asked[rows])
    assert log_loss(after.probability[:, rows], labels[rows]) < log_loss(asked[None, rows], labels[rows]) - 0.05
    assert after.selection["epoch"] == [3]
    assert after.selection["temperature"] == [temperature(validation_probability[:200], labels[:200])]


@pytest.mark.parametrize("probability", [0.0, 0.5, 0.9, 1.0])
def test_constant_probabilities_have_a_temperature_within_the_limits(probability: float) -> None:
    labels = np.arange(10) < 5
    found = temperature(np.full(10, probability), labels)
    assert LIMITS[0] <= found <= LIMITS[1]
    answer = tempered(CVPredictions(*(np.full((1, 10), probability) for _ in range(3))), labels)
    assert len(np.unique(answer.probability)) == 1
    assert log_loss(answer.probability, labels) <= log_loss(np.full((1, 10), probability), labels)


def test_where_nothing_was_held_out_the_temperature_is_one() -> None:
    assert temperature(np.zeros(0), np.zeros(0, np.bool_)) == 1
    probability = np.array([[0.2, 0.7]])
    answer = tempered(CVPredictions(probability, probability, np.full((1, 2), np.nan)), np.array([True, False]))
    np.testing.assert_allclose(answer.probability, probability)


@pytest.mark.parametrize("model", MODELS)
def test_calibration_leaves_every_folds_auc_as_it_was(model: str) -> None:
    plain, calibrated = (run(model, replace(quick(model), calibrated=each)) for each in (False, True))
    aucs = [[one.value for one in result.figures if one.metric == "auc"] for result in (plain, calibrated)]
    assert aucs[0] == aucs[1]
    assert len(calibrated.answer.selection["temperature"]) == 5
    assert not np.array_equal(plain.answer.probability, calibrated.answer.probability, equal_nan=True)


@pytest.mark.parametrize("model", NETWORKS)
def test_members_are_averaged_and_the_first_is_the_one_that_trains_alone(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd: list[CVPredictions] = []
    averaged = training._averaged

    def overheard(answer: CVPredictions, ensemble_size: int) -> CVPredictions:
        crowd.append(answer)
        return averaged(answer, ensemble_size)

    monkeypatch.setattr(training, "_averaged", overheard)
    three = run(model, replace(quick(model), ensemble_size=3)).answer
    each = crowd[0].probability.reshape(5, 3, -1)
    np.testing.assert_array_equal(three.probability, each.mean(1))
    np.testing.assert_array_equal(each[:, 0], run(model, quick(model)).answer.probability)
    rows = np.isfinite(each[0, 0])
    assert len({each[0, member, rows].tobytes() for member in range(3)}) == 3
    assert [len(epochs) for epochs in three.selection["epoch"]] == [3] * 5
