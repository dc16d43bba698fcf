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
    """A scan without vectors, with the reason (one of a fixed set) and the detail in words."""

    cohort: str
    scan_id: str
    reason: str
    detail: str


@dataclass(frozen=True)
class ExtractReport:
    """Counts of scans. ``weights`` and ``synthetic`` are what the vectors rest on, ``seconds`` all of the run."""

    feature_set: str
    weights: str
    synthetic: bool
    computed: int
    present: int
    failed: tuple[FailedScan, ...]
    seconds: float

    @property
    def scans_per_second(self) -> float:
        """Of the scans worked on, start of the workers included; 0 where there were none."""
        worked = self.computed + len(self.failed)
        return worked / self.seconds if worked and self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "feature_set": self.feature_set,
            "weights": self.weights,
            "synthetic": self.synthetic,
            "computed": self.computed,
            "present": self.present,
            "failed": [vars(scan) for scan in self.failed],
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

        rests_on = f"weights: {self.weights}" + ("; SYNTHETIC scans" if self.synthetic else "")
        title = Text(f"Feature set {self.feature_set} ({rests_on})", style="bold")
        table = Table()
        table.add_column("scans")
        table.add_column("number", justify="right")
        table.add_row("computed now", str(self.computed))
        table.add_row("there before", str(self.present))
        for reason, number in sorted(Counter(scan.reason for scan in self.failed).items()):
            table.add_row(f"failed: {reason}", str(number))
        lines = [f"{scan.cohort} {scan.scan_id}: {scan.detail}" for scan in self.failed[:SHOWN_FAILURES]]
        if len(self.failed) > SHOWN_FAILURES:
            lines.append(f"… and {len(self.failed) - SHOWN_FAILURES} more (table exclusions, step features).")
        pace = f", {self.scans_per_second:.2g} scans/s" if self.scans_per_second else ""
        return Group(title, table, *map(Text, lines), Text(f"{self.seconds:.1f} s{pace}."))
