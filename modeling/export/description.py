"""The description of an exported model, model.json, and its validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from gliolake.errors import InputError, check_choice
from gliolake.modeling.data.inputs import DELTAS, LABEL_COLUMNS
from gliolake.modeling.experiment import Experiment
from gliolake.modeling.export.folder import DAMAGED, NewerModel, NotAModel
from gliolake.modeling.models.problem import modality_of
from gliolake.modeling.models.settings import Settings, defaults
from gliolake.schema.vocabulary import BRANCHES

FORMAT = "gliolake-model"
VERSION = 1
"""Raised when a folder comes to hold what this code would misread."""

NAME = "model.json"
MOST = 4096
"""Networks, branches, resamples and units of a layer beyond which no folder is taken for a model."""

NUMBER = (int, float)
OPTIONAL = (int, float, type(None))
METRIC = {"split": str, "metric": str, "folds": int, "scans": int, "patients": int} | dict.fromkeys(
    ("mean", "ci_low", "ci_high", "bootstrap_low", "bootstrap_high", "optimism"), OPTIONAL
)
SHAPE: dict[str, Any] = {
    "experiment": str,
    "settings": dict,
    "branches": [str],
    "feature_sets": [{"feature_set": str, "backbone": str, "weights": str, "recipe": dict}],
    "volumes": dict,
    "training": {
        "scans": int, "patients": int, "methylated": int, "cohorts": dict, "synthetic": bool, "input_sha256": str,
    },
    "fits": [{"repeat": int, "fold": int, "selection": dict}],
    "metrics": [METRIC],
    "calibration": {"intercept": NUMBER, "slope": NUMBER, "resamples": int, "seed": int},
    "rests_on": str,
    "trained": bool,
    "code": {"trained_by": str, "exported_by": str, "code_sha256": str},
    "proof": {"predictions": int, "difference": NUMBER},
}  # fmt: skip
"""What model.json holds: a type for each value, a list with the shape of its items, a table with those of its keys."""


@dataclass(frozen=True)
class Description:
    """A model in words and numbers.

    Attributes:
        experiment: its name in the lake it was exported from.
        settings: all the experiment was told to do (``gliolake.modeling.experiment.Experiment.described``).
        branches: names of the branches it reads, in the order of its tensors.
        feature_sets: whose vectors it reads, each with its recipe whole.
        volumes: recipe of the volumes that raw training scans were cut from; empty where there are none.
        training: how many scans of how many patients, by cohort, and the digest of the rows.
        fits: repeat, fold, and what each selected.
        metrics: rows of table summaries.
        calibration: of the mean over fits; resamples and seed of the interval.
        rests_on: in words; trained: whether that is trained weights on real scans.
        code: versions that trained and exported it.
        proof: how many predictions of the lake the exported fits were held against, and the largest difference.
    """

    experiment: str
    settings: dict[str, Any]
    branches: list[str]
    feature_sets: list[dict[str, Any]]
    volumes: dict[str, Any]
    training: dict[str, Any]
    fits: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    calibration: dict[str, Any]
    rests_on: str
    trained: bool
    code: dict[str, str]
    proof: dict[str, Any]

    @property
    def told(self) -> Experiment:
        """The experiment as it was told."""
        return experiment_of(self.settings)

    @property
    def reads(self) -> str:
        """The branches in words; with several feature sets it reads the same ones of each."""
        names = ", ".join(dict.fromkeys(map(modality_of, self.branches)))
        return names if len(self.feature_sets) == 1 else f"{names} of each feature set"

    def metric(self, split: str, metric: str) -> dict[str, Any] | None:
        """A row of ``metrics``."""
        return next((row for row in self.metrics if (row["split"], row["metric"]) == (split, metric)), None)

    def to_json(self) -> bytes:
        """The file."""
        content = {"format": FORMAT, "format_version": VERSION, **asdict(self)}
        return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def experiment_of(told: Mapping[str, Any]) -> Experiment:
    """The experiment whose description (``Experiment.described``) this is.

    Raises:
        KeyError, TypeError: it is none.
    """
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told["settings"].items()
    }
    given: dict[str, Any] = {field.name: told[field.name] for field in fields(Experiment)}
    return Experiment(**given | {"settings": Settings(**options), "feature_sets": tuple(told["feature_sets"])})


def parse_description(content: bytes) -> Description:
    """The description in the bytes of a model.json.

    Raises:
        NewerModel: it is of a later format.
        NotAModel: it is none, or lacks something; names it.
    """
    try:
        found = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise NotAModel(f"{NAME} is not JSON ({error}).", hint=DAMAGED) from error
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise NotAModel(f"{NAME} does not say that it describes a model of gliolake.", hint=DAMAGED)
    version = found.pop("format_version", None)
    if isinstance(version, int) and version > VERSION:
        raise NewerModel(
            f"The model is of format {version}; this gliolake reads format {VERSION}.", hint="Install a newer gliolake."
        )
    _check("", found, SHAPE)
    description = Description(**found)
    try:
        _check_told(description)
    except (KeyError, TypeError, AttributeError, InputError) as error:
        raise NotAModel(f"{NAME} describes no model that can be: {error}", hint=DAMAGED) from error
    return description


def _no_number(name: str) -> None:
    """NaN and infinities, which Python's JSON has and others' has not."""
    raise ValueError(f"{name} is no number")


def _check(where: str, value: Any, shape: Any) -> None:
    """Refuse a value of another shape than was asked for."""
    if isinstance(shape, dict) and isinstance(value, dict):
        if value.keys() != shape.keys():
            odd = min(value.keys() ^ shape.keys())
            raise NotAModel(f"{NAME}: {f'{where}.{odd}'.lstrip('.')} is missing, or unknown.", hint=DAMAGED)
        for key, inner in shape.items():
            _check(f"{where}.{key}".lstrip("."), value[key], inner)
    elif isinstance(shape, list) and isinstance(value, list):
        for place, item in enumerate(value):
            _check(f"{where} {place}", item, shape[0])
    elif isinstance(shape, dict | list) or not isinstance(value, shape) or isinstance(value, bool) != (shape is bool):
        raise NotAModel(f"{NAME}: {where} is not what it has to be.", hint=DAMAGED)


def _check_told(description: Description) -> None:
    """Raises KeyError, TypeError or InputError."""
    told = description.told
    defaults(told.model)
    check_choice("label rule", told.label_rule, LABEL_COLUMNS)
    check_choice("kind of delta", told.delta, DELTAS)
    for name in (*description.branches, *told.settings.masked_branches):
        check_choice("modality", modality_of(name), BRANCHES)
    counts = {
        "branches": len(description.branches), "feature sets": len(description.feature_sets),
        "fits": len(description.fits), "resamples": description.calibration["resamples"],
        "ensemble_size": told.settings.ensemble_size,
        **{f"width {n}": width for n, width in enumerate(told.settings.hidden, 1)},
    }  # fmt: skip
    for what, count in counts.items():
        if not isinstance(count, int) or not 1 <= count <= MOST:
            raise InputError(f"{what} is {count}, not 1 to {MOST}")
    if not all(isinstance(recipe, dict) for recipe in description.volumes.values()):
        raise InputError("a recipe of volumes is none")
    training = description.training
    if not 0 <= training["methylated"] <= training["scans"] or not training["scans"]:
        raise InputError(f"of {training['scans']} scans {training['methylated']} are methylated")
