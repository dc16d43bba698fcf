"""The notebook from a lake to a first plot, run as it stands."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest

from gliolake.storage.lake import Lake

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "first_plot.ipynb"


def test_the_notebook_holds_no_outputs() -> None:
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def test_the_notebook_makes_tables_and_a_figure_of_a_lake(
    answering: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIOLAKE_LAKE", answering.root)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "stream"]  # no warnings
    told = [output.data for output in outputs]
    *tables, last = told
    assert "image/png" in last
    columns, flowchart, auc = (table["text/plain"] for table in tables)
    assert "patient_id" in columns
    assert "scans, one per patient" in flowchart
    assert "SNN-2 (table_1)" in auc
    assert "trained weights" in auc
