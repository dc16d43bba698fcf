"""Results of an experiment in a study: metrics of its folds, and one prediction per scan.

A repeated cross-validation predicts a scan once per repeat, and an external scan is predicted by every fit. Tests that
take the scan or the patient as their unit are given the mean of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gliolake.errors import InputError, unknown_name
from gliolake.storage.json_cell import json_cell

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

Fit = tuple[int, int]
"""Repeat and fold."""


@dataclass(frozen=True)
class Pooled:
    """Scans with their mean predictions, in the order of their names.

    Attributes:
        scans: (n,) cohort/scan_id. patients: (n,) names. labels: (n,) bool. probability: (n,), 0 to 1.
    """

    scans: npt.NDArray[Any]
    patients: npt.NDArray[Any]
    labels: npt.NDArray[np.bool_]
    probability: npt.NDArray[np.float64]

    def among(self, scans: npt.NDArray[Any]) -> Pooled:
        """Those of them that are named in ``scans``."""
        kept = np.isin(self.scans, scans)
        return Pooled(self.scans[kept], self.patients[kept], self.labels[kept], self.probability[kept])


@dataclass(frozen=True)
class Outcome:
    """One split of an experiment.

    Attributes:
        split: internal or external.
        figures: by metric the value of each fit; a fit that could not show one has None.
        parts: the patients that each fit was tested on.
        pooled: its predictions.
        tested, trained: mean number of scans in a test part and in the rest; 0 of an experiment without fits.
    """

    split: str
    figures: Mapping[str, Mapping[Fit, float | None]]
    parts: Mapping[Fit, set[str]]
    pooled: Pooled
    tested: float
    trained: float


@dataclass(frozen=True)
class Finished:
    """A row of a study whose experiment is in the lake.

    Attributes:
        row: of table study_rows. experiment: of table experiments. auc: the mean over folds of the row's split.
    """

    row: Mapping[str, Any]
    experiment: Mapping[str, Any]
    auc: float | None

    @cached_property
    def told(self) -> dict[str, Any]:
        """What the experiment was told to do (``gliolake.modeling.experiment.Experiment.described``)."""
        return json_cell(self.experiment, "settings", "experiment")


def study_rows(lake: Lake, study: str) -> list[dict[str, Any]]:
    """The rows of a study, in the order of its file.

    Raises:
        InputError: no such study has been run.
    """
    rows: list[dict[str, Any]] = lake.read("study_rows", {"study": study}).to_pylist()
    if not rows:
        known = set(lake.read("study_rows", columns=["study"])["study"].to_pylist())
        raise unknown_name("study", study, known, hint="`gliolake study run` fills it.")
    return sorted(rows, key=lambda row: row["position"])


def finished(lake: Lake, rows: list[dict[str, Any]]) -> dict[str, Finished]:
    """By name, the rows that are done.

    Raises:
        InputError: a row is said to be done, and the lake has no such experiment.
    """
    experiments = {row["experiment"]: row for row in lake.read("experiments").to_pylist()}
    found = {}
    for row in rows:
        if row["state"] != "done":
            continue
        if row["experiment"] not in experiments:
            raise InputError(
                f"Row {row['name']} of study {row['study']} is done, but there is no experiment {row['experiment']!r}.",
                hint="`gliolake study run` makes it again.",
            )
        where = {"experiment": row["experiment"], "split": row["split"], "metric": "auc"}
        means = lake.read("summaries", where, ["mean"])["mean"].to_pylist()
        found[row["name"]] = Finished(row, experiments[row["experiment"]], means[0] if means else None)
    return found


def outcomes(lake: Lake, experiment: str) -> dict[str, Outcome]:
    """By split, what an experiment came to; a split without predictions is not there."""
    columns = ["split", "repeat", "fold", "cohort", "scan_id", "patient_id", "methylated", "probability"]
    given = lake.read("predictions", {"experiment": experiment}, columns).to_pandas()
    given["scan"] = given["cohort"] + "/" + given["scan_id"]
    # The order of files may change as they are merged; that of the sums must not.
    given = given.sort_values(["scan", "repeat", "fold"], kind="stable")
    metrics = lake.read("metrics", {"experiment": experiment}).to_pylist()
    fits = lake.read("cv_folds", {"experiment": experiment}, ["n_train", "n_validation", "n_test"]).to_pandas()
    tested, trained = (
        (0.0, 0.0) if fits.empty else (fits["n_test"].mean(), (fits["n_train"] + fits["n_validation"]).mean())
    )
    found = {}
    for split, of in given.groupby("split", sort=True):
        figures: dict[str, dict[Fit, float | None]] = {}
        for row in metrics:
            if row["split"] == split:
                figures.setdefault(row["metric"], {})[row["repeat"], row["fold"]] = row["value"]
        found[str(split)] = Outcome(str(split), figures, _parts(of), _pooled(of), float(tested), float(trained))
    return found


def _parts(predictions: pd.DataFrame) -> dict[Fit, set[str]]:
    parts: dict[Fit, set[str]] = {}
    columns = (predictions[column].tolist() for column in ("repeat", "fold", "patient_id"))
    for repeat, fold, patient in zip(*columns, strict=True):
        parts.setdefault((repeat, fold), set()).add(patient)
    return parts


def _pooled(predictions: pd.DataFrame) -> Pooled:
    by_scan = predictions.groupby("scan", sort=True)
    one = by_scan.first()
    return Pooled(
        one.index.to_numpy(str), one["patient_id"].to_numpy(str), one["methylated"].to_numpy(np.bool_),
        by_scan["probability"].mean().to_numpy(np.float64),
    )  # fmt: skip
