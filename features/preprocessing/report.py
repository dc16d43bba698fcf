"""What `gliolake preprocess` says when it is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN_FAILURES = 10


@dataclass(frozen=True)
class FailedSession:
    """A scan without volumes, with the reason (one of a fixed set) and the detail in words."""

    cohort: str
    scan_id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class CohortReport:
    """A cohort's scans, and of how many volumes were computed now or there before.

    steps: What was left to do; empty where nothing was, None where the cohort's description does not say.
    """

    cohort: str
    steps: tuple[str, ...] | None
    scans: int
    computed: int = 0
    present: int = 0
    failed: tuple[FailedSession, ...] = ()

    def lines(self) -> list[tuple[str, str]]:
        """What people see of it."""
        if self.steps is None:
            return [("nothing done", "its description does not say what was done before ([preprocessing], done)")]
        if not self.steps:
            return [("nothing to do", f"clips are cut from the files of its {self.scans:,} scans as they came")]
        reasons = Counter(scan.reason for scan in self.failed)
        told = [("steps", ", ".join(self.steps)), ("computed now", f"{self.computed:,}")]
        told += [("there before", f"{self.present:,}")]
        return told + [(f"failed: {reason}", f"{number:,}") for reason, number in sorted(reasons.items())]


@dataclass(frozen=True)
class PreprocessReport:
    """The volume set, the steps it stands for, a report for each cohort, and seconds of the whole run."""

    volume_set: str
    steps: tuple[str, ...]
    cohorts: tuple[CohortReport, ...]
    seconds: float

    @property
    def failed(self) -> tuple[FailedSession, ...]:
        """The failures of all cohorts."""
        return tuple(scan for cohort in self.cohorts for scan in cohort.failed)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[RenderableType] = [Text(f"Volume set {self.volume_set}", style="bold")]
        table = Table(show_header=False, box=None, pad_edge=False)
        for cohort in self.cohorts:
            for number, (what, value) in enumerate(cohort.lines()):
                table.add_row(Text("" if number else cohort.cohort, style="bold"), Text(what), Text(value))
        lines = [f"{scan.cohort} {scan.scan_id}: {scan.detail}" for scan in self.failed[:SHOWN_FAILURES]]
        if len(self.failed) > SHOWN_FAILURES:
            lines.append(f"… and {len(self.failed) - SHOWN_FAILURES} more (table exclusions, step preprocess).")
        return Group(*parts, table, *map(Text, lines), Text(f"{self.seconds:.1f} s."))
