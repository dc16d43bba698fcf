"""Whole cross-validations on arrays: what is found, what is not, and that the same input gives the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gliolake.errors import InputError
from gliolake.modeling.data.folds import LeakingSplit
from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.crossval import Result, cross_validate, cross_validate_all
from gliolake.modeling.evaluation.summaries import MetricSummary, of_result
from gliolake.modeling.models.fitting import steps
from gliolake.modeling.models.settings import MODELS, defaults, with_options


def planted(scans: int, signal: float, seed: int = 0, missing: float = 0.0, name: str = "patient") -> Scans:
    """Correlated noise with a direction, the same in all branches, along which the classes differ."""
    stream = np.random.default_rng(seed)
    direction = np.random.default_rng(99).standard_normal(400)
    labels = np.arange(scans) % 2 == 0
    common = stream.standard_normal((scans, 5, 20)) @ np.random.default_rng(98).standard_normal((20, 400)) / 4
    values = common + stream.standard_normal((scans, 5, 400))
    values += signal * np.where(labels, 1, -1)[:, None, None] * direction
    values[stream.random((scans, 5)) < missing] = np.nan
    return Scans(values.astype(np.float32), labels, np.array([f"{name} {i}" for i in range(scans)]))


def summary_of(result: Result, split: str, metric: str) -> MetricSummary:
    return next(one for one in of_result(result, seed=0) if (one.split, one.metric) == (split, metric))


@pytest.mark.parametrize("model", ["snn", "mlp", "logistic"])
def test_a_planted_signal_is_found_in_ninety_patients_and_beyond(model: str) -> None:
    ended = []
    result = cross_validate(
        planted(90, 0.5, missing=0.05), model, external=planted(40, 0.5, seed=5, name="other"),
        settings=with_options(model, None, 60), repeats=1, advance=lambda: ended.append(1),
    )  # fmt: skip
    for split in ("internal", "external"):
        mean = summary_of(result, split, "auc").mean
        assert mean is not None
        assert mean > 0.9, split
    assert len(ended) == steps(result.settings, 1, 5)


@pytest.mark.parametrize("model", ["mlp", "logistic"])
def test_shuffled_labels_give_an_auc_whose_interval_holds_one_half(model: str) -> None:
    scans = planted(60, 0.5, seed=3)
    shuffled = replace(scans, labels=np.random.default_rng(4).permutation(scans.labels))
    result = cross_validate(shuffled, model, settings=with_options(model, None, 30), repeats=2)
    summary = summary_of(result, "internal", "auc")
    assert summary.ci_low is not None
    assert summary.ci_high is not None
    assert summary.ci_low < 0.5 < summary.ci_high


def test_choosing_the_epoch_on_the_test_part_flatters_on_noise() -> None:
    result = cross_validate(planted(150, 0.0, seed=6), "mlp", settings=with_options("mlp", None, 40), repeats=4)
    optimism = summary_of(result, "internal", "auc").optimism
    assert optimism is not None
    assert optimism > 0.01
    brier = summary_of(result, "internal", "brier").optimism
    assert brier is not None
    assert brier < 0, "less is better"


@pytest.mark.parametrize("model", MODELS)
def test_the_same_input_gives_the_same_bits_on_one_thread_and_on_three(model: str) -> None:
    scans, external = planted(40, 0.2, missing=0.1), planted(10, 0.2, seed=8, name="other")
    settings = replace(with_options(model, None, 3), c_grid=(1e-3, 1e-2))
    one, three, again = (
        cross_validate(scans, model, external=external, settings=settings, repeats=1, threads=threads).answer
        for threads in (1, 3, 3)
    )
    for other in (three, again):
        assert np.array_equal(one.probability, other.probability, equal_nan=True)
        assert np.array_equal(one.test_selected, other.test_selected, equal_nan=True)
        assert one.selection == other.selection


@pytest.mark.parametrize("model", ["snn", "mlp", "logistic"])
def test_a_test_part_cannot_reach_the_model_that_predicts_it(model: str) -> None:
    scans = planted(40, 0.3)
    settings = replace(with_options(model, None, 3), c_grid=(1e-3, 1e-2))
    before = cross_validate(scans, model, settings=settings, repeats=1)
    fold = before.folds[0]
    victim, others = fold.test[0], fold.test[1:]
    values = scans.values.copy()
    values[victim] = 1e3
    labels = scans.labels.copy()
    after = cross_validate(replace(scans, values=values, labels=labels), model, settings=settings, repeats=1)
    assert np.array_equal(before.answer.probability[0, others], after.answer.probability[0, others])
    assert before.answer.probability[0, victim] != after.answer.probability[0, victim]
    assert not np.array_equal(before.answer.probability[1], after.answer.probability[1], equal_nan=True)


@pytest.mark.parametrize("model", MODELS)
def test_a_fit_is_the_same_bits_whatever_is_trained_beside_it(model: str) -> None:
    scans = planted(53, 0.3, missing=0.05)
    settings = replace(with_options(model, None, 3), c_grid=(1e-3, 1e-2), ensemble_size=2 if model == "mlp" else 1)
    pairs = [("FLAIR", "T2"), ("T1", "T1wCE")]
    variants = [replace(settings, branches=branches) for branches in pairs]
    beside = cross_validate_all(scans, model, variants, repeats=3)
    for variant, many in zip(variants, beside, strict=True):
        alone = cross_validate(scans, model, settings=variant, repeats=3, only=[1])
        assert [fold.repeat for fold in alone.folds] == [1] * 5
        assert np.array_equal(many.answer.probability[5:10], alone.answer.probability, equal_nan=True)
        chosen = "C" if model == "logistic" else "epoch"
        assert many.answer.selection[chosen][5:10] == alone.answer.selection[chosen]


def test_fits_end_one_after_the_other_though_somebody_holds_on_to_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = planted(30, 0.0)
    settings = replace(with_options("mlp", None, 60), patience=3)
    alone = cross_validate(scans, "mlp", settings=settings, repeats=1)
    assert len(set(alone.answer.selection["epoch"])) > 1
    held, plain = [], torch.Tensor.backward

    def backward(loss: torch.Tensor) -> None:
        held[:] = [loss]
        plain(loss)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    watched = cross_validate(scans, "mlp", settings=settings, repeats=1)
    assert held
    assert np.array_equal(watched.answer.probability, alone.answer.probability, equal_nan=True)


def test_every_scan_is_predicted_once_per_repeat_and_external_ones_by_every_fit() -> None:
    external = planted(7, 0.2, seed=8, name="other")
    settings = with_options("mlp", None, 2)
    result = cross_validate(planted(30, 0.2), "mlp", external=external, settings=settings, repeats=2)
    there = np.isfinite(result.answer.probability)
    assert (there[:, :30].sum(0) == 2).all()
    assert there[:, 30:].all()


def test_scans_without_the_chosen_branches_take_no_part() -> None:
    scans = planted(30, 0.2)
    scans.values[:3, 2] = np.nan
    scans.values[5, 2, 7] = np.inf
    result = cross_validate(scans, "mlp", settings=with_options("mlp", None, 2), repeats=1)
    assert np.flatnonzero(~result.kept).tolist() == [0, 1, 2, 5]
    assert result.answer.probability.shape == (5, 26)
    attended = cross_validate(scans, "snn", settings=with_options("snn", ("T1wCE", "T1"), 2), repeats=1)
    assert attended.kept.all()
    assert attended.answer.attention is not None
    rows = np.isfinite(attended.answer.probability)
    weights = attended.answer.attention[rows]
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert (weights[~attended.present[np.nonzero(rows)[1]]] == 0).all()


def test_what_cannot_be_trained_is_refused_by_name() -> None:
    scans = planted(20, 0.2)
    with pytest.raises(InputError, match="no model named 'sn'") as error:
        cross_validate(scans, "sn")
    assert "snn" in error.value.hint
    with pytest.raises(InputError, match="no modality named 'T1ce'") as error:
        with_options("snn", ("T1ce",), None)
    assert "T1wCE" in error.value.hint
    with pytest.raises(InputError, match="0 epochs"):
        with_options("snn", None, 0)
    with pytest.raises(InputError, match="expected"):
        Scans(scans.values[:, :4], scans.labels, scans.patients)
    with pytest.raises(InputError, match="No training scan has any of the branches T1wCE"):
        cross_validate(replace(scans, values=np.full_like(scans.values, np.nan)), "mlp")
    with pytest.raises(LeakingSplit, match="first patient 0"):
        cross_validate(scans, "mlp", external=planted(4, 0.2), settings=replace(defaults("mlp"), epochs=1))


TRAINED = """
import hashlib
from dataclasses import replace

import numpy as np

from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.crossval import cross_validate
from gliolake.modeling.models.settings import defaults

stream = np.random.default_rng(5)
labels = np.arange(96) % 2 == 0
values = stream.standard_normal((96, 5, 400), np.float32) + 0.2 * labels[:, None, None]
scans = Scans(values.astype(np.float32), labels, np.array([f"patient {n}" for n in range(96)]))
settings = replace(defaults("snn"), epochs=100)
result = cross_validate(scans, "snn", settings=settings, repeats=1)
print(hashlib.sha256(result.answer.probability.tobytes()).hexdigest())
"""


@pytest.mark.long
def test_loops_compiled_just_now_and_loops_kept_from_before_give_the_same_bits(tmp_path: Path) -> None:
    kept = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    digests = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", TRAINED], env=kept, capture_output=True, encoding="utf-8", check=True, timeout=300
        )
        digests.append(run.stdout)
    assert list(tmp_path.rglob("*.nbc"))
    assert digests[0] == digests[1]
