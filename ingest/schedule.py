"""The file of `gliolake ingest --config`: cohorts that are ingested in turn, and the extraction that follows.

``gliolake.cli.schedule`` does what it says. A cohort that fails costs itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from gliolake.errors import GliolakeError, InputError
from gliolake.ingest.pipeline import ingest
from gliolake.ingest.report import IngestReport
from gliolake.log.journal import logger
from gliolake.toml_file import (
    Beside,
    FilePath,
    FilePaths,
    SomeTexts,
    Table,
    Texts,
    Wrong,
    at_least,
    load_toml,
    read_table,
    text_of,
)

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake


Natural = Annotated[int, at_least(0)]


@dataclass(frozen=True, kw_only=True)
class CohortJob(Table):
    """A cohort as ``ingest`` takes it: its name or description, and where its files are."""

    cohort: Annotated[str, Beside(".toml")]
    images: FilePath | None = None
    labels: FilePaths = ()
    boxes: FilePath | None = None
    encoding: str = ""
    linked_images: bool = False


@dataclass(frozen=True, kw_only=True)
class ExtractJob(Table):
    """The options of `gliolake extract`, by its names for them; None and () are its defaults."""

    backbone: SomeTexts = ("random_conv",)
    cohort: Texts = ()
    delta: str | None = None
    weights: str | None = None
    sampling: str | None = None
    precision: str | None = None
    engine: str | None = None
    volumes: str | None = None
    box: Natural | None = None
    slices: Natural | None = None
    seed: Natural | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule(Table):
    """A schedule file: its cohorts, and the extraction that follows."""

    cohort: tuple[CohortJob, ...] = ()
    extract: ExtractJob | None = None

    def __post_init__(self) -> None:
        if not self.cohort:
            raise Wrong("is missing: write a [[cohort]] for each", key="cohort")


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
    """What ``--json`` and table runs say of a scheduled run."""
    return {
        "summary": report.summary,
        "exit_code": report.exit_code,
        "changed": report.changed,
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
        InputError: the file is no TOML, or keys of it are unknown or faulty; names the nearest keys.
    """
    content = load_toml(text_of(file), str(file))
    if "cluster" in content and "cohort" not in content:
        hint = f"Name it before the command: gliolake --config {file} ingest …"
        raise InputError(f"{file} says where work is done, and not what is ingested.", hint=hint)
    return read_table(content, Schedule, str(file))


def ingest_cohort(lake: Lake, job: CohortJob, *, scheduler: str | None, workers: int | None) -> CohortResult:
    """Ingest one cohort; what it fails for is in the result, and in the journal."""
    name = Path(job.cohort).stem
    options = {key: value for key, value in vars(job).items() if key not in {"cohort", "images", "labels"}}
    try:
        report = ingest(lake, job.cohort, job.images, job.labels, **options, scheduler=scheduler, workers=workers)
    except (GliolakeError, OSError) as error:
        return CohortResult(name, None, failure(error, name))
    return CohortResult(report.cohort, report, " ".join(report.problems))


def failure(error: GliolakeError | OSError, step: str) -> str:
    """What a step failed for, in words; the journal has it too."""
    hint = error.hint if isinstance(error, GliolakeError) else ""
    fields = {"step": step, "message": str(error), "hint": hint}
    logger.error("step failed", extra={"fields": fields})
    return f"{error} {hint}".strip()
