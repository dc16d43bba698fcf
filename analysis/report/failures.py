"""Failures and exclusions in a report: rows of the study, failed runs, and scans that a step excluded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gliolake.analysis.report.standing import moment
from gliolake.analysis.report.table import Cell, Column, Table, count, make_table, spelled, text
from gliolake.analysis.study.published import ask

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ROWS = """SELECT detail, count(*) AS rows, list("table" || ': ' || label ORDER BY position) AS labels
FROM study_rows WHERE study = $study AND state = 'failed' GROUP BY detail ORDER BY min(position)"""
COUNTED = """SELECT count(*) FILTER (state = 'failed') AS failed, count(*) AS rows
FROM study_rows WHERE study = $study AND state <> 'quoted'"""
RUNS = "FROM runs WHERE outcome <> 'done' ORDER BY started, run_id"
EXCLUSIONS = """SELECT cohort, step, reason, count(DISTINCT scan_id) AS scans, min(scan_id) AS example
FROM exclusions GROUP BY ALL ORDER BY ALL"""

_RUNS = (
    text("run", "run_id"), text("command", "command"), Column("began", lambda row: Cell(moment(row["started"]))),
    text("outcome", "outcome", "failed"),
)  # fmt: skip
_EXCLUSIONS = (
    text("cohort", "cohort"), text("step", "step"), text("reason", "reason"), count("scans", "scans"),
    text("for example", "example"),
)  # fmt: skip


def failed_rows(connection: DuckDBPyConnection, study: str) -> tuple[str, ...]:
    """A sentence that counts the failed rows of the study, if any failed."""
    row = ask(connection, COUNTED, {"study": study})[0]
    if not row["failed"]:
        return ()
    return (f"{row['failed']} of the {row['rows']} rows that the study has of its own failed; below it says why.",)


def failures(connection: DuckDBPyConnection, study: str) -> Iterator[Table]:
    """Three tables, each of which is best empty."""
    yield make_table(
        "failed-rows", "Rows of the study that failed",
        (text("why", "detail", "failed"), count("rows", "rows"), text("which", "labels")),
        ask(connection, ROWS, {"study": study}),
        spelled(ROWS, study=study),
        empty="No row of the study failed.", speaks=True,
    )  # fmt: skip
    yield make_table(
        "failed-runs", "Runs that did not end well", _RUNS, ask(connection, RUNS, {}), RUNS,
        note="Runs of all commands on this lake. A later run may have made good what an earlier one left undone.",
        empty="Every run of this lake is done.", speaks=True,
    )  # fmt: skip
    yield make_table(
        "exclusions", "Scans that were left out", _EXCLUSIONS, ask(connection, EXCLUSIONS, {}), EXCLUSIONS,
        empty="No step left a scan out.", speaks=True,
    )  # fmt: skip
