"""Formats reports about the lake's tables: overview, exports, the audit, and results of queries."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gliolake.cli.console import one_below_another
from gliolake.cli.output import console
from gliolake.errors import InputError
from gliolake.log.plain_text import shown

if TYPE_CHECKING:
    import pyarrow as pa

    from gliolake.sql.audit import AuditReport
    from gliolake.sql.dictionary import Overview, Relation
    from gliolake.sql.export.bids import BidsExport
    from gliolake.sql.export.table import Exported
    from gliolake.sql.status import Status

ROWS_SHOWN = 50
LONGEST_CELL = 320


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


def print_answer(answer: pa.Table, form: str) -> None:
    """Print the answer to a query: as a table for people, else as ``gliolake.sql.query.write`` writes it.

    Raises:
        InputError: the format has no form for a column, or is none for a terminal.
    """
    from gliolake.sql.query import write

    if form == "table":
        terminal = console()
        terminal.print(Group(*_answer(answer, terminal.width)), highlight=False)
    elif not sys.stdout.isatty():
        write(answer, form, sys.stdout.buffer)
    elif form == "parquet":
        raise InputError("Parquet is nothing for a terminal.", hint="Give --output FILE, or pipe it elsewhere.")
    else:  # in text, so that it does not steer the terminal
        text = io.BytesIO()
        write(answer, form, text)
        sys.stdout.write(text.getvalue().decode())


def _answer(answer: pa.Table, width: int) -> Iterator[RenderableType]:
    """At most ``ROWS_SHOWN`` rows, as a table where it fits, else row by row."""
    from gliolake.sql.query import rows_of

    rows = [
        {name: shown(_cell(value), lines=True) for name, value in row.items()}
        for row in rows_of(answer.slice(0, ROWS_SHOWN))
    ]
    needed = sum(max([len(shown(name)), *(len(row[name]) for row in rows)]) + 3 for name in answer.column_names)
    if needed <= width:
        yield _grid(answer.schema, rows)
    elif not rows:
        yield f"No rows of {', '.join(map(shown, answer.column_names))}."
    else:
        for number, row in enumerate(rows, start=1):
            yield Text(f"row {number}", style="dim")
            record = Table.grid(padding=(0, 2))
            for name, value in row.items():
                record.add_row(Text(f"  {shown(name)}", style="bold"), Text(value, overflow="fold"))
            yield record
    if answer.num_rows > ROWS_SHOWN:
        yield Text(f"{ROWS_SHOWN} of {answer.num_rows:,} rows. --format csv gives all.", style="dim")


def _grid(schema: pa.Schema, rows: list[dict[str, str]]) -> Table:
    from pyarrow.types import is_floating, is_integer

    grid = Table(show_edge=False, header_style="bold")
    for field in schema:
        right = is_integer(field.type) or is_floating(field.type)
        grid.add_column(Text(shown(field.name)), justify="right" if right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row.values()))
    return grid


def _cell(value: Any) -> str:
    from gliolake.sql.cells import plain

    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = json.dumps(value, default=plain) if isinstance(value, (list, dict)) else str(value)
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + " …"


RENDERED: dict[str, Callable[[Any], RenderableType]] = {
    "AuditReport": one_below_another(_audit),
    "BidsExport": _bids,
    "Exported": _exported,
    "Overview": one_below_another(_overview),
    "Relation": one_below_another(_relation),
    "Status": one_below_another(_status),
}
"""Name of a report's class -> how people see it."""

DUMPED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Overview": lambda report: {name: asdict(relation) for name, relation in report.relations.items()},
}
"""Those whose JSON says more than their fields."""
