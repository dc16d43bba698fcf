"""`gliolake extract`: the scans of the lake become rows of table features, those that are missing and no others."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from features.backbones import Backbone, BackboneOptions, open_backbone
from features.clips import ClipSettings
from features.report import ExtractReport, FailedScan
from features.scan_task import (
    WORKER_LOST,
    ScanFailure,
    ScanFile,
    ScanTask,
    ScanVectors,
    compute,
    input_digest,
    possible_branches,
)
from lake.cluster import batches, map_tasks, open_cluster
from lake.errors import InputError, unknown_name
from lake.runs import Run, start_run
from lake.store import Lake
from lake.transaction import Transaction

BATCH_SCANS = 32
BATCH_SECONDS = 20.0
"""A batch is committed when it has this many scans or is this old: what a crash can cost."""


@dataclass(frozen=True)
class Recipe:
    """What vectors are made by. Its id is the backbone's name and a short hash of all of it."""

    backbone: str
    weights: str
    text: str

    @property
    def feature_set(self) -> str:
        """E.g. ``random_conv-1f3a5c7e90``: ten hexadecimal digits of the sha256 of the canonical JSON."""
        return f"{self.backbone}-{hashlib.sha256(self.text.encode()).hexdigest()[:10]}"

    def row(self) -> dict[str, str]:
        """The row of table feature_sets."""
        return {
            "feature_set": self.feature_set,
            "backbone": self.backbone,
            "weights": self.weights,
            "recipe": self.text,
        }


@dataclass(frozen=True)
class Plan:
    """The work there is. ``stale`` are the branches of a scan whose rows rest on files that it no longer has."""

    tasks: list[ScanTask] = field(default_factory=list)
    stale: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    fingerprints: dict[tuple[str, str], str] = field(default_factory=dict)
    synthetic: bool = False
    present: list[tuple[str, str]] = field(default_factory=list)


Outcome = tuple[ScanTask, ScanVectors | ScanFailure]


def extract(
    lake: Lake,
    backbone: str = "random_conv",
    *,
    cohorts: Sequence[str] | None = None,
    delta: str = "image",
    box: int = 128,
    slices: int = 150,
    low_percentile: float = 1.0,
    high_percentile: float = 99.0,
    percentile_of: str = "all",
    seed: int = 0,
    weights: str | None = None,
    sampling: str = "uniform",
    precision: str = "fp32",
    scheduler: str | None = None,
    workers: int | None = None,
) -> ExtractReport:
    """Compute the vectors that the lake lacks: of every scan, or of the scans of some cohorts.

    A vector is there when table features has its row and the row rests on the files the manifest has now. A scan that
    fails becomes a row of table exclusions (step features) and is tried again at the next run; it costs no other scan.
    With nothing to do, no cluster is started and nothing is written.

    Args:
        lake: The lake.
        backbone: Name of a backbone.
        cohorts: Cohorts to work on; all where None.
        delta, box, slices, low_percentile, high_percentile, percentile_of: See ``features.clips.ClipSettings``.
        seed, weights, sampling, precision: See ``features.backbones.BackboneOptions``. Part of the recipe.
        scheduler: Address of a running Dask scheduler; None starts workers on this machine.
        workers: How many.

    Raises:
        InputError: no such backbone or cohort, a setting out of range, or a lake without scans.
        ClusterError: the scheduler does not answer.
    """
    started = time.monotonic()
    settings = ClipSettings(box, slices, low_percentile, high_percentile, cast(Any, percentile_of), cast(Any, delta))
    options = BackboneOptions(seed, weights, sampling, precision)
    recipe = make_recipe(open_backbone(backbone, options), settings)
    plan = make_plan(lake, recipe, settings, options, cohorts)
    failed: list[FailedScan] = []
    if plan.tasks:
        arguments = {"backbone": backbone, "cohorts": cohorts, **asdict(options), "feature_set": recipe.feature_set}
        with start_run(lake, "extract", arguments) as run, open_cluster(scheduler, workers) as client:
            outcomes = map_tasks(client, compute, plan.tasks, description=f"extracting {recipe.feature_set}")
            for batch in batches((_named(outcome) for outcome in outcomes), BATCH_SCANS, BATCH_SECONDS):
                commit(run, recipe, plan, batch)
                failed += [
                    FailedScan(task.cohort, task.scan_id, outcome.reason, outcome.detail)
                    for task, outcome in batch
                    if isinstance(outcome, ScanFailure)
                ]
    return ExtractReport(
        feature_set=recipe.feature_set,
        weights=recipe.weights,
        synthetic=plan.synthetic,
        computed=len(plan.tasks) - len(failed),
        present=len(plan.present),
        failed=tuple(sorted(failed, key=lambda scan: (scan.cohort, scan.scan_id))),
        seconds=time.monotonic() - started,
    )


def make_recipe(backbone: Backbone, settings: ClipSettings) -> Recipe:
    """The recipe of a backbone on clips of these settings, as JSON with sorted keys and no spaces."""
    recipe = {"backbone": backbone.name, "weights": backbone.weights, "network": backbone.recipe()}
    text = json.dumps({**recipe, "clip": settings.recipe()}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return Recipe(backbone.name, backbone.weights, text)


def make_plan(
    lake: Lake, recipe: Recipe, settings: ClipSettings, options: BackboneOptions, cohorts: Sequence[str] | None
) -> Plan:
    """Compare the manifest with table features.

    Raises:
        InputError: a cohort has no scans, or no cohort has.
    """
    scans = lake.read(
        "scans", columns=["cohort", "scan_id", "files", "tumour_box", "fingerprint", "warnings"]
    ).to_pylist()
    known = {scan["cohort"] for scan in scans}
    if not known:
        raise InputError("The lake has no scans.", hint="Ingest a cohort's images first: gliolake ingest --images DIR.")
    for name in cohorts or ():
        if name not in known:
            raise unknown_name("cohort with scans", name, known)
    columns = ["cohort", "scan_id", "modality", "input_sha256"]
    rows = lake.read("features", {"feature_set": recipe.feature_set}, columns).to_pylist()
    there = {(row["cohort"], row["scan_id"], row["modality"]): row["input_sha256"] for row in rows}
    scans = [scan for scan in scans if not cohorts or scan["cohort"] in cohorts]
    plan = Plan(synthetic=any("synthetic" in scan["warnings"] for scan in scans))
    for scan in sorted(scans, key=lambda scan: (scan["cohort"], scan["scan_id"])):
        key = (scan["cohort"], scan["scan_id"])
        files = tuple(ScanFile(file["role"], file["uri"], file["sha256"]) for file in scan["files"])
        current = {branch: input_digest(branch, files) for branch in possible_branches(files)}
        lacking = tuple(branch for branch, digest in current.items() if there.get((*key, branch)) != digest)
        if not lacking:
            plan.present.append(key)
            continue
        plan.stale[key] = [branch for branch in lacking if (*key, branch) in there]
        plan.fingerprints[key] = scan["fingerprint"]
        box = tuple(scan["tumour_box"])
        plan.tasks.append(ScanTask(*key, files, box, lacking, recipe.backbone, options, settings))
    return plan


def commit(run: Run, recipe: Recipe, plan: Plan, batch: Sequence[Outcome]) -> None:
    """Write a batch of outcomes: vectors, and exclusions set or cleared, all visible at once or not at all.

    A scan that fails also loses those of its rows that rest on files it no longer has.
    """
    vectors: list[dict[str, Any]] = []
    exclusions: list[dict[str, Any]] = []
    outdated: list[dict[str, Any]] = []
    for task, outcome in batch:
        key = {"cohort": task.cohort, "scan_id": task.scan_id}
        row = {**key, "feature_set": recipe.feature_set}
        if isinstance(outcome, ScanFailure):
            fingerprint = plan.fingerprints[task.cohort, task.scan_id]
            exclusions.append({**key, "step": "features", **vars(outcome), "fingerprint": fingerprint})
            outdated += [{**row, "modality": branch} for branch in plan.stale[task.cohort, task.scan_id]]
            continue
        for branch, values in outcome.vectors.items():
            digest = input_digest(branch, task.files)
            vectors.append({**row, "modality": branch, "values": values, "input_sha256": digest})
    scans = {(task.cohort, task.scan_id) for task, _ in batch}

    def build(transaction: Transaction) -> None:
        if vectors:
            transaction.upsert("feature_sets", [recipe.row()])
            transaction.upsert("features", vectors)
        for where in outdated:
            transaction.delete("features", where)
        columns = ["cohort", "scan_id", "step", "reason", "source"]
        before = transaction.read("exclusions", {"step": "features"}, columns).to_pylist()
        standing = {tuple(row[column] for column in columns) for row in exclusions}
        settled = [row for row in before if (row["cohort"], row["scan_id"]) in scans]
        transaction.delete_keys("exclusions", [row for row in settled if tuple(row.values()) not in standing])
        transaction.upsert("exclusions", exclusions)

    run.transact(build)


def _named(outcome: tuple[ScanTask, ScanVectors | ScanFailure | Exception]) -> Outcome:
    """A task that could not return (its worker died, again and again) is a failure like any other."""
    task, result = outcome
    if isinstance(result, Exception):
        return task, ScanFailure(WORKER_LOST, f"{type(result).__name__}: {result}", task.scan_id)
    return task, result
