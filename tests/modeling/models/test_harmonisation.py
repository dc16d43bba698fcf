"""Site harmonisation: the numbers of ComBat, what it repairs, and that it learns from a fold's training part alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gliolake.errors import InputError
from gliolake.modeling.data.inputs import read_cohorts
from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.crossval import Result, cross_validate, cross_validate_all
from gliolake.modeling.models.fitting import steps
from gliolake.modeling.models.harmonisation import fit_combat, harmonised
from gliolake.modeling.models.settings import Settings, defaults
from gliolake.storage.lake import Lake

ONE = {"logistic": replace(defaults("logistic"), c_grid=(1e-3,)), "mlp": replace(defaults("mlp"), epochs=3)}
"""Settings that train fast."""


def shifted(scans: int, shift: float, seed: int = 0, name: str = "patient") -> Scans:
    """Scans of two sites whose classes differ along a direction, along which one site lies towards methylated."""
    stream = np.random.default_rng(seed)
    direction = np.random.default_rng(99).standard_normal(400) / 20
    labels, east = np.arange(scans) % 2 == 0, np.arange(scans) // 2 % 2 == 0
    values = stream.standard_normal((scans, 1, 400))
    values += (np.where(labels, 1.5, -1.5) + shift * east)[:, None, None] * direction
    patients = np.array([f"{name} {i}" for i in range(scans)])
    return Scans(values.astype(np.float32), labels, patients, ("T1wCE",), np.where(east, "east", "west"))


def with_combat(settings: Settings) -> Settings:
    return replace(settings, harmonise="combat")


def mean_auc(result: Result, split: str = "internal") -> float:
    return float(np.mean([one.value for one in result.figures if (one.split, one.metric) == (split, "auc")]))


def test_the_numbers_are_those_of_neurocombat() -> None:
    n = np.arange(10)
    sites = np.array(list("aaaabbbccc"))
    values = np.sin(np.outer(n + 1, [1, 2, 3, 4])) * [1, 2, 1, 3] + np.outer(sites == "b", [0, 1, -1, 2])
    values += 2 * (sites == "c")[:, None] * np.cos(np.outer(n, [1, 2, 3, 4]))
    # What neuroCombat 0.2.12 gives for these; it stops its iteration at changes of 1e-4.
    expected = [
        [0.97385, 2.10565, 0.11316, -1.99974],
        [1.06642, -1.9612, -0.50169, 3.4308],
        [0.01796, -0.79592, 0.50938, -1.31483],
        [-1.20759, 2.30107, -0.87767, -0.54147],
        [-1.02834, -0.58783, -0.24363, 3.54263],
        [-0.25936, -0.57179, -1.76765, -1.47535],
        [0.80035, 2.71828, -0.04094, 1.77101],
        [1.62931, 0.16993, -1.25536, 0.22465],
        [0.22372, -1.73049, 0.99281, -0.45418],
        [-1.24775, 2.27405, -1.0021, 1.69921],
    ]
    np.testing.assert_allclose(fit_combat(values, sites).apply(values, sites), expected, atol=2e-5)


def test_a_feature_that_only_tells_the_site_is_levelled_and_one_that_never_varies_stays() -> None:
    values = np.random.default_rng(0).standard_normal((12, 4))
    sites = np.repeat(["east", "west"], 6)
    values[:, 0], values[:, 1] = 7, np.where(sites == "east", 2, 4)
    out = fit_combat(values, sites).apply(values, sites)
    np.testing.assert_allclose(out[:, :2], [[7, 3]] * 12)
    copies = np.vstack((values, values[:1], values[:1]))
    named = np.append(sites, ["copied", "copied"])
    assert np.isfinite(fit_combat(copies, named).apply(copies, named)).all()


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_a_site_that_looks_methylated_no_longer_hides_who_is(model: str) -> None:
    scans, settings = shifted(160, 6), replace(ONE[model], epochs=20 * (model == "mlp"))
    plain, cleared = (
        cross_validate(scans, model, settings=each, repeats=2) for each in (settings, with_combat(settings))
    )
    assert mean_auc(plain) < 0.75
    assert mean_auc(cleared) > mean_auc(plain) + 0.1


def test_external_scans_of_a_training_site_are_cleared_by_what_training_told_of_it() -> None:
    scans, beyond = shifted(160, 6), shifted(80, 6, seed=1, name="other")
    plain, cleared = (
        cross_validate(scans, "logistic", settings=each, external=beyond, repeats=1)
        for each in (ONE["logistic"], with_combat(ONE["logistic"]))
    )
    assert mean_auc(cleared, "external") > mean_auc(plain, "external") + 0.1


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_a_test_part_cannot_reach_the_harmonisation_of_its_fold(model: str) -> None:
    scans, beyond = shifted(60, 3), shifted(8, 3, seed=1, name="other")
    before = cross_validate(scans, model, settings=with_combat(ONE[model]), external=beyond, repeats=1)
    victim, others = before.folds[0].test[0], np.append(before.folds[0].test[1:], before.external)
    values = scans.values.copy()
    values[victim] += 100
    after = cross_validate(
        replace(scans, values=values), model, settings=with_combat(ONE[model]), external=beyond, repeats=1
    )
    was, told = before.answer.probability, after.answer.probability
    assert np.array_equal(was[0, others], told[0, others])
    assert was[0, victim] != told[0, victim]
    assert not np.array_equal(was[1, before.external], told[1, before.external]), "it does reach the other folds"


def test_scans_of_a_site_that_training_hardly_saw_or_of_none_stay_as_they_are() -> None:
    scans = shifted(60, 3)
    sites = np.asarray(scans.sites, dtype=object).copy()
    training = np.arange(40)
    sites[[0, 50]], sites[[1, 51]], sites[[52]] = "", "seen once", "never seen"
    left = [0, 1, 50, 51, 52]
    present = np.ones((60, 1), np.bool_)
    out = harmonised(scans.values, present, sites, training)
    changed = (out != scans.values).any((1, 2))
    assert np.flatnonzero(~changed).tolist() == left
    values = scans.values.copy()
    values[left] *= 9
    again = harmonised(values, present, sites, training)
    assert np.array_equal(again[changed], out[changed]), "nor do they take part in what is learned"


def test_a_missing_branch_stays_missing_and_teaches_nothing() -> None:
    values = np.repeat(shifted(60, 3).values, 2, 1)
    sites = np.where(np.arange(60) // 2 % 2 == 0, "east", "west")
    present = np.ones((60, 2), np.bool_)
    present[::4, 0] = present[sites == "west", 1] = False
    values[~present] = 0
    out = harmonised(values, present, sites, np.arange(40))
    assert (out[~present] == 0).all()
    rows = np.flatnonzero(present[:40, 0])
    expected = fit_combat(values[rows, 0], sites[rows]).apply(values[rows, 0], sites[rows])
    assert np.array_equal(out[rows, 0], expected)
    assert np.array_equal(out[:, 1], values[:, 1]), "a branch that one site alone has cannot be compared"


def test_sites_that_cannot_be_told_apart_are_refused_by_name() -> None:
    scans, settings = shifted(40, 3), with_combat(ONE["logistic"])
    for sites, message in (
        (None, "no training scan has a known site"),
        (np.full(40, ""), "no training scan has a known site"),
        (np.where(np.arange(40) < 20, "east", ""), "are from east"),
        (np.array([f"site {i}" for i in range(40)]), "site 0.* have fewer"),
    ):
        with pytest.raises(InputError, match=message) as error:
            cross_validate(replace(scans, sites=sites), "logistic", settings=settings, repeats=1)
        assert "without harmonisation" in error.value.hint
    with pytest.raises(InputError, match="no harmonisation named 'combta'") as error:
        cross_validate(scans, "logistic", settings=replace(settings, harmonise="combta"), repeats=1)
    assert "combat" in error.value.hint
    with pytest.raises(InputError, match="40 scans with 3 sites"):
        replace(scans, sites=np.array(["east"] * 3))


def test_folds_one_by_one_answer_in_the_order_of_folds_taken_together() -> None:
    """Every scan is told twice, as two branches, so that two variants differ in nothing but their place."""
    one = shifted(60, 3)
    scans = replace(one, values=np.repeat(one.values, 2, 1), names=("T1", "T1wCE"))
    settings = replace(with_combat(ONE["mlp"]), ensemble_size=2, calibrated=True)
    variants = [replace(settings, branches=branches) for branches in (("T1",), ("T1wCE",))]
    calls: list[int] = []
    beside = cross_validate_all(scans, "mlp", variants, repeats=2, advance=lambda: calls.append(1))
    assert len(calls) == steps(settings, 2, 5)
    first, second = (result.answer for result in beside)
    assert np.array_equal(first.probability, second.probability, equal_nan=True)
    assert first.selection == second.selection
    for fold, told, chosen in zip(beside[0].folds, first.probability, first.selection["epoch"], strict=True):
        assert np.flatnonzero(np.isfinite(told)).tolist() == fold.test.tolist()
        assert len(chosen) == 2
    alone = cross_validate(scans, "mlp", settings=variants[1], repeats=2, only=[1])
    assert np.array_equal(alone.answer.probability, second.probability[5:], equal_nan=True)


def test_scans_are_read_with_the_sites_that_their_labels_name(lake: Lake, label: Any) -> None:
    labels = [label(0, "made", site="east"), label(1, "made"), label(0, "beyond", site="west")]
    described = {"label_rule": "brats21", "description": "made up", "description_sha256": "0" * 64}
    features = [
        {
            "feature_set": "set", "cohort": one["cohort"], "scan_id": one["scan_id"], "modality": "T1",
            "values": [1.0] * 400, "input_sha256": "0" * 64,
        }
        for one in labels
    ]  # fmt: skip

    def write(transaction: Any) -> None:
        roles = {"made": "training", "beyond": "external"}
        transaction.upsert("cohorts", [{"cohort": name, "role": role, **described} for name, role in roles.items()])
        transaction.upsert("labels", labels)
        transaction.upsert("features", features)
        sets = [{"feature_set": "set", "backbone": "random_conv", "weights": "random", "recipe": "{}"}]
        transaction.upsert("feature_sets", sets)

    lake.transact(write, run_id="made")
    scans = read_cohorts(lake, "set").scans
    assert scans["training"].site_names().tolist() == ["east", ""]
    assert scans["external"].site_names().tolist() == ["west"]
