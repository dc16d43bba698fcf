"""Trains a model on a feature set of the lake and writes all results as tables."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from gliolake.log.journal import logger
from gliolake.log.progress import track
from gliolake.modeling.data.inputs import Cohorts, read_cohorts
from gliolake.modeling.evaluation.crossval import Result
from gliolake.modeling.evaluation.summaries import MetricSummary, as_row, of_result
from gliolake.modeling.experiment import Experiment, experiment_row, result_rows, run_experiments
from gliolake.modeling.models.fitting import steps
from gliolake.modeling.models.settings import with_options
from gliolake.modeling.report import Line, Report
from gliolake.runs import start_run
from gliolake.schema.registry import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gliolake.storage.lake import Lake
    from gliolake.storage.transaction import Transaction


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
        model: snn, snn_released, snn_lowrank, mlp or logistic.
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
    for sentence in cohorts.shared_patients:
        logger.warning(sentence)
    experiment = Experiment(model, (feature_set,), settings, label_rule, repeats=repeats, folds=folds, seed=seed)
    bar = track(f"training {model}", steps(settings, repeats, folds)) if progress else nullcontext(lambda: None)
    with bar as advance:
        (result,) = run_experiments(cohorts, [experiment], advance=advance)
    return keep(lake, "train", experiment, cohorts, result)


def keep(lake: Lake, command: str, experiment: Experiment, cohorts: Cohorts, result: Result, **more: Any) -> Report:
    """Commit an experiment that is all here, in place of an earlier run of it, and report it.

    Args:
        lake: the lake.
        command: which ran it.
        experiment, cohorts, result: what was tried, on what, and what came of it.
        more: rows of further tables, by table, in place of those that have the experiment's name as their first key.
    """
    name = experiment.name(cohorts.digest)
    summaries = of_result(result, seed=experiment.seed)
    rows = result_rows(name, cohorts, result) | more
    rows["summaries"] = [as_row(name, summary) for summary in summaries]
    row = experiment_row(name, experiment, cohorts, result)

    def write(transaction: Transaction) -> None:
        transaction.upsert("experiments", [row])
        for table, content in rows.items():
            transaction.replace(table, {TABLES[table].key[0]: name}, content)

    with start_run(lake, command, {"experiment": name, **experiment.described(cohorts.digest)}) as run:
        run.transact(write)
    return _report(name, experiment, cohorts, result, summaries)


def _report(
    name: str, experiment: Experiment, cohorts: Cohorts, result: Result, summaries: Sequence[MetricSummary]
) -> Report:
    training, external = (cohorts.scans[split].patients for split in ("training", "external"))
    return Report(
        name, result.model, experiment.feature_sets[0], cohorts.weights, cohorts.synthetic, experiment.label_rule,
        result.settings.branches, experiment.repeats, experiment.folds, int(result.kept.sum()),
        len(set(training[result.kept])), int(result.kept_external.sum()), len(set(external[result.kept_external])),
        cohorts.unlabelled, int(np.sum(~result.kept) + np.sum(~result.kept_external)),
        (*cohorts.shared_patients, *cohorts.cautions), tuple(map(_line, summaries)),
    )  # fmt: skip


def _line(summary: MetricSummary) -> Line:
    return Line(
        summary.split, summary.metric, summary.mean, summary.sd, summary.ci_low, summary.ci_high, summary.optimism,
        summary.folds,
    )  # fmt: skip
