"""Provenance in a report: experiments, recipes, runs, and the hashes of files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gliolake.analysis.report.sources import unexplained
from gliolake.analysis.report.standing import moment
from gliolake.analysis.report.table import Cell, Column, Table, basis, count, digest, make_table, shown, spelled, text
from gliolake.analysis.study.notation import Row
from gliolake.analysis.study.published import ask
from gliolake.storage.json_cell import json_cell

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from gliolake.storage.lake import Lake

MOST_FILES = 400
"""Files that the page lists; a study of whole cohorts has thousands."""

EXPERIMENTS = """
    WITH own AS (
        SELECT experiment, list(DISTINCT label ORDER BY label) AS labels, min(position) AS position
        FROM study_rows WHERE study = $study AND state = 'done' GROUP BY experiment
    ), files AS (
        SELECT experiment, count(*) AS files, sha256(string_agg(sha256 || chr(10), '' ORDER BY sha256)) AS files_sha256
        FROM provenance GROUP BY experiment
    )
    SELECT own.labels, made.*, origin.basis, made.weights = 'trained' AS trained, files.files, files.files_sha256,
        json_extract_string(made.settings, '$.input_sha256') AS input_sha256,
        json_extract_string(made.settings, '$.code_sha256') AS code_sha256
    FROM own
    JOIN experiments AS made USING (experiment)
    JOIN experiment_provenance AS origin USING (experiment)
    LEFT JOIN files USING (experiment)
    ORDER BY own.position
"""

SETS = """
    SELECT feature_set, backbone, weights, recipe, run_id,
        (SELECT count(*) FROM features WHERE features.feature_set = feature_sets.feature_set) AS vectors
    FROM feature_sets WHERE list_contains($sets, feature_set) ORDER BY feature_set
"""

FILES = """
    SELECT role, cohort, scan_id, file, sha256, count(DISTINCT experiment) AS experiments
    FROM provenance WHERE list_contains($experiments, experiment)
    GROUP BY ALL ORDER BY scan_id NULLS FIRST, cohort, role, file, sha256
"""

RUNS = """
    SELECT run_id, command, arguments, code_version, host, started, ended, outcome
    FROM runs WHERE run_id IN (
        SELECT run_id FROM experiments WHERE list_contains($experiments, experiment)
        UNION SELECT run_id FROM feature_sets WHERE list_contains($sets, feature_set)
        UNION SELECT run_id FROM features WHERE list_contains($sets, feature_set)
        UNION SELECT run_id FROM scans UNION SELECT run_id FROM labels UNION SELECT run_id FROM scan_lists
        UNION SELECT run_id FROM study_rows WHERE study = $study
        UNION SELECT run_id FROM comparisons WHERE study = $study
    ) ORDER BY started, run_id
"""

OF_STUDY = {
    "experiments": "FROM experiments WHERE experiment IN (SELECT experiment FROM study_rows WHERE study = $study)",
    "files": """SELECT DISTINCT role, cohort, scan_id, file, sha256 FROM provenance
WHERE experiment IN (SELECT experiment FROM study_rows WHERE study = $study)""",
}
"""What a person asks for all of it."""

_EXPERIMENTS = (
    text("experiment", "experiment"), text("rows of the study", "labels"), text("model", "model"),
    text("feature set", "feature_set"), text("label rule", "label_rule"), count("scans", "scans"),
    count("patients", "patients"), basis(), text("run", "run_id"), count("files", "files"),
    digest("digest of the files", "files_sha256"), digest("digest of the input rows", "input_sha256"),
    digest("digest of the code", "code_sha256"),
)  # fmt: skip
_SETS = (
    text("feature set", "feature_set"), text("backbone", "backbone"), text("weights", "weights"),
    count("vectors", "vectors"),
    count("of other files than these", "unexplained", "failed"),
    text("run", "run_id"),
)  # fmt: skip
_FILES = (
    text("kind", "role"), text("cohort", "cohort"), text("scan", "scan_id"), text("file", "file"),
    digest("sha256", "sha256"), count("experiments", "experiments"),
)  # fmt: skip
_RUNS = (
    text("run", "run_id"), text("command", "command"), text("arguments", "arguments"), text("code", "code_version"),
    Column("began", lambda row: Cell(moment(row["started"]))), Column("ended", lambda row: Cell(moment(row["ended"]))),
    Column("outcome", lambda row: Cell(shown(row["outcome"]), look="" if row["outcome"] == "done" else "failed")),
    text("host", "host"),
)  # fmt: skip


@dataclass(frozen=True)
class Document:
    """Settings or a recipe, as they were recorded: a title, and JSON set out over lines."""

    title: str
    content: str


@dataclass(frozen=True)
class Documents:
    """Documents of a kind, folded."""

    name: str
    title: str
    documents: tuple[Document, ...]


def provenance(connection: DuckDBPyConnection, lake: Lake, study: str) -> Iterator[Table | Documents]:
    """From the study's experiments down to the files they come from."""
    experiments = ask(connection, EXPERIMENTS, {"study": study})
    named = [row["experiment"] for row in experiments]
    sets = sorted({name for row in experiments for name in row["feature_set"].split(" + ")})
    asked = {"study": study, "experiments": named, "sets": sets}
    yield make_table(
        "experiments", "Experiments", _EXPERIMENTS, experiments,
        spelled(OF_STUDY["experiments"], study=study),
        note="An experiment's name is a hash of its settings, of the rows it read and of the code that ran it. The "
        "digest of its files is the sha256 of their sorted sha256, one to a line.",
        empty="No experiment of the study is in the lake.",
    )  # fmt: skip
    yield _documents("settings", "Settings of each experiment", experiments, "experiment", "settings")
    recipes = [row | {"unexplained": unexplained(connection, lake, row)} for row in ask(connection, SETS, asked)]
    yield make_table(
        "feature-sets", "Feature sets", _SETS, recipes, "FROM feature_sets",
        note="Each vector carries a digest of the files it was computed from. Where that is not the digest of the "
        "files below, they were changed or taken away since.",
    )  # fmt: skip
    yield _documents("recipes", "Recipe of each feature set", recipes, "feature_set", "recipe")
    yield make_table("runs", "Runs", _RUNS, ask(connection, RUNS, asked), "FROM runs ORDER BY started", folded=True)
    yield make_table(
        "files", "Files", _FILES, ask(connection, FILES, asked),
        spelled(OF_STUDY["files"], study=study),
        most=MOST_FILES, folded=True, empty="The lake names no file that the study's experiments come from.",
    )  # fmt: skip


def _documents(name: str, title: str, rows: list[Row], key: str, content: str) -> Documents:
    def told(row: Row) -> Document:
        return Document(shown(row[key]), json.dumps(json_cell(row, content, key), indent=1, ensure_ascii=False))

    return Documents(name, title, tuple(map(told, rows)))
