"""The report of `gliolake extract`."""

from __future__ import annotations

from dataclasses import dataclass


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
