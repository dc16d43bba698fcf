"""The example queries: each finds what there is to find, and says rightly what its columns are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from gliolake.sql.catalog import connect
from gliolake.sql.questions import question, questions
from gliolake.storage.lake import Lake

EXPECTED: dict[str, tuple[str, str, list[tuple[Any, ...]]]] = {
    "usable_scans": ("cohort, remaining", "step = 5", [("brats21", 12), ("ucsf_pdgm", 4)]),
    "patients_in_both_cohorts": ("len(names), side", "true", [(3, ["external", "training"])]),
    "leaks_avoided": ("scan_id, training_scan", "true", [("ucsf_pdgm-01", "brats21/brats21-00")]),
    "label_conflicts_by_rule": (
        "status_a, status_b, conflicts, explained", "true", [("unmethylated", "methylated", 1, 1)]
    ),
    "calls_under_both_rules": ("scans, differ", "split = 'training'", [(12, 1)]),
    "auc_by_experiment": ("experiment, auc", "split = 'internal'", [("logistic-1", 0.7), ("snn-2", 0.6)]),
    "published_and_reproduced": (
        "label, published, inside", "true", [("LOGISTIC-1", 0.666, True), ("SNN-2", 0.666, True)]
    ),
    "most_attended_modality": (
        "split, methylated, modality, most_attended_in", "attention > 0.3",
        [(split, call, "FLAIR", 1.0) for split in ("external", "internal") for call in (False, True)],
    ),
    "patients_every_model_gets_wrong": ("patient_id, models, methylated", "true", [("brats21/brats21-03", 2, False)]),
    "agreement_of_networks": ("first_network, second_network, mean", "modality = 'T1'", [("alpha-1", "beta-2", 0.4)]),
    "stable_features": ("feature, rank", "rank IN (1, 400)", [(400, 1), (1, 400)]),
    "auc_by_subgroup": ('"row", "group", auc', "true", [("logistic-1", "F", 0.7), ("snn-2", "F", 0.7)]),
    "suspected_duplicates": ("one, other", "true", [("brats21/brats21-00", "brats21/brats21-07")]),
    "provenance_of_a_metric": (
        "experiment, uri, sha256, fitted_by, extracted_by, ingested_by", "scan_id = 'brats21-00' AND role = 'FLAIR'",
        [("logistic-1", "file:///brats21-00/FLAIR", "brats21-00-FLAIR", "made", "made", "made")],
    ),
    "vector_of_a_scan": ('scan_id, len("values")', "modality = 'T1'", [("brats21-00", 400)]),
    "nearest_scans": ("given, scan_id", "distance < 0.001", [("brats21/brats21-00", "brats21-07")]),
    "vectors_per_cohort": (
        "feature_set, scans, branches", "cohort = 'ucsf_pdgm'", [("alpha-1", 6, 5), ("beta-2", 6, 5)]
    ),
    "survival_by_prediction": (
        "called, scans, median_days", "experiment = 'snn-2' AND split = 'external'",
        [("methylated", 3, 300.0), ("unmethylated", 3, 400.0)],
    ),
    "latest_runs": ("command, outcome, minutes", "true", [("ingest", "done", 3.0)]),
}  # fmt: skip
"""Of each example some columns and rows, and what they must be."""


@pytest.fixture(scope="module")
def connection(answering: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(answering) as opened:
        yield opened


@pytest.mark.parametrize("name", questions())
def test_an_example_finds_what_is_there(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    columns, condition, rows = EXPECTED[name]
    assert connection.sql(question(name).sql).filter(condition).project(columns).fetchall() == rows


@pytest.mark.parametrize("name", questions())
def test_an_example_asks_a_question_and_describes_columns_that_it_has(
    connection: duckdb.DuckDBPyConnection, name: str
) -> None:
    asked = question(name)
    assert "?" in asked.question
    described = re.findall(r"^--   ([\w, ]+):", asked.sql, re.MULTILINE)
    assert described
    assert set(", ".join(described).split(", ")) <= set(connection.sql(asked.sql).columns)


def test_examples_are_listed_and_asked_by_name(command: Any, answering: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLIOLAKE_LAKE", raising=False)
    listed = command("sql", "--examples")  # of no lake
    assert [line.partition(":")[0] for line in listed.out.splitlines()] == list(questions())
    example = "sql", "--lake", answering.root, "--example", "leaks_avoided"
    answer = command(*example)
    assert "ucsf_pdgm-01" in answer.out
    assert "FROM leaks_avoided" in answer.err
    answer = command(*example, "--format", "csv")
    assert (answer.code, len(answer.out.splitlines()), answer.err) == (0, 2, "")
