"""What `gliolake extract` says when it is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SHOWN_FAILURES = 10


@dataclass(frozen=True)
class FailedScan:
    """A scan without vectors in a feature set, with the reason (one of a fixed set) and the detail in words."""

    cohort: str
    scan_id: str
    feature_set: str
    reason: str
    detail: str


@dataclass(frozen=True)
class SetReport:
    """A feature set, what its vectors rest on, and counts of scans."""

    feature_set: str
    weights: str
    computed: int
    present: int
    failed: tuple[FailedScan, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**vars(self), "failed": [vars(scan) for scan in self.failed]}

    def counts(self) -> list[tuple[str, int]]:
        """Rows of the table that people see."""
        reasons = Counter(scan.reason for scan in self.failed)
        failures = [(f"failed: {reason}", number) for reason, number in sorted(reasons.items())]
        return [("computed now", self.computed), ("there before", self.present), *failures]


@dataclass(frozen=True)
class ExtractReport:
    """A report per feature set; ``scans`` that were worked on, ``seconds`` of the whole run."""

    feature_sets: tuple[SetReport, ...]
    synthetic: bool
    scans: int
    seconds: float

    @property
    def scans_per_second(self) -> float:
        """Of the scans worked on, start of the workers included; 0 where there were none."""
        return self.scans / self.seconds if self.scans and self.seconds > 0 else 0.0

    @property
    def failed(self) -> tuple[FailedScan, ...]:
        """The failures of all feature sets."""
        return tuple(scan for one in self.feature_sets for scan in one.failed)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "feature_sets": [one.as_dict() for one in self.feature_sets],
            "synthetic": self.synthetic,
            "scans": self.scans,
            "seconds": round(self.seconds, 3),
            "scans_per_second": round(self.scans_per_second, 3),
        }

    def show(self, console: Console) -> None:
        """Print the report for people."""
        console.print(self)

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        parts: list[RenderableType] = []
        for one in self.feature_sets:
            rests_on = f"weights: {one.weights}" + ("; SYNTHETIC scans" if self.synthetic else "")
            table = Table()
            table.add_column("scans")
            table.add_column("number", justify="right")
            for name, number in one.counts():
                table.add_row(name, str(number))
            parts += [Text(f"Feature set {one.feature_set} ({rests_on})", style="bold"), table]
        details = [scan.detail.partition("\n")[0] for scan in self.failed[:SHOWN_FAILURES]]
        lines = [f"{scan.cohort} {scan.scan_id}: {line}" for scan, line in zip(self.failed, details, strict=False)]
        if len(self.failed) > SHOWN_FAILURES:
            lines.append(f"… and {len(self.failed) - SHOWN_FAILURES} more (table exclusions, step features).")
        pace = f", {self.scans_per_second:.2g} scans/s" if self.scans_per_second else ""
        return Group(*parts, *map(Text, lines), Text(f"{self.seconds:.1f} s{pace}."))
