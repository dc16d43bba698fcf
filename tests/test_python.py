"""A lake from Python, as an analyst would type it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gliolake
from gliolake.errors import NotALake
from gliolake.storage.lake import Lake

TYPED = """
import gliolake
con = gliolake.connect()
asked = con.sql("SELECT scan_id, age, methylated FROM training ORDER BY scan_id")
print(asked.df().to_dict("list"))
print(asked.pl().to_dict(as_series=False))
print(asked.to_arrow_table().to_pydict())
print(asked.arrow().read_all().to_pydict())
"""


@pytest.fixture
def filled(root: str, label: Any) -> str:
    """Where a lake with two labelled scans lies: in a folder, then in S3."""
    lake = Lake(root, create=True)
    cohort = {"role": "training", "label_rule": "brats21", "description": "", "description_sha256": ""}

    def write(transaction: Any) -> None:
        transaction.append("cohorts", [{"cohort": "brats21", **cohort}])
        transaction.append("labels", [label(1, age=40.5), label(2, age=41.0, mgmt_status="unmethylated")])

    lake.transact(write, run_id="r")
    return root


def _typed(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, encoding="utf-8", check=True
    )


def test_one_call_opens_a_lake_for_pandas_polars_and_arrow(filled: str) -> None:
    done = _typed(TYPED, GLIOLAKE_LAKE=filled)
    expected = {"scan_id": ["scan-0001", "scan-0002"], "age": [40.5, 41.0], "methylated": [True, False]}
    assert done.stdout.splitlines() == [str(expected)] * 4
    assert done.stderr == ""


def test_a_lake_is_named_by_text_path_or_variable_and_a_missing_one_with_what_to_do(
    lake: Lake, label: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    monkeypatch.setenv("GLIOLAKE_LAKE", lake.root)
    for named in (None, lake.root, Path(lake.root)):
        with gliolake.connect(named) as connection:
            assert connection.sql("SELECT count(*) FROM labels").fetchall() == [(1,)]
    with pytest.raises(NotALake, match="nowhere") as missing:
        gliolake.connect(tmp_path / "nowhere")
    assert "gliolake ingest" in missing.value.hint
    monkeypatch.delenv("GLIOLAKE_LAKE")
    with pytest.raises(NotALake, match="No lake was named") as unnamed:
        gliolake.connect()
    assert "GLIOLAKE_LAKE" in unnamed.value.hint


def test_importing_gliolake_imports_nothing_heavy_and_runs_nothing() -> None:
    heavy = {"torch", "dask", "duckdb", "pyarrow", "numpy", "pandas", "polars", "matplotlib", "sklearn"}
    done = _typed(f"import sys, gliolake; print({heavy} & set(sys.modules))")
    assert (done.stdout, done.stderr) == ("set()\n", "")
