"""The report of an ingest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LabelFileReport:
    """What was read from a label file.

    rows: those below its header. scans: those of which something is used. calls: MGMT status -> scans.
    left_out: reason -> rows that are not used. columns: those that are used, beside the id's. source: its name in the
    lake.
    """

    file: str
    rows: int
    scans: int
    calls: Mapping[str, int]
    left_out: Mapping[str, int]
    columns: tuple[str, ...]
    encoding: str
    notes: tuple[str, ...] = ()
    source: str = ""

    def __str__(self) -> str:
        calls = ", ".join(f"{count:,} {status}" for status, count in self.calls.items())
        left_out = "".join(f"; {count:,} left out: {reason}" for reason, count in self.left_out.items())
        return f"{self.rows:,} rows: {calls}{left_out}; {len(self.columns):,} columns used"


@dataclass(frozen=True)
class IngestReport:
    """Outcome of ``ingest``. What it counts in the lake concerns this cohort, after the run.

    found, read, unchanged: scans in the images folder, of which so many were read now, or were known as they are.
    scans: sound scans in the lake. excluded: reason -> rows of ``exclusions``. labels: source -> rows.
    links: kind -> links of this cohort's scans. vanished: scans whose files are gone; their rows are kept.
    removed: scans whose files are gone and whose rows went, since that was asked for.
    cleared: exclusions that were dropped as what they were about is gone. label_files: what was read from each.
    notes: oddities worth a sentence. problems: what is wrong with the images folder as a whole.
    """

    cohort: str
    found: int = 0
    read: int = 0
    unchanged: int = 0
    scans: int = 0
    excluded: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, int] = field(default_factory=dict)
    labels_without_images: tuple[str, ...] = ()
    images_without_labels: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    label_files: tuple[LabelFileReport, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 where somebody has to look at the images folder."""
        return 1 if self.problems else 0


@dataclass(frozen=True)
class ListReport:
    """Outcome of ``ingest_list``: entries on the list, scans they name, those named twice, and those not understood.

    unknown: scans on the list of which the lake has neither images nor labels. replaced: scans that a former list of
    this name had, where it is other than this.
    """

    name: str
    cohort: str
    entries: int
    scans: int
    repeated: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    replaced: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeaturesReport:
    """Outcome of ``ingest_features``: records read, scans and vectors of the feature set, and what was left out."""

    feature_set: str
    cohort: str
    records: int
    scans: int
    vectors: int
    methylated: int
    excluded: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
