"""Nested searches: what is found, what is not, and that a test part cannot reach the choice that is judged by it."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gliolake.cli.output import dumped, rendered
from gliolake.errors import InputError
from gliolake.modeling.data.folds import Fold, cut_folds
from gliolake.modeling.data.scans import Scans
from gliolake.modeling.evaluation.scores import auc
from gliolake.modeling.models.settings import defaults
from gliolake.modeling.nested_cv.candidates import Blend, Candidate, Choice, default_candidates, named_candidates
from gliolake.modeling.nested_cv.command import search
from gliolake.modeling.nested_cv.report import SearchReport
from gliolake.modeling.nested_cv.selection import Nested, search_folds
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake

COHORTS = {"made": "training", "beyond": "external"}
FEATURE_SET = "random_conv-made"
SMALL = replace(defaults("snn_lowrank"), epochs=12, ensemble_size=1)
LIST: tuple[Choice, ...] = (
    Candidate("lowrank", "snn_lowrank", SMALL),
    Candidate("lowrank of T2", "snn_lowrank", replace(SMALL, branches=("T2",))),
    Candidate("logistic", "logistic", replace(defaults("logistic"), c_grid=(1e-3,))),
    Blend("mean of the best 2", 2),
)


def planted(scans: int, signal: float, seed: int = 0, name: str = "patient") -> Scans:
    """Noise with a direction, the same in all branches but T2, along which the classes differ."""
    stream = np.random.default_rng(seed)
    direction = np.random.default_rng(99).standard_normal(400)
    labels = np.arange(scans) % 2 == 0
    values = stream.standard_normal((scans, 5, 400)).astype(np.float32)
    told = (signal * np.where(labels, 1, -1)[:, None, None] * direction).astype(np.float32)
    values += told * np.array([branch != "T2" for branch in BRANCHES])[:, None]
    return Scans(values, labels, np.array([f"{name} {i}" for i in range(scans)]))


def of_internal(found: Nested, metric: str = "auc") -> tuple[float, float]:
    """Mean value and optimism on the outer test parts."""
    of = [x for x in found.result.figures if (x.split, x.metric) == ("internal", metric)]
    return float(np.mean([x.value for x in of])), float(np.mean([x.optimism for x in of]))


def test_a_planted_signal_is_found_and_the_candidate_that_cannot_see_it_is_not_chosen() -> None:
    found = search_folds(
        planted(60, 0.3), LIST, external=planted(20, 0.3, seed=5, name="other"), repeats=1, inner_folds=3
    )
    assert of_internal(found)[0] > 0.9
    beyond = [x.value for x in found.result.figures if (x.split, x.metric) == ("external", "auc")]
    assert min(value or 0 for value in beyond) > 0.9
    assert "lowrank of T2" not in found.result.answer.selection["candidate"]


def test_on_shuffled_labels_the_honest_auc_is_near_one_half_and_the_test_selected_one_above_it() -> None:
    scans = planted(80, 0.3, seed=3)
    shuffled = replace(scans, labels=np.random.default_rng(4).permutation(scans.labels))
    honest, optimism = of_internal(search_folds(shuffled, LIST, repeats=3, inner_folds=3))
    assert 0.4 < honest < 0.6
    assert optimism > 0.02


def test_neither_labels_nor_values_of_an_outer_test_part_reach_its_choice_or_what_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scans = planted(45, 0.1, seed=7)
    before = search_folds(scans, LIST, repeats=1, inner_folds=3)
    fold = before.result.folds[2]
    victims, others = fold.test[:5], fold.test[5:]
    values, labels = scans.values.copy(), scans.labels.copy()
    values[victims] = 50.0
    labels[victims] = ~labels[victims]

    def cut_as_before(labels: np.ndarray, patients: np.ndarray, **how: Any) -> list[Fold]:
        # Folds are dealt out by class; with other labels the outer ones would be others.
        return cut_folds(scans.labels if len(labels) == len(scans) else labels, patients, **how)

    monkeypatch.setattr("gliolake.modeling.nested_cv.selection.cut_folds", cut_as_before)
    after = search_folds(replace(scans, values=values, labels=labels), LIST, repeats=1, inner_folds=3)
    inside, outside, told = [], [], []
    for found in (before, after):
        trials = [trial for trial in found.trials if trial.fold == fold.fold]
        inside.append([(trial.candidate, trial.inner_auc, trial.inner_loss, trial.chosen) for trial in trials])
        outside.append([trial.outer_auc for trial in trials])
        told.append(found.result.answer.probability[fold.fold])
    assert inside[0] == inside[1]
    assert np.array_equal(told[0][others], told[1][others])
    assert outside[0] != outside[1], "what was altered is seen by those who may see it"
    assert not np.array_equal(told[0][victims], told[1][victims])


def test_optimism_is_what_choosing_on_the_test_part_adds_to_what_was_chosen_inside() -> None:
    found = search_folds(planted(45, 0.05, seed=9), LIST, repeats=1, inner_folds=3)
    for figure in found.result.figures:
        if figure.metric == "auc":
            own = [trial for trial in found.trials if trial.fold == figure.fold]
            (chosen,) = (trial for trial in own if trial.chosen)
            assert chosen.inner_auc == max(trial.inner_auc for trial in own)
            assert figure.value == chosen.outer_auc
            assert figure.optimism == pytest.approx(max(trial.outer_auc or 0 for trial in own) - (figure.value or 0))


def test_a_candidate_is_tried_the_same_whatever_others_there_are() -> None:
    scans = planted(45, 0.1, seed=7)
    alone = search_folds(scans, LIST[:1], repeats=1, inner_folds=3)
    among = search_folds(scans, LIST, repeats=1, inner_folds=3)
    own = [trial for trial in among.trials if trial.candidate == LIST[0].name]
    assert [replace(trial, chosen=True) for trial in own] == alone.trials


@pytest.fixture
def made(lake: Lake, label: Any) -> Lake:
    """40 training and 12 external patients with a strong signal."""
    labels, features = [], []
    for cohort, scans in (("made", planted(40, 0.3)), ("beyond", planted(12, 0.3, seed=5))):
        for number, methylated in enumerate(scans.labels):
            labels.append(label(number, cohort, mgmt_status="methylated" if methylated else "unmethylated"))
            for branch, values in zip(BRANCHES, scans.values[number], strict=True):
                row = {"feature_set": FEATURE_SET, "cohort": cohort, "scan_id": labels[-1]["scan_id"]}
                features.append(row | {"modality": branch, "values": values.tolist(), "input_sha256": "0" * 64})
    described = {"label_rule": "brats21", "description": "made up", "description_sha256": "0" * 64}
    recipe = {"feature_set": FEATURE_SET, "backbone": "random_conv", "weights": "random", "recipe": "{}"}

    def write(transaction: Any) -> None:
        transaction.upsert("cohorts", [{"cohort": c, "role": role, **described} for c, role in COHORTS.items()])
        transaction.upsert("labels", labels)
        transaction.upsert("features", features)
        transaction.upsert("feature_sets", [recipe])

    lake.transact(write, run_id="made")
    return lake


def searched(lake: Lake, **asked: Any) -> SearchReport:
    """A small search of the lake."""
    return search(lake, FEATURE_SET, **{"candidates": LIST, "repeats": 1, "inner_folds": 3, "progress": False} | asked)


def test_a_search_is_written_whole_and_can_be_recomputed_from_its_rows(made: Lake) -> None:
    found = searched(made)
    (experiment,) = made.read("experiments").to_pylist()
    assert (experiment["experiment"], experiment["model"]) == (found.report.experiment, "search")
    assert list(json.loads(experiment["settings"])["candidates"]) == sorted(one.name for one in LIST)
    trials = made.read("trials").to_pandas()
    assert len(trials) == 5 * len(LIST)
    assert trials.groupby(["repeat", "fold"])["chosen"].sum().tolist() == [1] * 5
    predictions = made.read("predictions").to_pandas()
    assert len(predictions) == 40 + 5 * 12
    internal = predictions.query("split == 'internal'")
    recomputed = {k: auc(p["methylated"].to_numpy(), p["probability"].to_numpy()) for k, p in internal.groupby("fold")}
    chosen = trials[trials["chosen"]].set_index("fold")
    assert chosen["outer_auc"].to_dict() == recomputed
    fits = {fit["fold"]: json.loads(fit["selection"])["candidate"] for fit in made.read("cv_folds").to_pylist()}
    assert fits == chosen["candidate"].to_dict()
    summaries = made.read("summaries").to_pandas().query("metric == 'auc'").set_index("split")
    assert set(summaries.index) == {"internal", "external"}
    assert summaries.loc["internal", "mean"] == pytest.approx(np.mean(list(recomputed.values())))


def test_the_same_search_again_writes_nothing_and_another_list_is_another_experiment(made: Lake) -> None:
    first = searched(made, candidates=LIST[2:])
    version = made.version
    again = searched(made, candidates=LIST[2:])
    assert (again, made.version) == (first, version)
    assert searched(made, candidates=LIST[2:3]).report.experiment != first.report.experiment


def test_a_report_shows_the_honest_and_the_test_selected_figure_and_how_often_each_candidate_was_chosen(
    made: Lake,
) -> None:
    found = searched(made, candidates=LIST[2:])
    shown = StringIO()
    Console(file=shown, width=160).print(rendered(found))
    for text in (
        "random weights",
        "nested selection",
        "selection on the test part",
        "inner AUC",
        "mean of the best 2",
        "3 folds within",
    ):
        assert text in shown.getvalue()
    content = json.loads(json.dumps(dumped(found)))
    assert sum(line["chosen"] for line in content["candidates"]) == 5
    assert content["experiment"] == found.report.experiment


def test_what_cannot_be_searched_is_refused_by_name(made: Lake) -> None:
    version = made.version
    with pytest.raises(InputError, match="no candidate named 'lowrnk'") as error:
        named_candidates(["lowrnk"])
    assert "lowrank" in error.value.hint
    for candidates, message in (
        ([LIST[0], LIST[0]], "Two candidates are named lowrank"),
        ([LIST[3]], "no model to choose"),
        ([Candidate("x", "sn", SMALL)], "no model named 'sn'"),
        ([LIST[0], Blend("none", 0)], "none is a blend of no candidate"),
    ):
        with pytest.raises(InputError, match=message):
            searched(made, candidates=candidates)
    with pytest.raises(InputError, match="There is no feature set named 'random_conv-mad'"):
        search(made, "random_conv-mad", progress=False)
    with pytest.raises(InputError, match="no label rule named 'brats'"):
        searched(made, label_rule="brats")
    with pytest.raises(InputError, match="Only 16 training patients are methylated; 17 folds"):
        searched(made, inner_folds=17)
    assert made.version == version


def test_the_list_that_is_searched_by_default_can_be_asked_for_by_its_names() -> None:
    every = default_candidates()
    assert named_candidates([one.name for one in every]) == every
    assert named_candidates(["logistic"]) == tuple(one for one in every if one.name == "logistic")
