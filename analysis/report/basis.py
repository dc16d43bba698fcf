"""The provenance of a study's figures (synthetic scans, untrained weights), and its meaning for readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliolake.analysis.report.table import Table, basis, count, make_table, spelled, text
from gliolake.analysis.study.notation import Row
from gliolake.analysis.study.published import ask

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEANING = {
    "synthetic": "The scans were made by a program, with or without a signal planted in them: nothing here is about "
    "patients.",
    "random": "No training went into the vectors: they are a control, and say nothing of the study's networks.",
    "untrained": "The networks have untrained weights: a rehearsal of the computation, and no test of the study.",
    "released": "The vectors are those that the study released. They were scaled over all patients before folds were "
    "cut, so test data shows in the scale, and they name no patient, so nobody can tell whether one is there twice.",
    "trained": "The vectors come from networks with their published weights.",
}
"""By what the vectors rest on (column ``weights`` of table experiments)."""

QUERY = """
    SELECT origin.weights, origin.basis, origin.weights = 'trained' AS trained,
        count(DISTINCT row.name) AS rows, count(DISTINCT origin.experiment) AS experiments,
        list(DISTINCT origin.feature_set ORDER BY origin.feature_set) AS feature_sets
    FROM study_rows AS row
    JOIN experiment_provenance AS origin ON row.state = 'done' AND origin.experiment = row.experiment
    WHERE row.study = $study GROUP BY ALL ORDER BY ALL
"""

SHOWN = "SELECT label, basis, feature_set, experiment FROM results WHERE study = $study AND metric = 'auc'"

COLUMNS = (
    basis(), text("which means", "meaning"), count("rows", "rows"), count("experiments", "experiments"),
    count("feature sets", "sets"),
)  # fmt: skip


@dataclass(frozen=True)
class Basis:
    """What is said at the top of the page of figures that do not rest on trained weights, and the table of all."""

    warnings: tuple[str, ...]
    table: Table


def bases(connection: DuckDBPyConnection, study: str) -> Basis:
    """What a study's finished rows rest on."""
    rows = ask(connection, QUERY, {"study": study})
    for row in rows:
        row["meaning"], row["sets"] = (
            _meaning(row),
            len({one for some in row["feature_sets"] for one in some.split(" + ")}),
        )
    warnings = tuple(
        f"{row['rows']} of the study's rows rest on {row['basis']}. {row['meaning']}"
        for row in rows
        if not row["trained"]
    )
    table = make_table(
        "bases", "What the rows rest on", COLUMNS, rows,
        spelled(SHOWN, study=study),
        empty="No row is finished.",
    )  # fmt: skip
    return Basis(warnings, table)


def _meaning(row: Row) -> str:
    """Of several kinds of weights each has its say."""
    return " ".join(MEANING[kind] for kind in MEANING if kind in row["weights"].split(" and ")) or "–"
