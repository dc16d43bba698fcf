"""The catalog: a snapshot that nothing can be written to, and a file that stands alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.errors import DamagedFile, InputError
from lake.store import Lake
from sql.catalog import connect, write_catalog
from sql.query import query, write


@pytest.fixture
def filled(lake: Lake, label: Any) -> Lake:
    lake.transact(lambda tx: tx.append("labels", [label(n) for n in range(3)]), run_id="r")
    return lake


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (a INTEGER)",
        "DROP VIEW external",
        "INSERT INTO patients VALUES ('a', 'b', 'c', 'd')",
        "COPY (SELECT 1) TO '{lake}/stolen.csv'",
        "COPY (SELECT 1) TO 'lake://{file}' (USE_TMP_FILE false)",
        "ATTACH '{lake}/other.duckdb'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('{lake}/../secret.csv')",
        "SELECT * FROM glob('/*')",
    ],
)
def test_a_connection_can_neither_write_nor_look_elsewhere(filled: Lake, statement: str) -> None:
    Path(filled.root).with_name("secret.csv").write_text("a\n1\n")
    (file,) = filled.state().of_table("labels")
    before = {path: path.read_bytes() for path in Path(filled.root).rglob("*") if path.is_file()}
    with connect(filled) as connection, pytest.raises(duckdb.Error):
        connection.execute(statement.format(lake=filled.root, file=file.path)).fetchall()
    assert {path: path.read_bytes() for path in Path(filled.root).rglob("*") if path.is_file()} == before


def test_a_connection_shows_the_commit_it_was_opened_on(root: str, label: Any) -> None:
    lake = Lake(root, create=True)
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    with connect(lake) as connection:
        lake.transact(lambda tx: tx.append("labels", [label(2)]), run_id="r")
        assert connection.execute("SELECT count(*) FROM labels").fetchone() == (1,)
    with connect(lake) as connection:
        assert connection.execute("SELECT count(*) FROM labels").fetchone() == (2,)


def test_a_written_catalog_opens_in_a_plain_client_without_the_lake(filled: Lake, tmp_path: Path) -> None:
    file = tmp_path / "it's a catalog.duckdb"
    rows = write_catalog(filled, file)
    assert rows["labels"] == 3
    Path(filled.root).rename(tmp_path / "gone")
    client = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql(sys.argv[2]).fetchall())"
    asked = [sys.executable, "-c", client, str(file), "SELECT scan_id FROM labels ORDER BY 1"]
    answer = subprocess.run(asked, capture_output=True, encoding="utf-8", check=True)
    assert answer.stdout.strip() == "[('scan-0000',), ('scan-0001',), ('scan-0002',)]"
    with pytest.raises(InputError, match="there already"):
        write_catalog(filled, file)


def test_a_mistaken_query_is_answered_in_words(filled: Lake) -> None:
    with pytest.raises(InputError, match="'lables'") as caught:
        query(filled, "SELECT * FROM lables")
    assert "labels" in caught.value.hint
    with pytest.raises(InputError, match="Parser Error"):
        query(filled, "SELEC 1")


def test_a_query_that_meets_a_damaged_file_names_it(filled: Lake) -> None:
    (file,) = filled.state().of_table("labels")
    Path(filled.root, file.path).write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DamagedFile, match=Path(file.path).name):
        query(filled, "SELECT * FROM labels")


def test_answers_are_written_in_each_format_whole(filled: Lake) -> None:
    answer = query(filled, "SELECT scan_id, source_row, [1.5, 2] AS pair FROM labels ORDER BY scan_id")
    written = {}
    for form in ("csv", "json", "parquet"):
        stream = io.BytesIO()
        write(answer, form, stream)
        written[form] = stream.getvalue()
    assert written["csv"].decode().splitlines()[1] == '"scan-0000",2,"[1.5, 2.0]"'
    assert json.loads(written["json"])[2] == {"scan_id": "scan-0002", "source_row": 4, "pair": [1.5, 2.0]}
    assert pq.read_table(pa.BufferReader(written["parquet"])).num_rows == 3
