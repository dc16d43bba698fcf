"""Results of a study in a report: published beside reproduced, comparisons, correlations, subgroups, and optimism."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gliolake.analysis.report.table import (
    Cell,
    Column,
    Table,
    bases_of,
    basis,
    count,
    estimate,
    figure,
    make_table,
    shown,
    spelled,
    text,
    without_folders,
)
from gliolake.analysis.study.notation import FOOT, Row, placed, plus_minus, reproduced
from gliolake.analysis.study.published import MISSING, QUERIES, ask, by_reason

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TITLES = {
    "table_1": "the network, its baseline, and systems it is set against",
    "table_2": "modalities, alone and left out",
    "table_3": "backbones",
    "table_4": "backbones together",
    "figure_7a": "with and without delta T1",
    "figure_7b": "patients from outside",
}
"""What the tables of a study are about, as ``gliolake`` reads their names."""

TESTS_OF_AUC = ("corrected t", "DeLong", "rank-sum")
OF_A_TEST = ("difference", "ci_low", "ci_high", "p", "p_holm")
"""What a line of a pair has of each test, under the test's name, a space, and this."""

AUCS = "FROM results WHERE study = $study AND \"table\" = $table AND metric = 'auc'"
OTHERS = "FROM results WHERE study = $study AND \"table\" = $table AND metric <> 'auc'"
OPTIMISM = """
    SELECT *, weights = 'trained' AS trained FROM optimism
    WHERE "study" = $study AND metric = 'auc' ORDER BY position
"""

_REPRODUCED = Column("reproduced", lambda row: Cell(reproduced(row), row["reproduced"]), numeric=True)
_PUBLISHED = Column(
    "published", lambda row: Cell(plus_minus(row["published"], row["published_sem"]), row["published"]), numeric=True
)
_STANDING = Column(
    "rests on",
    lambda row: Cell("failed", look="failed") if row["state"] == "failed" else basis().cell(row),
)
RESULTS = (
    text("", "label"), _PUBLISHED, _REPRODUCED, figure("difference", "difference", "+.3f"),
    figure("optimism", "optimism", "+.3f"), count("folds", "folds"), count("patients", "patients"), _STANDING,
)  # fmt: skip
METRICS = (text("", "label"), text("metric", "metric"), *RESULTS[1:])
PAIRS = (
    Column("", lambda row: Cell(shown(placed(row["first_label"], row["split"])))),
    Column("against", lambda row: Cell(shown(placed(row["second_label"], row["second_split"])))),
)


def _test(name: str, over: str) -> tuple[Column, ...]:
    difference, low, high = (f"{name} {key}" for key in ("difference", "ci_low", "ci_high"))
    return (
        estimate(f"difference {over}", difference, low, high, "+.3f"),
        figure(f"p, {name}", f"{name} p", ".3g"),
        figure("after Holm", f"{name} p_holm", ".3g"),
    )


COMPARED = (
    *PAIRS, *_test("corrected t", "over folds"), *_test("DeLong", "over scans"),
    figure("p, rank-sum", "rank-sum p", ".3g"), basis(),
)  # fmt: skip
TESTS = (
    *PAIRS, text("metric", "metric"), text("test", "test"),
    estimate("difference", "difference", "ci_low", "ci_high", "+.3f"),
    figure("p", "p", ".3g"), figure("after Holm", "p_holm", ".3g"), count("units", "units"),
    text("note", "note", "wide"), basis(),
)  # fmt: skip
CORRELATED = (
    text("", "name"), text("the study says", "published"), figure("r by its own figures", "published_r", "+.2f"),
    estimate("reproduced r", "r", "ci_low", "ci_high", "+.2f"), figure("r²", "r2", ".2f"), figure("p", "p", ".3g"),
    count("models", "points"),
    Column("note", lambda row: Cell(shown(row["note"]), look="wide" if row["trained"] else "wide warning")),
)  # fmt: skip
GROUPS = (
    text("", "label"), text("split", "split"), text("by", "attribute"), text("group", "group"), count("scans", "scans"),
    count("patients", "patients"), count("methylated", "positive"), estimate("AUC", "auc", "ci_low", "ci_high"),
    text("note", "note", "wide"), basis(),
)  # fmt: skip
OPTIMISM_COLUMNS = (
    text("", "label"), text("table", "table"), text("split", "split"), figure("published", "published"),
    figure("honest", "honest"), figure("selected on test", "test_selected"),
    figure("optimism", "optimism", "+.3f"), basis(),
)  # fmt: skip


def title_of(table: str) -> str:
    """A heading for a table of a study, from its name."""
    name = table.replace("_", " ").capitalize()
    return f"{name}: {TITLES[table]}" if table in TITLES else name


def published_tables(connection: DuckDBPyConnection, study: str) -> Iterator[Table]:
    """For each table of the study its AUCs, and folded its other metrics."""
    named = 'SELECT "table" FROM study_rows WHERE study = $study GROUP BY "table" ORDER BY min(position)'
    for name in [row["table"] for row in ask(connection, named, {"study": study})]:
        asked = {"studies": [study], "what": name}
        rows = [row for row in ask(connection, QUERIES["results"], asked) if row["table"] == name]
        missing = by_reason([row for row in ask(connection, MISSING["results"], asked) if row["table"] == name])
        aucs = [row for row in rows if row["metric"] == "auc"]
        others = [
            row for row in rows
            if row["metric"] != "auc" and not (row["published"] is None and row["reproduced"] is None)
        ]  # fmt: skip
        yield make_table(
            name, title_of(name), RESULTS, aucs, spelled(AUCS, study=study, table=name),
            bases=bases_of(aucs), missing=tuple(map(without_folders, missing)),
            remarks=tuple(f"{shown(row['label'])}: {shown(row['detail'])}" for row in aucs if _remarkable(row)),
        )  # fmt: skip
        if others:
            yield make_table(
                f"{name}-metrics", f"{title_of(name).split(':')[0]}: precision, accuracy and recall", METRICS, others,
                spelled(OTHERS, study=study, table=name), bases=bases_of(others), folded=True,
            )  # fmt: skip


def comparisons(connection: DuckDBPyConnection, study: str) -> Iterator[Table]:
    """A line per pair of rows, and folded a line per test and metric."""
    asked = {"studies": [study]}
    failed = {row["name"] for row in ask(connection, MISSING["overview"], asked)}
    # Rows that failed are told of with their tables.
    missing = [row for row in ask(connection, MISSING["comparisons"], asked) if row["name"] not in failed]
    words = {
        row["weights"]: row["basis"]
        for row in ask(connection, "SELECT DISTINCT weights, basis FROM experiment_provenance", {})
    }
    rows = ask(connection, QUERIES["comparisons"], asked)
    for row in rows:
        row["basis"] = " against ".join(words.get(kind, kind) for kind in (row["basis"] or "").split(" against "))
    query = spelled("FROM comparisons WHERE study = $study", study=study)
    yield make_table(
        "comparisons", "Comparisons of AUC", COMPARED, _one_line_per_pair(rows), f"{query} AND metric = 'auc'",
        note=FOOT["comparisons"], bases=bases_of(rows), missing=tuple(map(without_folders, by_reason(missing))),
    )  # fmt: skip
    yield make_table(
        "comparisons-tests", "All tests, of all metrics", TESTS, rows, query, bases=bases_of(rows), folded=True
    )


def correlations(connection: DuckDBPyConnection, study: str) -> Table:
    """A line per correlation that the study states."""
    rows = ask(connection, QUERIES["correlations"], {"studies": [study]})
    return make_table(
        "correlations", "Correlations that the study states", CORRELATED, rows,
        spelled("FROM correlations WHERE study = $study", study=study), note=FOOT["correlations"],
        bases=() if all(row["trained"] for row in rows) else ("vectors that the notes name",),
    )  # fmt: skip


def subgroups(connection: DuckDBPyConnection, study: str) -> Iterator[Table]:
    """The groups of the first model, and folded those of all that are looked at."""
    rows = ask(connection, QUERIES["subgroups"], {"studies": [study]})
    query = spelled("FROM subgroups WHERE study = $study", study=study)
    leading = [row for row in rows if row["name"] == rows[0]["name"]]
    title = f"Subgroups: {shown(leading[0]['label'])}" if leading else "Subgroups"
    yield make_table("subgroups", title, GROUPS[1:], leading, query, note=FOOT["subgroups"], bases=bases_of(leading))
    yield make_table("subgroups-all", "Subgroups of all models", GROUPS, rows, query, bases=bases_of(rows), folded=True)


def optimism(connection: DuckDBPyConnection, study: str) -> Table:
    """Each finished row beside what it would have shown had its test scans been used to choose."""
    rows = ask(connection, OPTIMISM, {"study": study})
    return make_table(
        "optimism-auc", "AUC, honest and selected on the test part", OPTIMISM_COLUMNS, rows,
        spelled("FROM optimism WHERE study = $study AND metric = 'auc'", study=study), bases=bases_of(rows),
    )  # fmt: skip


def _remarkable(row: Row) -> bool:
    return bool(row["state"] == "done" and row["detail"])


def _one_line_per_pair(rows: Sequence[Row]) -> list[Row]:
    """What the tests say of the AUCs of each pair, side by side."""
    lines: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["metric"] == "auc":
            nothing = {f"{test} {key}": None for test in TESTS_OF_AUC for key in OF_A_TEST}
            line = lines.setdefault((row["first"], row["second"]), row | nothing)
            line |= {f"{row['test']} {key}": row[key] for key in OF_A_TEST}
    return list(lines.values())
