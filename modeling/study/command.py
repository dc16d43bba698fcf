"""`gliolake study run`: computes the experiments of a study that the lake does not have yet.

A task is a block: some repeats of the cross-validations of experiments that are trained together. The results of a
block are committed as they arrive. An experiment is complete when all its folds are in the lake; its row of
table experiments marks it as complete.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliolake.cluster.client import open_cluster
from gliolake.cluster.tasks import commit_in_batches, map_tasks
from gliolake.errors import InputError, check_choice
from gliolake.log.journal import logger
from gliolake.modeling.experiment import Experiment
from gliolake.modeling.study.features import resolve
from gliolake.modeling.study.file import FIGURES, Study, StudyRow, read_study
from gliolake.modeling.study.plan import Plan, make_blocks, missing_repeats
from gliolake.modeling.study.report import StudyReport
from gliolake.modeling.study.task import Block, Data, Finished, Fitted, Look, Seen, fit_block, look, sum_up, told
from gliolake.runs import Run, start_run
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction

if TYPE_CHECKING:
    from distributed import Client

BATCH_BLOCKS = 16
BATCH_SECONDS = 10.0
"""Blocks are committed when they are so many or so old: what a crash can cost."""

MEMORY = 1_000_000_000
"""About the bytes that a worker needs for a cohort of some hundred patients."""


def run_study(
    lake: Lake,
    file: str | Path | None = None,
    *,
    features: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    scheduler: str | None = None,
    workers: int | None = None,
) -> StudyReport:
    """Run a study's experiments, as far as the lake has what they need; a rerun computes what is missing.

    Writes tables experiments, cv_folds, predictions, attention, metrics and summaries, and a row of study_rows for each
    row of the study: an experiment that cannot be run is a row that says why, and stops no other.

    Args:
        lake: the lake.
        file: a study file; the shipped one where None.
        features: feature sets of the lake for names of the study, where its backbones leave a choice.
        only: tables or rows of the study; all where empty.
        scheduler, workers: see ``gliolake.cluster.client.open_cluster``.

    Raises:
        InputError: the file cannot be understood, or an option names what is not there.
        ClusterError: the cluster is at fault.
    """
    started = time.monotonic()
    study = read_study(file)
    for name in features or {}:
        check_choice("name of features in the study", name, study.features)
    study = study.only(only) if only else study
    plan = _data_of(lake, study, features or {})
    cautions = _cautions(lake, plan)
    arguments = {"study": study.name, "features": features or {}, "only": list(only)}
    with start_run(lake, "study", arguments) as run, open_cluster(scheduler, workers, memory=MEMORY) as client:
        _name(run, client, study, plan)
        fits = _fit(lake, run, client, plan)
        _sum_up(lake, run, client, plan)
        rows = [_study_row(study.name, row, plan) for row in study.rows]
        run.transact(partial(_commit_rows, rows=rows, whole=not only))
    return StudyReport(study.name, tuple(rows), fits, time.monotonic() - started, cautions)


def _cautions(lake: Lake, plan: Plan) -> tuple[str, ...]:
    """What to know of the splits; what is grave is said before hours of computing."""
    from gliolake.sql.catalog import connect
    from gliolake.sql.cautions import cautions, shared_patients

    with connect(lake) as connection:
        rules = [data.label_rule for data in plan.data.values()]
        shared, known = shared_patients(connection), cautions(connection, rules)
    for sentence in shared:
        logger.warning(sentence)
    return (*shared, *known)


def _data_of(lake: Lake, study: Study, features: Mapping[str, str]) -> Plan:
    """Find feature sets for every row."""
    plan = Plan()
    sets = lake.read("feature_sets").to_pylist()
    for row in study.rows:
        if row.tried is None:
            continue
        try:
            chosen = tuple(
                resolve(name, study.features[name], row.tried.delta, sets, features) for name in row.tried.features
            )
        except InputError as error:
            plan.failed[row.name] = told(error)
            continue
        experiment = row.tried.experiment
        plan.data[row.name] = Data(str(lake.root), chosen, experiment.label_rule, experiment.delta)
    return plan


def _name(run: Run, client: Client, study: Study, plan: Plan) -> None:
    """Have workers look at the rows, and name the experiments after what they see."""
    tried = {row.name: row.tried for row in study.rows if row.tried}
    looks: dict[Data, dict[str, Experiment]] = defaultdict(dict)
    for name, data in plan.data.items():
        looks[data][name] = replace(tried[name].experiment, feature_sets=data.feature_sets)
    external = frozenset(row.name for row in study.rows if row.split == "external")
    tasks = [Look(run.run_id, data, experiments, external) for data, experiments in looks.items()]
    for task, seen in _results(client, look, tasks, "looking at the features"):
        if not isinstance(seen, Seen):
            plan.failed |= dict.fromkeys(task.experiments, told(seen))
            continue
        plan.failed |= seen.refused
        plan.digests[task.data] = seen.digest
        for name, experiment in task.experiments.items():
            if name in seen.refused:
                continue
            plan.named[name] = experiment.name(seen.digest)
            plan.experiments[plan.named[name]] = experiment
            if seen.incomplete:
                plan.notes[name] = (
                    f"{len(seen.incomplete)} scans lack one of the feature sets and take no part, the first "
                    f"{seen.incomplete[0]}: extract them for all scans."
                )


def _fit(lake: Lake, run: Run, client: Client, plan: Plan) -> int:
    """Fit all blocks that the lake lacks, and return how many folds were fitted."""
    missing = missing_repeats(lake, plan.experiments)
    complete = {name: set(range(plan.experiments[name].repeats)) - repeats for name, repeats in missing.items()}
    fitted = 0
    blocks = make_blocks(run.run_id, plan, missing)
    results = _results(client, fit_block, blocks, "training")

    def commit(batch: list[tuple[Block, Fitted | Exception]]) -> None:
        nonlocal fitted
        done = []
        for block, result in batch:
            if not isinstance(result, Fitted):
                _fail(plan, dict.fromkeys(block.experiments, told(result)))
                continue
            _fail(plan, result.failed)
            for name in result.rows:
                complete[name].update(block.repeats)
                fitted += len(block.repeats) * plan.experiments[name].folds
            done.append((block, result))
        whole = {name for name, repeats in complete.items() if len(repeats) == plan.experiments[name].repeats}
        run.transact(partial(_commit, done=done, whole=whole))

    commit_in_batches(results, commit, BATCH_BLOCKS, BATCH_SECONDS)
    return fitted


def _results(client: Client, function: Any, tasks: Sequence[Any], description: str) -> Iterable[tuple[Any, Any]]:
    """Outcomes as they come; no progress bar for nothing."""
    return map_tasks(client, function, tasks, description=description, retries=0) if tasks else ()


def _fail(plan: Plan, failed: Mapping[str, str]) -> None:
    for row, name in plan.named.items():
        if name in failed:
            plan.failed[row] = failed[name]


def _commit(transaction: Transaction, done: Sequence[tuple[Block, Fitted]], whole: set[str]) -> None:
    for _, result in done:
        for name, (row, files) in result.rows.items():
            transaction.add(files)
            if name in whole:
                transaction.upsert("experiments", [row])


def _sum_up(lake: Lake, run: Run, client: Client, plan: Plan) -> None:
    there = set(lake.read("summaries", columns=["experiment"])["experiment"].to_pylist())
    known = set(lake.read("experiments", columns=["experiment"])["experiment"].to_pylist())
    tasks = [
        Finished(str(lake.root), name, one.seed)
        for name, one in plan.experiments.items()
        if name in known and name not in there
    ]
    for task, rows in _results(client, sum_up, tasks, "summing up"):
        if isinstance(rows, Exception):
            _fail(plan, {task.name: told(rows)})
            continue
        run.transact(partial(Transaction.replace, name="summaries", where={"experiment": task.name}, rows=rows))


def _study_row(study: str, row: StudyRow, plan: Plan) -> dict[str, Any]:
    state, experiment = "done", plan.named.get(row.name, "")
    if row.tried is None:
        state, experiment = "quoted", ""
    elif row.name in plan.failed:
        state, experiment = "failed", ""
    return {
        "study": study, "name": row.name, "table": row.table, "position": row.position, "label": row.label,
        "split": row.split, "state": state, "experiment": experiment, "compared_with": row.compared_with,
        "detail": plan.failed.get(row.name, plan.notes.get(row.name, "")),
        **{figure: row.published.get(figure) for figure in FIGURES},
    }  # fmt: skip


def _commit_rows(transaction: Transaction, rows: list[dict[str, Any]], whole: bool) -> None:
    if whole:
        transaction.replace("study_rows", {"study": rows[0]["study"]}, rows)
    else:
        transaction.upsert("study_rows", rows)
