"""The study population of a report: flow of scans into the splits, patient characteristics, and the audit for leaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gliolake.analysis.report.table import Cell, Column, Table, count, figure, make_table, shown, text
from gliolake.analysis.study.notation import Row
from gliolake.analysis.study.published import ask
from gliolake.sql.cautions import cautions, shared_patients

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FLOW = "FROM flowchart"
CHARACTERISTICS = "FROM characteristics"
AUDIT = "FROM split_audit"
LEAKS = "FROM leaks_avoided ORDER BY cohort, scan_id"
CONFLICTS = """SELECT cohort_a, label_rule_a, status_a, cohort_b, label_rule_b, status_b, explained_by_rules,
    count(*) AS pairs, count(DISTINCT patient_id) AS patients
FROM label_conflicts GROUP BY ALL ORDER BY ALL"""

SUSPECTS = "FROM suspected_duplicates"
RULES = """
    SELECT DISTINCT label_rule FROM study_rows JOIN experiments USING (experiment) WHERE "study" = $study
"""

MOST_SUSPECTS = 100
"""Suspected pairs that the page lists, the most alike first."""

_FLOW = (
    text("cohort", "cohort"), text("these remain", "remaining_are"), count("scans", "remaining"),
    count("left out here", "left_out"), text("why", "why"),
)  # fmt: skip
_CHECKS = (
    text("what must never happen", "check"),
    count("violations", "violations", "failed"),
    Column("examples", lambda row: Cell(shown(sorted(row["examples"] or [])[:5]))),
)
_LEAKS = (
    text("cohort", "cohort"), text("scan", "scan_id"), text("is a patient of", "training_cohort"),
    text("by", "training_scan_id"), text("through", "kinds"), text("path", "path", "wide"),
)  # fmt: skip
_CONFLICTS = (
    text("cohort", "cohort_a"), text("by the rule", "label_rule_a"), text("calls", "status_a"),
    text("other cohort", "cohort_b"), text("by its rule", "label_rule_b"), text("calls it", "status_b"),
    text("both right", "explained_by_rules"), count("pairs", "pairs"), count("patients", "patients"),
)  # fmt: skip


_SUSPECTS = (
    text("cohort", "cohort_a"), text("scan", "scan_a"), text("other cohort", "cohort_b"), text("other scan", "scan_b"),
    figure("score", "score"), text("evidence", "evidence", "wide"), text("if they were one patient", "if_true"),
)  # fmt: skip


def cohort_tables(connection: DuckDBPyConnection) -> Iterator[Table]:
    """Flow, characteristics, audit of the splits, leaks stopped, labels that contradict each other, and suspicions."""
    yield make_table(
        "flow", "From scans to splits", _FLOW, ask(connection, FLOW, {}), FLOW,
        empty="No cohort that could train or test was ingested.",
    )  # fmt: skip
    rows = ask(connection, CHARACTERISTICS, {})
    yield make_table(
        "characteristics", "Patients of the two splits", _characteristics(rows), rows, CHARACTERISTICS,
        note="One scan per patient. Released vectors come without a word on their patients, who are not counted here.",
        empty="No scan is in a split.",
    )  # fmt: skip
    yield make_table("audit", "Audit of the splits", _CHECKS, ask(connection, AUDIT, {}), AUDIT)
    yield make_table(
        "leaks", "Leaks that were stopped", _LEAKS, ask(connection, LEAKS, {}), LEAKS,
        note="External scans that are no training scan by their id, but belong to a training patient: each path names "
        "the links that show it. They are in no split.",
        empty="No external scan belongs to a training patient by a link alone.", speaks=True,
    )  # fmt: skip
    yield make_table(
        "conflicts", "Labels that contradict each other", _CONFLICTS, ask(connection, CONFLICTS, {}), CONFLICTS,
        note="Pairs of names for one examination that two sources call differently. Where the count of methylated "
        "sites shows both to be right by their own rule, the rules differ and not the tumour.",
        empty="No two sources call one examination differently.", speaks=True,
    )  # fmt: skip
    yield make_table(
        "suspects", "Scans that look like one patient", _SUSPECTS, ask(connection, SUSPECTS, {}), SUSPECTS,
        note="For a person to review. A suspicion joins nobody until a label file says so.", most=MOST_SUSPECTS,
        empty="No pair is suspected; gliolake suspects looks for some.",
    )  # fmt: skip


def audit_verdict(connection: DuckDBPyConnection) -> tuple[str, bool]:
    """The audit in a sentence, and whether it holds."""
    rows = ask(connection, AUDIT, {})
    broken = sum(row["violations"] > 0 for row in rows)
    stopped = ask(connection, "SELECT count(*) AS n FROM leaks_avoided", {})[0]["n"]
    if broken:
        return f"The audit of the splits FAILS in {broken} of {len(rows)} checks.", False
    return f"The audit of the splits holds in all {len(rows)} checks, and {stopped:,} leaks were stopped.", True


def split_cautions(connection: DuckDBPyConnection, study: str) -> tuple[str, ...]:
    """What a reader has to know of the splits on which a study's figures rest."""
    rules = [row["label_rule"] for row in ask(connection, RULES, {"study": study})]
    return (*shared_patients(connection), *cautions(connection, rules))


def _characteristics(rows: list[Row]) -> tuple[Column, ...]:
    """Columns of counts with their share of the split."""
    attributes = [row for row in rows if row["attribute"] == rows[0]["attribute"]]

    def share(split: str) -> Column:
        total = sum(row[split] for row in attributes)

        def cell(row: Row) -> Cell:
            percent = f" ({100 * row[split] / total:.0f} %)" if total else ""
            return Cell(f"{row[split]:,}{percent}", row[split])

        return Column(split, cell, numeric=True)

    return text("", "attribute"), text("group", "group"), share("training"), share("external")
