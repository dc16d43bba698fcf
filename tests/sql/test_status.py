"""Status says what is missing and what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gliolake.cli.app import app
from gliolake.sql.status import status
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction


def test_scans_that_lack_a_vector_are_counted_by_branch(answering: Lake, tmp_path: Path) -> None:
    assert status(answering).missing == []
    lake = Lake(tmp_path / "lake", create=True)
    for table in ("cohorts", "scans", "labels", "feature_sets"):
        lake.transact(partial(Transaction.append, name=table, rows=answering.read(table)), run_id="r")
    vectors = answering.read("features", {"feature_set": "alpha-1"}).to_pylist()
    gone = ("ucsf_pdgm-05", "DeltaT1")
    kept = [row for row in vectors if row["modality"] != "T2" and (row["scan_id"], row["modality"]) != gone]
    lake.transact(lambda tx: tx.append("features", kept), run_id="r")
    assert status(lake).missing == [
        {"feature_set": "alpha-1", "cohort": "brats21", "modality": "T2", "missing": 12},
        {"feature_set": "alpha-1", "cohort": "ucsf_pdgm", "modality": "DeltaT1", "missing": 1},
        {"feature_set": "alpha-1", "cohort": "ucsf_pdgm", "modality": "T2", "missing": 6},
    ]


@pytest.mark.parametrize(
    ("outcomes", "age", "code"),
    [
        (["done"], 2, 0), (["OSError: no disk"], 2, 1), (["OSError: no disk", "done"], 2, 0), (["unfinished"], 2, 1),
        (["unfinished"], 0, 0),
    ],
)  # fmt: skip
def test_check_fails_by_the_last_run_of_a_command(tmp_path: Path, outcomes: list[str], age: int, code: int) -> None:
    begun = datetime.now(UTC) - timedelta(days=age)
    rows = [
        {
            "run_id": f"r{place}", "command": "ingest", "arguments": "{}", "code_version": "0", "host": "",
            "started": begun + timedelta(seconds=place), "outcome": outcome,
        }
        for place, outcome in enumerate(outcomes)
    ]  # fmt: skip
    Lake(tmp_path, create=True).transact(lambda tx: tx.append("runs", rows), run_id="r")
    result = CliRunner().invoke(app, ["status", "--lake", str(tmp_path), "--check"])
    assert result.exit_code == code
    assert ("Problem: the last run of ingest" in result.output) == bool(code)
