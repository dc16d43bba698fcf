"""`gliolake extract`: the scans of the lake become rows of table features, those that are missing and no others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gliolake.cluster.client import dashboard_of, open_cluster
from gliolake.cluster.failures import unless_all_fail
from gliolake.cluster.tasks import commit_in_batches, map_tasks
from gliolake.features.backbones.mxnet.environment import open_mxnet
from gliolake.features.backbones.registry import BackboneOptions
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.plan import Plan, make_plan
from gliolake.features.extraction.preflight import Expected, check_workers, expect, resources_of
from gliolake.features.extraction.recipe import Choice, Recipe, choose, make_recipe
from gliolake.features.extraction.report import ExtractReport, FailedScan, SetReport
from gliolake.features.extraction.scan_task import (
    WORKER_LOST,
    ScanFailure,
    ScanOutcome,
    ScanTask,
    compute,
    input_digest,
)
from gliolake.features.preprocessing.volumes import NOT_PREPROCESSED, choose_volume_set, ready_scans
from gliolake.features.scans import scans_of
from gliolake.features.weights.sources import SOURCES
from gliolake.log.journal import logger
from gliolake.runs import start_run
from gliolake.schema.vocabulary import BRANCHES
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction

if TYPE_CHECKING:
    from distributed import Client

BATCH_SCANS = 32
BATCH_SECONDS = 20.0
"""A batch is committed when it has this many scans or is this old: what a crash can cost."""

TRIES = 3
"""Times that a scan is tried whose failure may pass by itself."""

Outcome = tuple[ScanTask, ScanOutcome]


def extract(
    lake: Lake,
    backbones: Sequence[str] = ("random_conv",),
    *,
    cohorts: Sequence[str] | None = None,
    settings: ClipSettings | None = None,
    options: BackboneOptions | None = None,
    volumes: str | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
) -> ExtractReport:
    """Compute the vectors that the lake lacks: of every scan, or of the scans of some cohorts.

    Each backbone makes a feature set of its own. A scan's images are read once for all of them. A vector is there when
    table features has its row and the row rests on the files the manifest has now. A scan that fails becomes a row of
    table exclusions (step features, the feature set as its source) and is tried again at the next run; it costs no
    other scan, and so does one that has to be preprocessed first. With nothing to do, no cluster is started and nothing
    is written.

    Args:
        lake: The lake.
        backbones: Names of backbones.
        cohorts: Cohorts to work on; all where None.
        settings: How clips are cut; the study's where None. Part of every recipe.
        options: Of the backbones; each takes those it has. Part of its recipe.
        volumes: The volume set that scans which need preprocessing are cut from; where None, the only one that the
            lake has of them. Part of every recipe.
        scheduler, workers, threads: See ``gliolake.cluster.client.open_cluster``.

    Raises:
        InputError: no such backbone or cohort, an option out of range or that no backbone has, or a lake without scans.
        ClusterError: the scheduler does not answer, or its workers would compute something else.
    """
    started = time.monotonic()
    settings, options = settings or ClipSettings(), options or BackboneOptions()
    choices = choose(backbones, options)
    scans = scans_of(lake, cohorts)
    volume_set = choose_volume_set(lake, {scan["cohort"] for scan in scans}, volumes)
    ready, unready = ready_scans(lake, scans, volume_set)
    recipes = [(choice, make_recipe(choice.open(), settings, volume_set)) for choice in choices]
    plan = make_plan(lake, recipes, ready)
    turned_away = [_turned_away(scan, plan, recipes) for scan in unready]
    failed = [one for task, outcome in turned_away for one in _failed(task, outcome)]
    if turned_away:
        with start_run(lake, "extract", {"backbones": list(backbones), "cohorts": cohorts}) as run:
            run.transact(partial(commit, recipes=[], plan=plan, batch=turned_away))
    if plan.tasks:
        names = [recipe.feature_set for _, recipe in recipes]
        arguments = {"backbones": list(backbones), "cohorts": cohorts, **asdict(options), "feature_sets": names}
        expected = expect(choices, settings)
        with (
            start_run(lake, "extract", arguments) as run,
            open_checked(expected, scheduler, workers, threads) as client,
        ):
            title = f"extracting {names[0] if len(names) == 1 else f'{len(names)} feature sets'}"
            outcomes = work_through(client, expected, plan.tasks, title)

            def commit_batch(batch: list[Outcome]) -> None:
                run.transact(partial(commit, recipes=[recipe for _, recipe in recipes], plan=plan, batch=batch))
                failed.extend(failed_scan for task, outcome in batch for failed_scan in _failed(task, outcome))

            commit_in_batches(unless_all_fail(outcomes, _unforeseen), commit_batch, BATCH_SCANS, BATCH_SECONDS)
    reports = tuple(_set_report(recipe, plan, failed) for _, recipe in recipes)
    for one in reports:
        reasons = Counter(scan.reason for scan in one.failed)
        fields = {"feature_set": one.feature_set, "computed": one.computed, "present": one.present}
        logger.info("scans extracted", extra={"fields": {**fields, "excluded": reasons}})
    return ExtractReport(
        feature_sets=reports,
        synthetic=plan.synthetic,
        scans=len(plan.tasks),
        seconds=time.monotonic() - started,
    )


@contextmanager
def open_checked(
    expected: Expected, scheduler: str | None, workers: int | None, threads: int | None
) -> Iterator[Client]:
    """A cluster of which every worker would compute what this process would. Says where it can be watched.

    Raises:
        ClusterError: there is none, or a worker would compute something else.
    """
    with open_engine(expected, scheduler, workers, threads) as client:
        check_workers(client, expected)
        if watched_at := dashboard_of(client):
            logger.info(f"The cluster can be watched at {watched_at}")
        yield client


def open_engine(
    expected: Expected, scheduler: str | None, workers: int | None, threads: int | None
) -> AbstractContextManager[Client]:
    """A cluster of the engine that was chosen; MXNet's workers are of an environment of their own, one thread each."""
    if expected.engine == "mxnet":
        return open_mxnet(scheduler, workers)
    return open_cluster(scheduler, workers, threads, memory_needed(expected.choices))


def memory_needed(choices: Sequence[Choice]) -> int:
    """About the bytes that a worker process needs: the networks' weights, and one scan on its way through them."""
    weights = sum(SOURCES[choice.backbone].megabytes for choice in choices if choice.backbone in SOURCES)
    return (500 + (1500 + weights if weights else 0)) * 10**6


def work_through(client: Client, expected: Expected, tasks: Sequence[ScanTask], description: str) -> Iterator[Outcome]:
    """The outcomes of all tasks, in parts where a feature set of a scan has to be tried again.

    Raises:
        ClusterError: the cluster is at fault, and not a scan.
    """
    for attempt in range(1, TRIES + 1):
        again: list[ScanTask] = []
        title = description if attempt == 1 else f"{description}, attempt {attempt}"
        todo = partial(compute, expected=expected)
        for task, result in map_tasks(
            client, todo, tasks, description=title, retries=0, resources=resources_of(expected)
        ):
            outcome = _outcome(task, result)
            passing = {name for name, failure in outcome.failures.items() if failure.passing}
            if attempt < TRIES and passing:
                again.append(replace(task, wanted=tuple(one for one in task.wanted if one.feature_set in passing)))
                settled = {name: failure for name, failure in outcome.failures.items() if name not in passing}
                outcome = replace(outcome, failures=settled)
            if outcome.vectors or outcome.failures:
                yield task, outcome
        tasks = again
        if not tasks:
            return
        fields = {"doing": description, "items": len(tasks), "because": "the failure may pass by itself"}
        logger.info("trying again", extra={"fields": fields})


def _unforeseen(result: Outcome) -> str | None:
    _, outcome = result
    if outcome.vectors:
        return None
    unforeseen = (failure for failure in outcome.failures.values() if failure.passing or failure.reason == WORKER_LOST)
    return next((failure.detail for failure in unforeseen), "")


def _outcome(task: ScanTask, result: ScanOutcome | Exception) -> ScanOutcome:
    """A scan with which workers die, again and again, has failed like any other."""
    if isinstance(result, ScanOutcome):
        return result
    lost = ScanFailure(WORKER_LOST, f"{type(result).__name__}: {result}")
    return ScanOutcome(failures={wanted.feature_set: lost for wanted in task.wanted})


def commit(transaction: Transaction, recipes: Sequence[Recipe], plan: Plan, batch: Sequence[Outcome]) -> None:
    """Write a batch of outcomes: vectors, and exclusions set or cleared, all visible at once or not at all.

    A scan that fails also loses those of its rows that rest on files it no longer has.
    """
    vectors: list[dict[str, Any]] = []
    exclusions: list[dict[str, Any]] = []
    row: dict[str, Any]
    done: set[tuple[str, str, str]] = set()
    for task, outcome in batch:
        key = {"cohort": task.cohort, "scan_id": task.scan_id}
        for name, failure in outcome.failures.items():
            fingerprint = plan.fingerprints[task.cohort, task.scan_id]
            row = {**key, "step": "features", "reason": failure.reason, "detail": failure.detail, "source": name}
            exclusions.append(row | {"fingerprint": fingerprint})
            done.add((task.cohort, task.scan_id, name))
            for branch in plan.stale[(task.cohort, task.scan_id), name]:
                transaction.delete("features", {**key, "feature_set": name, "modality": branch})
        for name, made in outcome.vectors.items():
            done.add((task.cohort, task.scan_id, name))
            for branch, values in made.items():
                row = {**key, "feature_set": name, "modality": branch, "values": values}
                vectors.append(row | {"input_sha256": input_digest(branch, task.files)})
    if vectors:
        made_now = {row["feature_set"] for row in vectors}
        transaction.upsert("feature_sets", [recipe.row() for recipe in recipes if recipe.feature_set in made_now])
        transaction.upsert("features", vectors)
    before = transaction.read("exclusions", {"step": "features"}).to_pylist()
    settled = [row for row in before if (row["cohort"], row["scan_id"], row["source"]) in done]
    transaction.replace_rows("exclusions", settled, exclusions)


def _turned_away(scan: dict[str, Any], plan: Plan, recipes: Sequence[tuple[Choice, Recipe]]) -> Outcome:
    """A scan that is to be preprocessed first has failed like any other; what vectors it has rest on something else."""
    key = (scan["cohort"], scan["scan_id"])
    plan.fingerprints[key] = scan["fingerprint"]
    plan.stale.update({(key, recipe.feature_set): list(BRANCHES) for _, recipe in recipes})
    detail = f"{scan['scan_id']} of cohort {scan['cohort']} is raw and not preprocessed: run gliolake preprocess."
    failure = ScanFailure(NOT_PREPROCESSED, detail)
    return ScanTask(*key, (), (), ()), ScanOutcome(failures={recipe.feature_set: failure for _, recipe in recipes})


def _failed(task: ScanTask, outcome: ScanOutcome) -> list[FailedScan]:
    return [
        FailedScan(task.cohort, task.scan_id, name, failure.reason, failure.detail)
        for name, failure in outcome.failures.items()
    ]


def _set_report(recipe: Recipe, plan: Plan, failed: Sequence[FailedScan]) -> SetReport:
    name = recipe.feature_set
    own = sorted((scan for scan in failed if scan.feature_set == name), key=lambda scan: (scan.cohort, scan.scan_id))
    wanted = sum(name == wanted.feature_set for task in plan.tasks for wanted in task.wanted)
    tried = [scan for scan in own if scan.reason != NOT_PREPROCESSED]
    return SetReport(name, recipe.weights, wanted - len(tried), plan.present[name], tuple(own))
