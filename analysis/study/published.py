"""`gliolake study show`: a published table or figure next to the reproduced values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gliolake.analysis.study.notation import Row
from gliolake.errors import InputError, check_choice

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gliolake.storage.lake import Lake

OVERVIEW = "overview"

QUERIES = {
    OVERVIEW: """
        SELECT study, "table", count(*) AS rows, count(*) FILTER (state = 'done') AS done,
            count(*) FILTER (state = 'failed') AS failed, count(*) FILTER (state = 'quoted') AS quoted,
            string_agg(DISTINCT origin.basis, ', ' ORDER BY origin.basis) AS basis,
            coalesce(bool_and(origin.weights = 'trained') FILTER (origin.weights IS NOT NULL), true) AS trained
        FROM study_rows
        LEFT JOIN experiment_provenance AS origin ON state = 'done' AND origin.experiment = study_rows.experiment
        WHERE list_contains($studies, study) GROUP BY study, "table" ORDER BY study, min(position)
    """,
    "results": """
        SELECT *, state <> 'done' OR coalesce(weights = 'trained', false) AS trained FROM results
        WHERE list_contains($studies, study) AND regexp_full_match("table", regexp_escape($what) || '[a-z]?')
    """,
    "comparisons": """
        SELECT one."table", one.label AS first_label, other.label AS second_label, found.* EXCLUDE (run_id),
            CASE WHEN a.weights = b.weights THEN a.weights ELSE a.weights || ' against ' || b.weights END AS basis,
            coalesce(a.weights = 'trained' AND b.weights = 'trained', false) AS trained
        FROM comparisons AS found
        JOIN study_rows AS one ON one.study = found.study AND one.name = found.first
        JOIN study_rows AS other ON other.study = found.study AND other.name = found.second
        LEFT JOIN experiment_provenance AS a ON a.experiment = one.experiment
        LEFT JOIN experiment_provenance AS b ON b.experiment = other.experiment
        WHERE list_contains($studies, found.study)
        ORDER BY found.study, one.position, list_position(['auc', 'precision', 'recall'], metric),
            list_position(['rank-sum', 'corrected t', 'DeLong', 'patient bootstrap'], test)
    """,
    "correlations": """
        SELECT * EXCLUDE (run_id), points = 0 OR regexp_matches(note, '^rests on: trained($|;)') AS trained
        FROM correlations WHERE list_contains($studies, study) ORDER BY study, name
    """,
    "subgroups": """
        SELECT one."table", one.label, found.* EXCLUDE (run_id), origin.basis,
            coalesce(origin.weights = 'trained', false) AS trained
        FROM subgroups AS found
        JOIN study_rows AS one ON one.study = found.study AND one.name = found.name
        LEFT JOIN experiment_provenance AS origin ON origin.experiment = one.experiment
        WHERE list_contains($studies, found.study)
        ORDER BY found.study, one.position, found.split DESC,
            list_position(['all', 'site', 'sex', 'age', 'grade', 'diagnosis'], attribute), "group"
    """,
}
"""What can be shown of the studies ``$studies``: rows in the order of the study file. ``trained`` is false where
figures rest on anything but trained weights."""

MISSING = {
    OVERVIEW: """
        SELECT "table", name, label, detail AS why FROM study_rows
        WHERE list_contains($studies, study) AND state = 'failed' ORDER BY study, position
    """,
    "results": """
        SELECT "table", name, label, detail AS why FROM study_rows
        WHERE list_contains($studies, study) AND state = 'failed'
            AND regexp_full_match("table", regexp_escape($what) || '[a-z]?')
        ORDER BY study, position
    """,
    "comparisons": """
        SELECT one."table", one.name, one.label,
            CASE WHEN one.state <> 'done' THEN one.detail
                WHEN other.name IS NULL THEN 'is compared with ' || one.compared_with
                    || ', which the study does not have'
                WHEN other.state = 'done' THEN 'has no predictions of its split, or ' || other.label || ' has none'
                WHEN other.state = 'failed' THEN 'is compared with ' || other.label || ', which failed'
                ELSE 'is compared with ' || other.label || ', a quoted figure' END AS why
        FROM study_rows AS one
        LEFT JOIN study_rows AS other ON other.study = one.study AND other.name = one.compared_with
        WHERE list_contains($studies, one.study) AND one.compared_with <> '' AND one.state <> 'quoted'
            AND (one.study, one.name) NOT IN (SELECT (study, first) FROM comparisons)
        ORDER BY one.study, one.position
    """,
}
"""Rows that could not be computed, and why."""


@dataclass(frozen=True)
class Shown:
    """What was asked for.

    Attributes:
        study: whose it is; several joined by commas in an overview. what: its name.
        rows: as the query gives them. missing: table, name, label and why of rows that could not be computed.
    """

    study: str
    what: str
    rows: list[Row]
    missing: list[Row]

    @property
    def kind(self) -> str:
        """By which of the queries."""
        return self.what if self.what in QUERIES else "results"


def by_reason(missing: list[Row]) -> list[str]:
    """A line for each table and reason, with the rows it is the reason of."""
    labels: dict[tuple[str, str], list[str]] = {}
    for row in missing:
        labels.setdefault((row["table"], row["why"]), []).append(row["label"])
    return [f"  {table}, {'; '.join(names)}: {why}" for (table, why), names in labels.items()]


def show(lake: Lake, what: str | None = None, study: str | None = None) -> Shown:
    """A table or figure of a study (table_1, figure_7 …), its comparisons, correlations, subgroups, or an overview.

    Args:
        lake: the lake.
        what: its name; figure_7 is both of figure_7a and figure_7b. None for an overview.
        study: the study; None for the only one of the lake, and in an overview for all.

    Raises:
        InputError: no such study or nothing of this name, no study at all, or several and none was chosen.
    """
    from gliolake.sql.catalog import connect

    with connect(lake) as connection:
        studies = _studies(connection, study) if what in (None, OVERVIEW) else [the_study(connection, study)]
        tables = {row["table"] for row in ask(connection, 'SELECT DISTINCT "table" FROM study_rows', {})}
        figures = {re.sub(r"(?<=[0-9])[a-z]$", "", table) for table in tables}
        name = check_choice("table or figure", what or OVERVIEW, {*QUERIES, *tables, *figures} - {"results"})
        kind = name if name in QUERIES else "results"
        asked = {"studies": studies, "what": name}
        rows = ask(connection, QUERIES[kind], asked)
        missing = ask(connection, MISSING[kind], asked) if kind in MISSING else []
    return Shown(", ".join(studies), name, rows, missing)


def the_study(connection: DuckDBPyConnection, study: str | None) -> str:
    """The study that is meant: the one named, or the only one of the lake.

    Raises:
        InputError: no such study, no study at all, or several and none was named.
    """
    studies = _studies(connection, study)
    if len(studies) > 1:
        raise InputError("The lake holds several studies.", hint=f"Choose by --study: {', '.join(studies)}.")
    return studies[0]


def _studies(connection: DuckDBPyConnection, study: str | None) -> list[str]:
    known = [row["study"] for row in ask(connection, "SELECT DISTINCT study FROM study_rows ORDER BY study", {})]
    if not known:
        raise InputError("No study has been run on this lake.", hint="gliolake study run runs one.")
    if study is None:
        return known
    return [check_choice("study", study, known)]


def ask(connection: DuckDBPyConnection, query: str, asked: dict[str, Any]) -> list[Row]:
    """The answer's rows; of ``asked`` the query takes those that it names, as ``$name``."""
    given = {name: value for name, value in asked.items() if f"${name}" in query}
    rows: list[Row] = connection.sql(query, params=given).to_arrow_table().to_pylist()
    return rows
