"""Formats the reports of ingests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from gliolake.ingest.report import FeaturesReport, IngestReport, ListReport
    from gliolake.ingest.schedule import ScheduleReport

NAMES_SHOWN = 5


def _ingest(report: IngestReport) -> RenderableType:
    lines = [("scans in the folder", f"{report.found:,} found, {report.read:,} read, {report.unchanged:,} unchanged")]
    lines += [("sound scans in the lake", f"{report.scans:,}")]
    lines += [(f"left out: {reason}", f"{count:,}") for reason, count in report.excluded.items()]
    lines += [(f"read from {file.file}", str(file)) for file in report.label_files]
    lines += [(f"labels from {source}", f"{count:,}") for source, count in report.labels.items()]
    lines += [(f"links: {kind}", f"{count:,}") for kind, count in report.links.items()]
    lines += _named("labels without images", report.labels_without_images)
    lines += _named("images without labels", report.images_without_labels)
    lines += _named("no longer in the folder (kept)", report.vanished)
    lines += _named("no longer in the folder (removed)", report.removed)
    lines += _named("exclusions cleared", report.cleared)
    return _lines(f"Ingest of {report.cohort}", lines, report.notes, report.problems)


def _list(report: ListReport) -> RenderableType:
    lines = [("entries", f"{report.entries:,}"), ("scans", f"{report.scans:,}")]
    lines += _named("named more than once", report.repeated)
    lines += _named("entries not understood", report.unreadable)
    lines += _named("not in the lake", report.unknown)
    lines += [("in place of a former list of", f"{report.replaced:,} scans")] if report.replaced else []
    return _lines(f"List {report.name} of {report.cohort}", lines, report.notes)


def _features(report: FeaturesReport) -> RenderableType:
    lines = [("records", f"{report.records:,}")]
    lines += [("scans", f"{report.scans:,}, {report.methylated:,} of them methylated")]
    lines += [("vectors", f"{report.vectors:,}"), ("cohort", report.cohort)]
    lines += [(f"left out: {reason}", f"{count:,}") for reason, count in report.excluded.items()]
    return _lines(f"Feature set {report.feature_set}", lines, report.notes)


def _schedule(report: ScheduleReport) -> RenderableType:
    wrong = [f"{result.cohort}: {result.error}" for result in report.cohorts if result.error]
    wrong += [f"extract: {report.extract_error}"] if report.extract_error else []
    notes = [f"{one.cohort}: {text}" for one in report.cohorts if one.report for text in one.report.notes]
    gone = [
        f"{one.cohort}: files of {len(one.report.vanished):,} scans are gone; their rows are kept."
        for one in report.cohorts
        if one.report and one.report.vanished
    ]
    return Group(*(Text(line) for line in (*wrong, *notes, *gone, report.summary)))


def _notice(report: ScheduleReport) -> dict[str, Any]:
    from gliolake.ingest.schedule import notice

    return notice(report)


def _named(what: str, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """A line that counts names and shows the first few; no line where there are none."""
    if not names:
        return []
    shown = ", ".join(names[:NAMES_SHOWN]) + (" …" if len(names) > NAMES_SHOWN else "")
    return [(what, f"{len(names):,}: {shown}")]


def _lines(
    title: str, lines: Iterable[tuple[str, str]], notes: tuple[str, ...], problems: tuple[str, ...] = ()
) -> RenderableType:
    """Two columns under a title, notes and problems below. Names come from files, so nothing is taken as markup."""
    table = Table(title=Text(title, style="bold"), title_justify="left", show_header=False, box=None, pad_edge=False)
    for what, value in lines:
        table.add_row(Text(what), Text(value))
    below = [*(f"Note: {note}" for note in notes), *(f"Problem: {problem}" for problem in problems)]
    return Group(table, *map(Text, below))


RENDERED: dict[str, Callable[[Any], RenderableType]] = {
    "FeaturesReport": _features,
    "IngestReport": _ingest,
    "ListReport": _list,
    "ScheduleReport": _schedule,
}
"""Name of a report's class -> how people see it."""

DUMPED: dict[str, Callable[[Any], dict[str, Any]]] = {"ScheduleReport": _notice}
"""Those whose JSON is not just their fields."""
