"""`gliolake ingest --config`: ingests the cohorts of a file in turn, then extracts features of new scans.

A timer starts it (``deploy/schedule``) and prevents overlapping runs; two runs at once repeat work and lose nothing. A
run that finds nothing new writes nothing. Changes are recorded as a row of table runs (command ``schedule``) and
printed as one line.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.errors import GliolakeError
from gliolake.ingest.schedule import ExtractJob, ScheduleReport, failure, ingest_cohort, notice, read_schedule
from gliolake.runs import Run
from gliolake.sql.status import split_sizes

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake


def run_schedule(lake: Lake, file: Path, *, scheduler: str | None = None, workers: int | None = None) -> ScheduleReport:
    """Ingest the cohorts of a schedule file, and extract. A step that fails costs itself alone.

    Args:
        lake: the lake.
        file: see ``gliolake.ingest.schedule.read_schedule``.
        scheduler, workers: see ``gliolake.cluster.client.open_cluster``.

    Raises:
        InputError: the file is faulty.
    """
    schedule, started, run = read_schedule(file), time.monotonic(), Run(lake, "schedule", {})
    with run.under_way():
        counted: list[Mapping[str, int]] = []
        lake.on_first_commit = lambda: counted.append(split_sizes(lake))  # a run that finds nothing new need not count
        cohorts = tuple(ingest_cohort(lake, job, scheduler=scheduler, workers=workers) for job in schedule.cohort)
        extracted: dict[str, int] = {}
        error = ""
        if schedule.extract:
            try:
                extracted = _extract(lake, schedule.extract, scheduler, workers)
            except (GliolakeError, OSError) as trouble:
                error = failure(trouble, "extract")
        lake.on_first_commit = None
        after = split_sizes(lake) if counted else {}
        views = {name: (before[name], rows) for before in counted for name, rows in after.items()}
        report = ScheduleReport(cohorts, extracted, error, views, bool(counted), time.monotonic() - started)
        run.outcome = f"failed: {', '.join(report.failed)}" if report.failed else "done"
        if report.changed:
            run.tell({"config": str(file), **notice(report)})
    return report


def _extract(lake: Lake, job: ExtractJob, scheduler: str | None, workers: int | None) -> dict[str, int]:
    """Feature set -> scans computed."""
    from gliolake.features.backbones.registry import BackboneOptions
    from gliolake.features.clips import ClipSettings
    from gliolake.features.extraction.command import extract

    given = {name: value for name, value in vars(job).items() if value is not None}
    clips, backbones = (
        {each.name: given[each.name] for each in fields(kind) if each.name in given}
        for kind in (ClipSettings, BackboneOptions)
    )
    report = extract(
        lake,
        job.backbone,
        cohorts=job.cohort or None,
        settings=ClipSettings(**clips),
        options=BackboneOptions(**backbones),
        volumes=job.volumes,
        scheduler=scheduler,
        workers=workers,
    )
    return {one.feature_set: one.computed for one in report.feature_sets}
