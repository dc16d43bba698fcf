"""Experiments in a lake, and a folder of one of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gliolake.modeling.data.inputs import read_cohorts
from gliolake.modeling.experiment import Experiment, run_experiments
from gliolake.modeling.export.command import export_model
from gliolake.modeling.models.settings import defaults
from gliolake.modeling.train import keep
from gliolake.storage.lake import Lake

Train = Callable[[Lake, Experiment], str]

PLAIN = Experiment(
    "logistic", ("random_conv-made",), replace(defaults("logistic"), c_grid=(1e-3,)), repeats=1, folds=2
)  # fmt: skip


@pytest.fixture(name="train")
def trainer() -> Train:
    """Runs an experiment whatever its settings, and gives its name; it is then in the lake."""

    def train(lake: Lake, told: Experiment) -> str:
        cohorts = read_cohorts(lake, told.feature_sets, told.label_rule, told.delta)
        (result,) = run_experiments(cohorts, [told])
        return keep(lake, "train", told, cohorts, result).experiment

    return train


@pytest.fixture
def plain(made: Lake, train: Train) -> str:
    """Name of the quickest experiment there is, in the made lake."""
    return train(made, PLAIN)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an exported model waits to be copied."""
    return tmp_path_factory.mktemp("shelf") / "model"


@pytest.fixture
def folder(shelf: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the quickest experiment's folder."""
    if not shelf.exists():
        export_model(request.getfixturevalue("made"), request.getfixturevalue("plain"), shelf, progress=False)
    return Path(shutil.copytree(shelf, tmp_path / "model"))
