"""`gliolake preprocess`: the raw scans of the lake become kept volumes, those that are missing and no others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from gliolake.cluster.client import open_cluster
from gliolake.cluster.failures import unless_all_fail
from gliolake.cluster.tasks import commit_in_batches, map_tasks
from gliolake.errors import InputError
from gliolake.features.preprocessing.report import CohortReport, FailedSession, PreprocessReport
from gliolake.features.preprocessing.settings import PreprocessSettings
from gliolake.features.preprocessing.task import PREPROCESSING_FAILED, SessionOutcome, SessionTask, preprocess_session
from gliolake.features.preprocessing.volumes import (
    NOT_PREPROCESSED,
    is_kept,
    kept_volumes,
    session_digest,
    volume_set_of,
)
from gliolake.features.scans import scans_of
from gliolake.ingest.cohorts.description import known_cohorts
from gliolake.ingest.exclusions import exclusion
from gliolake.log.journal import logger
from gliolake.runs import start_run
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction

STEP = "preprocess"

BATCH_SESSIONS = 4
BATCH_SECONDS = 20.0
"""A batch is committed when it has this many sessions or is this old: what a crash can cost."""

MEMORY = 1_500_000_000
"""About the bytes that a worker needs for a session."""

Outcome = tuple[SessionTask, SessionOutcome]


def preprocess_cohorts(
    lake: Lake,
    *,
    cohorts: Sequence[str] | None = None,
    settings: PreprocessSettings | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
) -> PreprocessReport:
    """Preprocess the scans of all cohorts, or of some, that need it, and keep the volumes in the lake.

    A cohort's description says which steps were done to it before; only the others are done. Where those that are left
    are what clips do anyway, nothing is kept. With nothing to do, no cluster is started and nothing is written.
    A scan that fails becomes a row of table exclusions (step preprocess, the volume set as its source).

    Args:
        lake: The lake.
        cohorts: Cohorts to work on; all where None.
        settings: The steps that scans have to have seen; all but coregister where None. They make the volume set.
        scheduler, workers: See ``gliolake.cluster.client.open_cluster``.

    Raises:
        InputError: there is no such cohort, the lake has no scans, or a cohort asked for does not say what was done.
        BadImage: the template cannot be read.
        ClusterError: the scheduler does not answer, or went away.
    """
    started = time.monotonic()
    settings = settings or PreprocessSettings()
    volume_set, recipe = volume_set_of(settings)
    scans = scans_of(lake, cohorts)
    left = _settings_left(lake, {scan["cohort"] for scan in scans}, settings, asked=bool(cohorts))
    kept = kept_volumes(lake, volume_set)
    waiting = []
    for scan in scans:
        own = left[scan["cohort"]]
        key = (scan["cohort"], scan["scan_id"])
        if own and own.beyond_clips and not is_kept(scan, own.steps, kept.get(key, [])):
            waiting.append(_task(scan, own))
    failed: list[FailedSession] = []
    if waiting:
        arguments = {"cohorts": cohorts, "volume_set": volume_set, **asdict(settings)}
        with (
            start_run(lake, "preprocess", arguments) as run,
            open_cluster(scheduler, workers, memory=MEMORY) as client,
        ):
            outcomes = map_tasks(client, preprocess_session, waiting, description="preprocessing", retries=0)
            sound = unless_all_fail(outcomes, _unforeseen)

            def commit_batch(batch: list[Outcome]) -> None:
                run.transact(partial(_commit, volume_set=volume_set, recipe=recipe, batch=batch))
                failed.extend(_failed(task, outcome) for task, outcome in batch if outcome.reason)

            commit_in_batches(_settled(sound), commit_batch, BATCH_SESSIONS, BATCH_SECONDS)
    reports = [
        _cohort_report(name, own, [scan["cohort"] for scan in scans].count(name), waiting, failed)
        for name, own in left.items()
    ]
    for one in reports:
        reasons = Counter(scan.reason for scan in one.failed)
        fields = {"cohort": one.cohort, "computed": one.computed, "present": one.present, "excluded": reasons}
        logger.info("scans preprocessed", extra={"fields": fields})
    return PreprocessReport(volume_set, settings.steps, tuple(reports), time.monotonic() - started)


def _settings_left(
    lake: Lake, cohorts: set[str], settings: PreprocessSettings, *, asked: bool
) -> dict[str, PreprocessSettings | None]:
    """What is left to do, by cohort; None for a cohort that does not say what was done to it."""
    described = known_cohorts(lake)
    left: dict[str, PreprocessSettings | None] = {}
    for name in sorted(cohorts):
        cohort = described.get(name)
        if cohort is None or cohort.done is None:
            if asked:
                raise InputError(
                    f"The description of cohort {name} does not say which steps were done to its images already.",
                    hint="Add [preprocessing] done = […] to its TOML file, [] where none were, and ingest it again.",
                )
            left[name] = None
        else:
            left[name] = settings.without(cohort.done)
    return left


def _task(scan: dict[str, Any], settings: PreprocessSettings) -> SessionTask:
    files = tuple((file["role"], file["uri"], file["sha256"]) for file in scan["files"])
    digest = session_digest(scan, settings.steps)
    box = tuple(scan["tumour_box"])
    return SessionTask(scan["cohort"], scan["scan_id"], files, box, settings, digest, scan["fingerprint"])


def _unforeseen(result: tuple[SessionTask, SessionOutcome | Exception]) -> str | None:
    _, outcome = result
    if isinstance(outcome, Exception):
        return f"{type(outcome).__name__}: {outcome}"
    return "" if outcome.reason else None


def _settled(outcomes: Iterator[tuple[SessionTask, SessionOutcome | Exception]]) -> Iterator[Outcome]:
    """A session that failed as nobody foresaw, or with which workers die, has failed like any other."""
    for task, outcome in outcomes:
        if isinstance(outcome, Exception):
            yield task, SessionOutcome(reason=PREPROCESSING_FAILED, detail=f"{type(outcome).__name__}: {outcome}"[:500])
        else:
            yield task, outcome


def _commit(tx: Transaction, volume_set: str, recipe: str, batch: Sequence[Outcome]) -> None:
    """Volumes, their voxels, and exclusions set or cleared: visible at once or not at all."""
    exclusions: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    for task, outcome in batch:
        key = {"volume_set": volume_set, "cohort": task.cohort, "scan_id": task.scan_id}
        if outcome.reason:
            row = exclusion(task.cohort, task.scan_id, STEP, outcome.reason, outcome.detail, source=volume_set)
            exclusions.append(row | {"fingerprint": task.fingerprint})
            continue
        made = {volume.role for volume in outcome.volumes}
        before = tx.read("volumes", key, ["volume_set", "cohort", "scan_id", "role"]).to_pylist()
        for table in ("volumes", "voxels"):
            tx.delete_keys(table, [row for row in before if row["role"] not in made])
        for volume in outcome.volumes:
            row = {**key, "role": volume.role, "steps": task.settings.steps, "shape": volume.shape}
            row |= {"affine": volume.affine, "tumour_box": outcome.tumour_box, "bytes": len(volume.nifti)}
            volumes.append(row | {"sha256": volume.sha256, "input_sha256": task.input_sha256})
            tx.upsert("voxels", [{**key, "role": volume.role, "nifti": volume.nifti}])
    if volumes:
        tx.upsert("volume_sets", [{"volume_set": volume_set, "recipe": recipe}])
        tx.upsert("volumes", volumes)
    tried = {(task.cohort, task.scan_id) for task, _ in batch}
    made_now = {(row["cohort"], row["scan_id"]) for row in volumes}
    before = tx.read("exclusions", {"step": STEP, "source": volume_set}).to_pylist()
    settled = [row for row in before if (row["cohort"], row["scan_id"]) in tried]
    waiting = tx.read("exclusions", {"reason": NOT_PREPROCESSED}).to_pylist()  # extraction turned them away
    settled += [row for row in waiting if (row["cohort"], row["scan_id"]) in made_now]
    tx.replace_rows("exclusions", settled, exclusions)


def _failed(task: SessionTask, outcome: SessionOutcome) -> FailedSession:
    return FailedSession(task.cohort, task.scan_id, outcome.reason, outcome.detail)


def _cohort_report(
    name: str,
    settings: PreprocessSettings | None,
    scans: int,
    waiting: Sequence[SessionTask],
    failed: Sequence[FailedSession],
) -> CohortReport:
    own = tuple(sorted((scan for scan in failed if scan.cohort == name), key=lambda scan: scan.scan_id))
    worked_on = sum(task.cohort == name for task in waiting)
    if settings is None or not settings.beyond_clips:
        return CohortReport(name, None if settings is None else (), scans)
    return CohortReport(name, settings.steps, scans, worked_on - len(own), scans - worked_on, own)
