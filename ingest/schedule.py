"""`gliolake ingest --config`: every cohort of a file, then extraction of what is new.

A timer starts it (``deploy/schedule``) and keeps starts apart; two at once do the same work twice, and lose nothing.
A cohort that fails costs itself alone; a run that finds nothing new writes nothing. What changed is told in a row of
table runs (command ``schedule``), in one line, and to a web address.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliolake.errors import GliolakeError, InputError
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.report import IngestReport
from gliolake.ingest.webhook import is_safe, post
from gliolake.log.journal import logger
from gliolake.runs import Run
from gliolake.toml_file import Section, read_toml

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake


@dataclass(frozen=True)
class CohortJob:
    """A cohort as ``ingest`` takes it: its name or description, and where its files are."""

    cohort: str
    images: Path | None
    labels: tuple[Path, ...]
    boxes: Path | None
    encoding: str = ""
    linked_images: bool = False


@dataclass(frozen=True)
class ExtractJob:
    """The options of `gliolake extract`, by its names for them; ``{}`` in ``options`` are its defaults."""

    backbones: tuple[str, ...]
    cohorts: tuple[str, ...]
    options: Mapping[str, str | int]


@dataclass(frozen=True)
class Schedule:
    """A schedule file: its cohorts, the extraction that follows, and a web address that is told ("" for none)."""

    file: str
    cohorts: tuple[CohortJob, ...]
    extract: ExtractJob | None = None
    webhook: str = field(default="", repr=False)


@dataclass(frozen=True)
class Steps:
    """What this room asks of later ones.

    extract: computes vectors, and returns how many scans were computed, by feature set.
    count: counts the rows of the views of splits.
    """

    extract: Callable[[ExtractJob], Mapping[str, int]]
    count: Callable[[], Mapping[str, int]]


@dataclass(frozen=True)
class CohortResult:
    """How a cohort fared: its report, and what is wrong; no report where nothing was ingested."""

    cohort: str
    report: IngestReport | None
    error: str = ""

    def __str__(self) -> str:
        if self.report is None:
            return f"{self.cohort} failed"
        return f"{self.cohort} {self.report.read:,} of {self.report.found:,} scans read"


@dataclass(frozen=True)
class ScheduleReport:
    """Outcome of a scheduled run.

    extracted: feature set -> scans computed. views: view -> its rows before and after, if anything was changed.
    changed: whether the run changed the lake.
    """

    cohorts: tuple[CohortResult, ...] = ()
    extracted: Mapping[str, int] = field(default_factory=dict)
    extract_error: str = ""
    views: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    changed: bool = False
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[str, ...]:
        """Cohorts that failed, and ``extract`` if it did."""
        names = [result.cohort for result in self.cohorts if result.error]
        return (*names, *(["extract"] if self.extract_error else []))

    @property
    def exit_code(self) -> int:
        """0 when all went well; 1 when a cohort or extraction failed."""
        return 1 if self.failed else 0

    @property
    def summary(self) -> str:
        """All of it in one line."""
        parts = [str(result) for result in self.cohorts]
        parts += [f"{name} {count:,} scans computed" for name, count in self.extracted.items()]
        parts += ["extraction failed"] if self.extract_error else []
        moved = [f"{name} {was:,} to {now:,}" for name, (was, now) in self.views.items() if was != now]
        parts += moved if self.changed else ["nothing new"]
        return f"{'; '.join(parts)}; {self.seconds:.1f} s."


def notice(report: ScheduleReport) -> dict[str, Any]:
    """What the webhook and table runs say of a scheduled run."""
    return {
        "summary": report.summary,
        "exit_code": report.exit_code,
        **asdict(report),
        "cohorts": {
            one.cohort: {**(asdict(one.report) if one.report else {}), "error": one.error} for one in report.cohorts
        },
        "seconds": round(report.seconds, 3),
    }


def read_schedule(file: Path) -> Schedule:
    """The schedule in a TOML file, of which ``deploy/schedule/cohorts.toml`` is an annotated one.

    Relative paths start at the file's folder. Whether folders and descriptions are there is found out by the run.

    Raises:
        InputError: the file is no TOML, or a key of it is unknown or faulty; names the nearest key.
    """
    top = read_toml(file)
    if "cluster" in top and "cohort" not in top:
        hint = f"Name it before the command: gliolake --config {file} ingest …"
        raise InputError(f"{file} says where work is done, and not what is ingested.", hint=hint)
    cohorts = tuple(_cohort(section, file.parent) for section in top.sections("cohort"))
    if not cohorts:
        raise top.wrong("cohort", "is missing: there is nothing to ingest", "Write a [[cohort]] for each.")
    extract = _extract(top.section("extract")) if "extract" in top else None
    webhook = _webhook(top.section("notify")) if "notify" in top else ""
    top.end()
    return Schedule(str(file), cohorts, extract, webhook)


def _cohort(section: Section, folder: Path) -> CohortJob:
    def path(text: str) -> Path:
        return folder / Path(text).expanduser()

    name = section.text("cohort")
    job = CohortJob(
        str(path(name)) if name.endswith(".toml") else name,
        path(section.text("images")) if "images" in section else None,
        tuple(path(text) for text in section.texts("labels", (), may_be_empty=True)),
        path(section.text("boxes")) if "boxes" in section else None,
        section.text("encoding", ""),
        section.flag("linked_images", False),
    )
    section.end()
    return job


def _extract(section: Section) -> ExtractJob:
    texts = ("delta", "weights", "sampling", "precision", "engine", "volumes")
    options: dict[str, str | int] = {key: section.text(key) for key in texts if key in section}
    options |= {key: section.whole(key) for key in ("box", "slices", "seed") if key in section}
    job = ExtractJob(
        section.texts("backbone", ("random_conv",)), section.texts("cohort", (), may_be_empty=True), options
    )
    section.end()
    return job


def _webhook(section: Section) -> str:
    address = section.text("webhook", "")
    variable = section.text("webhook_variable", "")
    section.end()
    if bool(address) == bool(variable):
        raise section.wrong("webhook", "or 'webhook_variable' has to be given, and not both")
    key = "webhook" if address else "webhook_variable"
    address = address or os.environ.get(variable, "")
    if not is_safe(address):
        raise section.wrong(key, "gives no https:// address", "Plain http:// is for this machine alone (127.0.0.1).")
    return address


def run_schedule(
    lake: Lake, schedule: Schedule, steps: Steps, *, scheduler: str | None = None, workers: int | None = None
) -> ScheduleReport:
    """Ingest the cohorts in turn, extract, and tell how it went.

    Args:
        lake: the lake.
        schedule: from ``read_schedule``.
        steps: what other rooms do.
        scheduler, workers: see ``gliolake.cluster.client.open_cluster``.
    """
    run = Run(lake, "schedule", {})
    with run.under_way():
        report = _run(run, schedule, steps, scheduler, workers)
    if schedule.webhook and (trouble := post(schedule.webhook, notice(report))):
        logger.warning(trouble)
    return report


def _run(run: Run, schedule: Schedule, steps: Steps, scheduler: str | None, workers: int | None) -> ScheduleReport:
    lake = run.lake
    started = time.monotonic()
    counted: list[Mapping[str, int]] = []
    lake.before_change = lambda: counted.append(steps.count())  # a run that finds nothing new need not count
    cohorts = tuple(_ingest(lake, job, scheduler, workers) for job in schedule.cohorts)
    extracted: Mapping[str, int] = {}
    error = ""
    if schedule.extract:
        try:
            extracted = steps.extract(schedule.extract)
        except (GliolakeError, OSError) as trouble:
            error = _told(trouble, "extract")
    lake.before_change = None
    changed = bool(counted)
    after = steps.count() if changed else {}
    views = {name: (before[name], rows) for before in counted for name, rows in after.items()}
    report = ScheduleReport(cohorts, extracted, error, views, changed, time.monotonic() - started)
    run.outcome = f"failed: {', '.join(report.failed)}" if report.failed else "done"
    if changed:
        run.tell({"config": schedule.file, **notice(report)})
    return report


def _ingest(lake: Lake, job: CohortJob, scheduler: str | None, workers: int | None) -> CohortResult:
    name = Path(job.cohort).stem
    try:
        report = ingest(
            lake,
            job.cohort,
            job.images,
            job.labels,
            boxes=job.boxes,
            encoding=job.encoding,
            linked_images=job.linked_images,
            scheduler=scheduler,
            workers=workers,
        )
    except (GliolakeError, OSError) as error:
        return CohortResult(name, None, _told(error, name))
    return CohortResult(report.cohort, report, " ".join(report.problems))


def _told(error: GliolakeError | OSError, step: str) -> str:
    hint = error.hint if isinstance(error, GliolakeError) else ""
    fields = {"step": step, "message": str(error), "hint": hint}
    logger.error("step failed", extra={"fields": fields})
    return f"{error} {hint}".strip()
