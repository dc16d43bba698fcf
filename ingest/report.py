"""What an ingest did, in numbers and names: for a person at a terminal, and for a script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

_NAMES_SHOWN = 5


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

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        lines = [("scans in the folder", f"{self.found:,} found, {self.read:,} read, {self.unchanged:,} unchanged")]
        lines += [("sound scans in the lake", f"{self.scans:,}")]
        lines += [(f"left out: {reason}", f"{count:,}") for reason, count in self.excluded.items()]
        lines += [(f"read from {file.file}", str(file)) for file in self.label_files]
        lines += [(f"labels from {source}", f"{count:,}") for source, count in self.labels.items()]
        lines += [(f"links: {kind}", f"{count:,}") for kind, count in self.links.items()]
        lines += named("labels without images", self.labels_without_images)
        lines += named("images without labels", self.images_without_labels)
        lines += named("no longer in the folder (kept)", self.vanished)
        lines += named("no longer in the folder (removed)", self.removed)
        lines += named("exclusions cleared", self.cleared)
        return rendered(f"Ingest of {self.cohort}", lines, self.notes, self.problems)


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

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        lines = [("entries", f"{self.entries:,}"), ("scans", f"{self.scans:,}")]
        lines += named("named more than once", self.repeated)
        lines += named("entries not understood", self.unreadable)
        lines += named("not in the lake", self.unknown)
        lines += [("in place of a former list of", f"{self.replaced:,} scans")] if self.replaced else []
        return rendered(f"List {self.name} of {self.cohort}", lines, self.notes)


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

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        lines = [("records", f"{self.records:,}"), ("scans", f"{self.scans:,}, {self.methylated:,} of them methylated")]
        lines += [("vectors", f"{self.vectors:,}"), ("cohort", self.cohort)]
        lines += [(f"left out: {reason}", f"{count:,}") for reason, count in self.excluded.items()]
        return rendered(f"Feature set {self.feature_set}", lines, self.notes)


def named(what: str, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """A line that counts names and shows the first few; no line where there are none."""
    if not names:
        return []
    shown = ", ".join(names[:_NAMES_SHOWN]) + (" …" if len(names) > _NAMES_SHOWN else "")
    return [(what, f"{len(names):,}: {shown}")]


def rendered(
    title: str, lines: Iterable[tuple[str, str]], notes: tuple[str, ...], problems: tuple[str, ...] = ()
) -> RenderableType:
    """Two columns under a title, notes and problems below. Names come from files, so nothing is taken as markup."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), title_justify="left", show_header=False, box=None, pad_edge=False)
    for what, value in lines:
        table.add_row(Text(what), Text(value))
    below = [*(f"Note: {note}" for note in notes), *(f"Problem: {problem}" for problem in problems)]
    return Group(table, *map(Text, below))
