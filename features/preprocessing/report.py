"""The report of `gliolake preprocess`."""

from __future__ import annotations

from dataclasses import dataclass


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
