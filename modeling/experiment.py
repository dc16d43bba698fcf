"""An experiment: model, input vectors and protocol; its rows, and the id derived from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gliolake.errors import InputError
from gliolake.modeling.data.inputs import Cohorts
from gliolake.modeling.evaluation.crossval import Result, cross_validate_all, restricted
from gliolake.modeling.models.settings import Settings
from gliolake.schema.registry import TABLES

Rows = dict[str, Any]
"""Rows by table, each a list of dicts or an Arrow table."""


@dataclass(frozen=True)
class Experiment:
    """What is tried, by all that decides its numbers but the rows of the lake and the code.

    Attributes:
        model: a name of ``gliolake.modeling.models.settings.DEFAULTS``; settings: what it is trained with.
        feature_sets: whose vectors are its input, side by side.
        label_rule, delta: see ``gliolake.modeling.data.inputs.read_cohorts``.
        external: view of the external scans it is tested on; diagnosis: only those whose diagnosis begins so.
        repeats, folds, seed: of the cross-validation.
    """

    model: str
    feature_sets: tuple[str, ...]
    settings: Settings = field(default_factory=Settings)
    label_rule: str = "brats21"
    delta: str = "stored"
    external: str = "external"
    diagnosis: str = ""
    repeats: int = 4
    folds: int = 5
    seed: int = 0

    def described(self, digest: str) -> dict[str, Any]:
        """All of it as JSON values, with the digest of the rows it reads and of the code that runs it."""
        return {**asdict(self), "input_sha256": digest, "code_sha256": code_digest()}

    def name(self, digest: str) -> str:
        """The experiment's id: the same for the same settings, rows and code."""
        told = hashlib.sha256(as_json(self.described(digest)).encode()).hexdigest()
        return f"{self.model}-{told[:10]}"


@cache
def code_digest() -> str:
    """Short sha256 over the source of this package."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def run_experiments(
    cohorts: Cohorts,
    experiments: Sequence[Experiment],
    *,
    only: Collection[int] | None = None,
    threads: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Results of experiments that differ in nothing but branches, masked branches, and the external scans.

    Args:
        cohorts: their rows.
        experiments: at least one.
        only: some of the repeats; None for all.
        threads, advance: see ``gliolake.modeling.evaluation.crossval.cross_validate_all``.

    Raises:
        InputError: one class, too few patients, or none of the external scans that an experiment asks for.
        LeakingSplit: a patient is both training and external.
    """
    first = experiments[0]
    results = cross_validate_all(
        cohorts.scans["training"], first.model, [one.settings for one in experiments],
        external=cohorts.scans["external"], repeats=first.repeats, folds=first.folds, only=only, seed=first.seed,
        threads=threads, advance=advance,
    )  # fmt: skip
    return [restricted(result, external_scans(cohorts, one)) for result, one in zip(results, experiments, strict=True)]


def external_scans(cohorts: Cohorts, experiment: Experiment, *, needed: bool = False) -> np.ndarray:
    """(m,) bool: the external scans that an experiment is tested on.

    Args:
        cohorts: its rows.
        experiment: which says what scans it asks for.
        needed: whether it is about them, and nothing without.

    Raises:
        InputError: it needs them or asks for certain ones, and there are none.
    """
    chosen: np.ndarray = cohorts.views[experiment.external].copy()
    if experiment.diagnosis:
        wanted = experiment.diagnosis.casefold()
        chosen &= np.array([name.casefold().startswith(wanted) for name in cohorts.diagnosis], np.bool_)
    needed = needed or (experiment.external, experiment.diagnosis) != ("external", "")
    if needed and not chosen.any():
        of = f" of {experiment.diagnosis}" if experiment.diagnosis else ""
        raise InputError(
            f"View {experiment.external} has no scan{of} with these vectors and a call.",
            hint="Ingest the external cohort, extract its features, and for external_listed bring in a list.",
        )
    return chosen


def experiment_row(name: str, experiment: Experiment, cohorts: Cohorts, result: Result) -> dict[str, Any]:
    """The row of table experiments."""
    training = result.external[0] if len(result.external) else len(result.labels)
    return {
        "experiment": name,
        "model": experiment.model,
        "feature_set": " + ".join(experiment.feature_sets),
        "weights": "synthetic" if cohorts.synthetic else cohorts.weights,
        "label_rule": experiment.label_rule,
        "split": "training",
        "scans": int(training),
        "patients": len(set(result.patients[:training])),
        "settings": as_json(experiment.described(cohorts.digest)),
    }


def result_rows(name: str, cohorts: Cohorts, result: Result) -> Rows:
    """Rows of the tables that have some for every repeat: cv_folds, predictions, attention and metrics."""
    kept = np.flatnonzero(result.kept), np.flatnonzero(result.kept_external)
    ids = [cohorts.ids["training"][i] for i in kept[0]] + [cohorts.ids["external"][i] for i in kept[1]]
    scans = {
        "cohort": np.array([cohort for cohort, _ in ids], dtype=object),
        "scan_id": np.array([scan for _, scan in ids], dtype=object),
        "patient_id": result.patients.astype(object),
        "methylated": result.labels,
    }
    fit, row = np.nonzero(np.isfinite(result.answer.probability))
    place = {
        "experiment": np.full(len(fit), name, dtype=object),
        "split": np.where(row < len(kept[0]), "internal", "external").astype(object),
        "repeat": np.array([fold.repeat for fold in result.folds], np.int32)[fit],
        "fold": np.array([fold.fold for fold in result.folds], np.int32)[fit],
    }
    predictions = {**place, **{column: values[row] for column, values in scans.items()}}
    predictions["probability"] = result.answer.probability[fit, row]
    fits = [
        {
            "experiment": name, "repeat": fold.repeat, "fold": fold.fold, "n_train": len(fold.fitting),
            "n_validation": len(fold.validation), "n_test": len(fold.test),
            "selection": as_json({what: values[f] for what, values in result.answer.selection.items()}),
        }
        for f, fold in enumerate(result.folds)
    ]  # fmt: skip
    return {
        "cv_folds": fits,
        "predictions": _table("predictions", predictions),
        "attention": _attention(place, scans, result, fit, row),
        "metrics": [{"experiment": name, **asdict(figure)} for figure in result.figures],
    }


def _attention(
    place: dict[str, np.ndarray], scans: dict[str, np.ndarray], result: Result, fit: np.ndarray, row: np.ndarray
) -> Any:
    """Attention of every prediction and branch. A missing branch has no row: it was given nothing to be weighed."""
    if result.answer.attention is None:
        return []
    at, branch = np.nonzero(result.present[row])
    columns = {name: column[at] for name, column in place.items()}
    columns |= {name: scans[name][row[at]] for name in ("cohort", "scan_id")}
    columns["modality"] = np.array(result.branches, dtype=object)[branch]
    columns["weight"] = result.answer.attention[fit[at], row[at], branch]
    return _table("attention", columns)


def _table(name: str, columns: dict[str, np.ndarray]) -> pa.Table:
    schema = TABLES[name].schema
    return pa.table({key: pa.array(value, schema.field(key).type) for key, value in columns.items()})


def as_json(content: dict[str, Any]) -> str:
    """Canonical JSON."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
