"""`gliolake model export`: saves an experiment's fits to a folder, after a check that they reproduce the lake's
predictions.

The lake stores predictions, not fits. So the fits are trained again from the lake's rows, and their predictions are
compared with those in table predictions before anything is written.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gliolake.errors import GliolakeError, InputError, check_choice
from gliolake.log.progress import track
from gliolake.modeling.data.inputs import Cohorts, read_cohorts
from gliolake.modeling.evaluation.crossval import Result
from gliolake.modeling.experiment import Experiment, code_digest, result_rows, run_experiments
from gliolake.modeling.export.card import licence_of, model_card
from gliolake.modeling.export.description import METRIC, NAME, Description, experiment_of
from gliolake.modeling.export.fitted import PARAMETER, Fitted
from gliolake.modeling.export.folder import MODEL, pack_tensors, write_folder
from gliolake.modeling.export.model import Model, load_model
from gliolake.modeling.export.neighbours import make_reference
from gliolake.modeling.export.recalibration import RESAMPLES, recalibrate
from gliolake.modeling.models.fitting import steps
from gliolake.runs import code_version
from gliolake.storage.json_cell import json_cell
from gliolake.target import check_target

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

TOLERANCE = 1e-3
"""Largest difference between a prediction and that of the same fit trained again, as on another kind of processor,
whose sums end in other last bits. On one kind of processor there is none."""

KEPT = 1e-5
"""Largest difference between what a fit said in training and says from its folder: it is asked in other company."""

OF_NETWORKS = ("shift", "scale")


class NotTheModel(GliolakeError):
    """The fits trained again are not those whose predictions the lake has."""


def export_model(
    lake: Lake, experiment: str, output: Path | None = None, *, overwrite: bool = False, progress: bool = True
) -> Model:
    """Train an experiment's fits again, prove that they are the same, and write them as a folder.

    Args:
        lake: the lake; it is only read.
        experiment: its name (table ``experiments``).
        output: the folder; named as the experiment where None.
        overwrite: replace an exported model that is there.
        progress: show a progress bar on standard error.

    Returns:
        The model, read from the folder again.

    Raises:
        InputError: no such experiment, or one that cannot be exported; or the folder cannot be written.
        NotTheModel: rows or code changed since, so that the fits came out otherwise.
    """
    rows = {row["experiment"]: row for row in lake.read("experiments").to_pylist()}
    row = rows[check_choice("experiment", experiment, rows, hint="gliolake status lists them.")]
    told = json_cell(row, "settings", "experiment")
    target = check_target(output or Path(experiment), overwrite=overwrite, own=MODEL, folder=True)
    again = _experiment(row, told)
    cohorts = read_cohorts(lake, again.feature_sets, again.label_rule, again.delta)
    if cohorts.digest != told["input_sha256"]:
        raise NotTheModel(
            f"The rows that {experiment} was trained on have changed since: vectors, labels, patients or sites.",
            hint="Train it again on the rows as they are, and export that.",
        )
    total = steps(again.settings, again.repeats, again.folds)
    with track(f"training {experiment} again", total) if progress else nullcontext(lambda: None) as advance:
        (result,) = run_experiments(cohorts, [again], advance=advance)
    proof = _proof(lake, experiment, told, result_rows(experiment, cohorts, result)["predictions"])
    trained = _Trained(again, cohorts, result)
    fitted = trained.fitted()
    trained.check(fitted)
    write_folder(target, _files(_describe(lake, row, told, trained, proof), trained, fitted), overwrite=overwrite)
    return load_model(target)


def _experiment(row: dict[str, Any], told: dict[str, Any]) -> Experiment:
    """The experiment, if its fits are ones that a new case can be given to."""
    name = row["experiment"]
    if row["model"] == "search":
        raise InputError(
            f"{name} is a search: it chose another model, or a mean of several, in each of its folds.",
            hint="Export an experiment of one model: gliolake train --model, with what was chosen (table trials).",
        )
    experiment = experiment_of(told)
    if experiment.settings.harmonise:
        raise InputError(
            f"{name} was harmonised: every site's scans were moved as its own training scans told, and a new case is "
            "of no such site.",
            hint="Export an experiment without harmonisation.",
        )
    return experiment


def _proof(lake: Lake, experiment: str, told: dict[str, Any], again: pa.Table) -> dict[str, Any]:
    """How many predictions the lake has, and how far those of the fits trained again are from them.

    Raises:
        NotTheModel: they are of other scans, or too far.
    """
    place = ["split", "repeat", "fold", "cohort", "scan_id", "patient_id", "methylated"]
    order = [(column, "ascending") for column in place]
    before = lake.read("predictions", {"experiment": experiment}, [*place, "probability"]).sort_by(order)
    again = again.select([*place, "probability"]).sort_by(order)
    changed = "its rows" if told["code_sha256"] == code_digest() else "the code of modeling, or its rows,"
    if before.select(place).to_pydict() != again.select(place).to_pydict():
        raise NotTheModel(
            f"Trained again, {experiment} predicts other scans, patients or labels than the lake has of it: {changed} "
            "changed since.",
            hint="Train it again, and export that.",
        )
    apart = np.abs(before["probability"].to_numpy() - again["probability"].to_numpy()).max()
    if not apart <= TOLERANCE:
        raise NotTheModel(
            f"Trained again, {experiment} is another model: of its {len(before):,} predictions some differ by "
            f"{apart:.2g} from those in the lake, where {TOLERANCE:g} is allowed for another kind of processor. "
            f"Either {changed} changed since, or this processor is too unlike the one it was trained on.",
            hint="Train it again here, and export that.",
        )
    return {"predictions": len(before), "difference": float(apart)}


@dataclass(frozen=True)
class _Trained:
    """An experiment, its rows, and its fits trained again."""

    experiment: Experiment
    cohorts: Cohorts
    result: Result

    @property
    def values(self) -> np.ndarray:
        """(n, K, 400) of the training scans, NaN where missing."""
        scans, result = self.cohorts.scans["training"], self.result
        return scans.values[result.kept][:, [scans.names.index(name) for name in result.branches]]

    @property
    def told(self) -> np.ndarray:
        """(F, n): what fits said of training scans that they had not seen; else NaN."""
        return self.result.answer.probability[:, : len(self.labels)]

    @property
    def labels(self) -> np.ndarray:
        """(n,) bool."""
        return self.result.labels[: int(self.result.kept.sum())]

    def fitted(self) -> Fitted:
        """The fits with all they predict by."""
        answer, settings = self.result.answer, self.experiment.settings
        own = ("weight", "intercept", *OF_NETWORKS) if self.experiment.model == "logistic" else OF_NETWORKS
        tensors = {name: of[:, 0] if name in own else of for name, of in answer.learned.items()}
        tensors = {name if name in own else f"{PARAMETER}{name}": of for name, of in tensors.items()}
        if settings.calibrated:
            tensors["temperature"] = np.array(answer.selection["temperature"])
        shown = np.array([name.rpartition(":")[2] not in settings.masked_branches for name in self.result.branches])
        return Fitted(self.experiment.model, settings, shown, tensors)

    def check(self, fitted: Fitted) -> None:
        """Refuse fits that say another thing of the training scans than they said when they were trained."""
        apart = float(np.nanmax(np.abs(fitted.predict(self.values).probability - self.told)))
        if apart > KEPT:
            raise NotTheModel(f"The fits, taken by themselves, answer otherwise than in training, by {apart:.2g}.")


def _describe(
    lake: Lake, row: dict[str, Any], told: dict[str, Any], trained: _Trained, proof: dict[str, Any]
) -> Description:
    from gliolake.sql.catalog import connect

    with connect(lake) as connection:
        query = "SELECT basis FROM experiment_provenance WHERE experiment = ?"
        ((basis,),) = connection.execute(query, [row["experiment"]]).fetchall()
    sets = {one["feature_set"]: one for one in lake.read("feature_sets").to_pylist()}
    own = [sets[name] for name in trained.experiment.feature_sets]
    kinds = sorted({one["weights"] for one in own})
    result = trained.result
    kept = [trained.cohorts.ids["training"][i] for i in np.flatnonzero(result.kept)]
    (run,) = lake.read("runs", {"run_id": row["run_id"]}, ["code_version"]).to_pylist()
    summaries = lake.read("summaries", {"experiment": row["experiment"]}).to_pylist()
    recipes = [json_cell(one, "recipe", "feature_set") for one in own]
    return Description(
        row["experiment"], told, list(result.branches),
        [{**{key: one[key] for key in ("feature_set", "backbone", "weights")}, "recipe": recipe}
         for one, recipe in zip(own, recipes, strict=True)],
        _volumes(lake, {recipe.get("volumes", "") for recipe in recipes}),
        {
            "scans": len(kept), "patients": row["patients"], "methylated": int(trained.labels.sum()),
            "cohorts": dict(sorted(Counter(cohort for cohort, _ in kept).items())),
            "synthetic": row["weights"] == "synthetic", "input_sha256": told["input_sha256"],
        },
        [{"repeat": fold.repeat, "fold": fold.fold, "selection": {name: of[f] for name, of in
          result.answer.selection.items()}} for f, fold in enumerate(result.folds)],
        [{key: summary[key] for key in METRIC} for summary in
         sorted(summaries, key=lambda summary: (summary["split"] != "internal", summary["metric"]))],
        {"intercept": 0.0, "slope": 1.0, "resamples": RESAMPLES, "seed": trained.experiment.seed},
        basis if row["weights"] != "synthetic" else f"{basis}, {' and '.join(kinds)} weights",
        row["weights"] == "trained",
        {"trained_by": run["code_version"], "exported_by": code_version(), "code_sha256": told["code_sha256"]},
        proof,
    )  # fmt: skip


def _volumes(lake: Lake, names: set[str]) -> dict[str, Any]:
    """The recipe of the volume set that clips were cut from; feature sets side by side may share one."""
    wanted = names - {""}
    rows = {row["volume_set"]: row for row in lake.read("volume_sets").to_pylist()}
    return {name: json_cell(rows[name], "recipe", "volume_set") for name in sorted(wanted) if name in rows}


def _files(description: Description, trained: _Trained, fitted: Fitted) -> dict[str, bytes]:
    result, calibration = trained.result, description.calibration
    internal = len(trained.labels)
    patients = result.patients[:internal]
    recalibration = recalibrate(
        np.nanmean(trained.told, 0), trained.labels, patients, fits=fitted.count, seed=calibration["seed"],
        resamples=calibration["resamples"],
    )  # fmt: skip
    calibration |= {"intercept": float(recalibration.line[0]), "slope": float(recalibration.line[1])}
    tested = np.isfinite(trained.told).T
    ids = [trained.cohorts.ids["training"][i] for i in np.flatnonzero(result.kept)]
    names = [(cohort, scan, str(patient)) for (cohort, scan), patient in zip(ids, patients, strict=True)]
    reference = make_reference(trained.values, trained.labels, names, tested)
    return {
        NAME: description.to_json(),
        "weights.safetensors": pack_tensors({**fitted.tensors, **recalibration.tensors()}),
        "reference.safetensors": pack_tensors(reference.tensors()),
        "MODEL_CARD.md": model_card(description).encode(),
        "LICENSE": licence_of(description).encode(),
    }
