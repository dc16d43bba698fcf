"""How reports about the lake as a whole look: what it holds, what was written from it, and whether it is sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gliolake.storage.layout import QUARANTINE

if TYPE_CHECKING:
    from gliolake.maintenance.purge import Purge
    from gliolake.maintenance.verify import Finding, Verification
    from gliolake.sql.audit import AuditReport
    from gliolake.sql.dictionary import Overview, Relation
    from gliolake.sql.export.bids import BidsExport
    from gliolake.sql.export.table import Exported
    from gliolake.sql.status import Status


def _verification(report: Verification) -> Iterator[RenderableType]:
    from gliolake.maintenance.verify import LOG_DAMAGE, REPLACED

    yield f"Commit {report.version}: {report.files} files, {report.rows:,} rows checked."
    replaced = [finding for finding in report.findings if finding.kind == REPLACED]
    for finding in report.findings:
        if finding.kind != REPLACED:
            yield Text(f"  {finding.kind}: {finding.path}: {finding.detail}{_done(report, finding)}")
    if replaced:
        old = [finding for finding in replaced if not finding.young]
        yield f"  {len(replaced)} files that later commits replaced, {sum(f.bytes for f in replaced):,} bytes"
        yield f"    {len(old)} of them more than a day ago{_done(report, old[0]) if old else ''}"
    if report.quarantined[0]:
        yield f"  {report.quarantined[0]} files, {report.quarantined[1]:,} bytes, in {QUARANTINE}"
        yield "    gliolake purge removes those that have been there for a day"
    if all(finding.is_harmless for finding in report.findings):
        yield "All files are as committed."
    elif any(finding.kind in LOG_DAMAGE and finding.lasting for finding in report.findings):
        yield "Restore the damaged records from a backup; no repair can write them again."
    elif any(finding.lasting for finding in report.findings) and report.repaired:
        yield "Not all could be mended: restore from a backup, or correct, what is named as left."
    elif not report.sound:
        yield f"Run `gliolake verify --repair` to take damaged files out and move left-over ones into {QUARANTINE}."
    if report.repaired and (commands := report.restore_commands()):
        yield f"The damaged files are out of the lake. Run again: {', '.join(commands)}"


def _done(report: Verification, finding: Finding) -> str:
    from gliolake.maintenance.verify import DONE, FOREIGN

    if finding.kind == FOREIGN:
        return " (left alone)"
    if finding.young and not finding.is_damage:
        return " (young: somebody may still need it)"
    if not report.repaired:
        return ""
    return " -> left" if finding.lasting else f" -> {DONE[finding.kind]}"


def _purge(report: Purge) -> str:
    lines = [f"{report.removed} files, {report.bytes:,} bytes, removed from {QUARANTINE}."]
    if report.waiting:
        lines.append(f"{report.waiting} files stay: they have been there for less than a day, or a commit needs them.")
    if report.foreign:
        lines.append(f"{report.foreign} files stay: gliolake does not make files of their names.")
    return "\n".join(lines)


def _exported(report: Exported) -> str:
    return f"{report.file}: {report.rows:,} rows of {report.name}"


def _bids(report: BidsExport) -> str:
    return f"{report.folder}: {report.participants:,} participants, {report.with_follow_up:,} with follow-ups"


def _status(report: Status) -> Iterator[RenderableType]:
    yield Text(f"Lake at {report.root}, commit {report.version}")
    yield from _rows("Cohorts", report.cohorts)
    yield from _rows("Splits", [{"view": name, "scans": rows} for name, rows in report.splits.items()])
    audit = "holds" if not report.audit_violations else f"FAILS: {report.audit_violations} violations (split_audit)"
    yield Text(f"Split audit {audit}; scans kept out of external through links alone: {report.leaks_avoided}\n")
    yield from _rows("Feature sets", report.feature_sets)
    if report.missing:
        yield from _rows("Scans with images that lack vectors", report.missing)
    yield from _rows("Experiments (mean AUC over folds)", report.experiments)
    yield from _rows("Latest runs", report.runs)
    for problem in report.problems:
        yield Text(f"Problem: {problem}")
    if report.next_step:
        yield Text(f"Next: {report.next_step}")


def _rows(title: str, rows: list[dict[str, Any]]) -> Iterator[RenderableType]:
    if not rows:
        yield Text(f"{title}: none yet\n", style="dim")
        return
    table = Table(title=title, title_justify="left", show_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right" if isinstance(rows[0][name], (int, float)) else "left")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    yield table
    yield Text()


def _audit(report: AuditReport) -> Iterator[RenderableType]:
    from gliolake.sql.phi.patterns import KINDS

    *others, last = KINDS
    known = f"a {', '.join(others)} or {last}"
    looked = f"{report.rows:,} rows of {report.tables} tables and {report.volumes:,} headers of kept volumes"
    yield f"{looked} looked through."
    if report.findings:
        table = Table("table", "column", "what", "rows", "its shape", box=None)
        for found in report.findings:
            table.add_row(*map(Text, (found.table, found.column, found.kind, f"{found.rows:,}", found.shape)))
        yield table
        yield "Correct the source (rename the folder, clear the column or the header), and ingest it into a new"
        yield "lake: in this one, replaced files keep it until gliolake verify --repair and gliolake purge."
    else:
        yield f"No known form: no text looks like {known}."
    yield ""
    yield "A name that is written like any other word has no form. Look at how scans are named (9 is a digit):"
    table = Table("cohort", "table", "column", "shape of names", "names", box=None)
    for naming in report.namings:
        table.add_row(*map(Text, (naming.cohort, naming.table, naming.column, naming.shape, f"{naming.names:,}")))
    yield table


def _relation(report: Relation) -> Iterator[RenderableType]:
    yield Text.assemble((report.name, "bold"), f", {report.kind}: {report.doc}")
    if report.key:
        yield Text(f"key: {', '.join(report.key)}", style="dim")
    grid = Table(show_edge=False, header_style="bold")
    for title in ("column", "type", "null", "what it is"):
        grid.add_column(title, overflow="fold")
    for column in report.columns:
        grid.add_row(*map(Text, (column.name, column.type, "yes" if column.optional else "", column.doc)))
    yield grid


def _overview(report: Overview) -> Iterator[RenderableType]:
    grid = Table(show_edge=False, header_style="bold")
    for title in ("name", "kind", "what it holds"):
        grid.add_column(title, overflow="fold")
    for relation in report.relations.values():
        grid.add_row(*map(Text, (relation.name, relation.kind, relation.doc)))
    yield grid
    yield Text("gliolake dictionary NAME describes one, column by column.", style="dim")


def _lines(render: Callable[[Any], Iterator[RenderableType]]) -> Callable[[Any], RenderableType]:
    return lambda report: Group(*render(report))


RENDERED: dict[str, Callable[[Any], RenderableType]] = {
    "AuditReport": _lines(_audit),
    "BidsExport": _bids,
    "Exported": _exported,
    "Overview": _lines(_overview),
    "Purge": _purge,
    "Relation": _lines(_relation),
    "Status": _lines(_status),
    "Verification": _lines(_verification),
}
"""Name of a report's class -> how people see it."""

DUMPED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Overview": lambda report: {name: asdict(relation) for name, relation in report.relations.items()},
    "Verification": lambda report: {**asdict(report), "sound": report.sound},
}
"""Those whose JSON says more than their fields."""
