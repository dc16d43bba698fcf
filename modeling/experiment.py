"""Train a model on a feature set of the lake and write all it gives back as tables."""

from __future__ import annotations

import hashlib
import json
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lake.progress import track
from lake.runs import start_run
from lake.tables import TABLES
from modeling.crossval import Result, cross_validate, steps, with_options
from modeling.inputs import Cohorts, read_cohorts
from modeling.report import Line, Report
from modeling.scores import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lake.store import Lake
    from lake.transaction import Transaction

WRITTEN = ("experiments", "predictions", "attention", "metrics")


def train(
    lake: Lake,
    feature_set: str,
    model: str,
    *,
    label_rule: str = "brats21",
    modalities: Sequence[str] | None = None,
    repeats: int = 4,
    folds: int = 5,
    epochs: int = 200,
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Cross-validate ``model`` by patient, score every fit on the external scans, and commit the outcome.

    Args:
        lake: the lake.
        feature_set: the vectors to train on (table ``feature_sets``).
        model: snn, snn_released, mlp or logistic.
        label_rule: brats21 (methylated at two sites or more) or ucsf (at one).
        modalities: branches to read; None for the model's own: all five, the MLP T1wCE alone.
        repeats, folds, seed: of the cross-validation.
        epochs: the most there are; logistic regression has none.
        progress: show a progress bar on standard error.

    Returns:
        The figures. The same call on the same rows has the same experiment id, and writes nothing the second time.

    Raises:
        InputError: an unknown name, one class only, or too few patients for the folds.
        LeakingSplit: a patient is both training and external.
    """
    settings = with_options(model, None if modalities is None else tuple(modalities), epochs)
    cohorts = read_cohorts(lake, feature_set, label_rule)
    asked = {
        "model": model, "feature_set": feature_set, "label_rule": label_rule, "repeats": repeats, "folds": folds,
        "seed": seed, **asdict(settings), "input_sha256": cohorts.digest,
    }  # fmt: skip
    experiment = f"{model}-{hashlib.sha256(_json(asked).encode()).hexdigest()[:10]}"
    bar = track(f"training {model}", steps(model, settings, repeats, folds)) if progress else nullcontext(lambda: None)
    with bar as advance:
        result = cross_validate(
            cohorts.scans["training"], model, external=cohorts.scans["external"], settings=settings, repeats=repeats,
            folds=folds, seed=seed, advance=advance,
        )  # fmt: skip
    report = _report(experiment, feature_set, label_rule, repeats, folds, cohorts, result)
    rows = _rows(report, asked | {"selection": result.answer.selection}, cohorts, result)

    def write(transaction: Transaction) -> None:
        for table in WRITTEN:
            transaction.replace(table, {"experiment": experiment}, rows[table])

    with start_run(lake, "train", {k: v for k, v in asked.items() if k != "input_sha256"}) as run:
        run.transact(write)
    return report


def _report(  # noqa: PLR0917
    experiment: str, feature_set: str, label_rule: str, repeats: int, folds: int, cohorts: Cohorts, result: Result
) -> Report:
    training, external = cohorts.scans["training"], cohorts.scans["external"]
    lines = [
        Line(split, metric, s.mean, s.sd, s.low, s.high, result.optimism(split, metric), s.folds)
        for split in ("internal", "external")
        for metric in METRICS
        if (s := result.summaries.get((split, metric)))
    ]
    return Report(
        experiment, result.model, feature_set, cohorts.weights, cohorts.synthetic, label_rule,
        result.settings.branches, repeats, folds, int(result.kept.sum()),
        len(set(training.patients[result.kept])), int(result.kept_external.sum()),
        len(set(external.patients[result.kept_external])), cohorts.unlabelled,
        int((~result.kept).sum() + (~result.kept_external).sum()), tuple(lines),
    )  # fmt: skip


def _rows(report: Report, settings: dict[str, Any], cohorts: Cohorts, result: Result) -> dict[str, Any]:
    """The rows of all four tables."""
    kept = np.flatnonzero(result.kept), np.flatnonzero(result.kept_external)
    ids = [cohorts.ids["training"][i] for i in kept[0]] + [cohorts.ids["external"][i] for i in kept[1]]
    training, external = cohorts.scans["training"], cohorts.scans["external"]
    scans = {
        "cohort": np.array([cohort for cohort, _ in ids], dtype=object),
        "scan_id": np.array([scan for _, scan in ids], dtype=object),
        "patient_id": np.concatenate((training.patients[kept[0]], external.patients[kept[1]])).astype(object),
        "methylated": np.concatenate((training.labels[kept[0]], external.labels[kept[1]])),
    }
    fit, row = np.nonzero(np.isfinite(result.answer.probability))
    place = {
        "experiment": np.full(len(fit), report.experiment, dtype=object),
        "split": np.where(row < len(kept[0]), "internal", "external").astype(object),
        "repeat": np.array([fold.repeat for fold in result.folds], np.int32)[fit],
        "fold": np.array([fold.fold for fold in result.folds], np.int32)[fit],
    }
    predictions = {**place, **{name: column[row] for name, column in scans.items()}}
    predictions["probability"] = result.answer.probability[fit, row]
    return {
        "experiments": [
            {
                "experiment": report.experiment, "model": report.model, "feature_set": report.feature_set,
                "weights": "synthetic" if report.synthetic else report.weights, "label_rule": report.label_rule,
                "split": "training", "scans": report.scans, "patients": report.patients, "settings": _json(settings),
            }
        ],
        "predictions": _table("predictions", predictions),
        "attention": _attention(place, scans, result, fit, row),
        "metrics": [{"experiment": report.experiment, **asdict(figure)} for figure in result.figures],
    }  # fmt: skip


def _attention(
    place: dict[str, np.ndarray], scans: dict[str, np.ndarray], result: Result, fit: np.ndarray, row: np.ndarray
) -> Any:
    """Attention of every prediction and branch. A missing branch has no row: it was given nothing to be weighed."""
    if result.answer.attention is None:
        return []
    at, branch = np.nonzero(result.present[row])
    columns = {name: column[at] for name, column in place.items()}
    columns |= {name: scans[name][row[at]] for name in ("cohort", "scan_id")}
    columns["modality"] = np.array(result.settings.branches, dtype=object)[branch]
    columns["weight"] = result.answer.attention[fit[at], row[at], branch]
    return _table("attention", columns)


def _table(name: str, columns: dict[str, np.ndarray]) -> pa.Table:
    schema = TABLES[name].schema
    return pa.table({key: pa.array(value, schema.field(key).type) for key, value in columns.items()})


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
