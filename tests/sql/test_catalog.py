"""The catalog: a snapshot that nothing can be written to, and a file that stands alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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


def test_the_commit_log_counts_what_reading_counts(answering: Lake) -> None:
    counted = 'SELECT "table", sum("rows") FROM data_files GROUP BY ALL ORDER BY ALL'
    with connect(answering) as connection:
        found = connection.sql(counted).fetchall()
        assert found == [(name, connection.table(name).to_arrow_table().num_rows) for name, _ in found]
        read = "SELECT feature_set, cohort, modality, count(*) FROM features GROUP BY ALL ORDER BY ALL"
        logged = "SELECT feature_set, cohort, modality, scans FROM vectors"
        assert connection.sql(logged).fetchall() == connection.sql(read).fetchall()


@pytest.mark.parametrize("kept", [0, 2**20])
def test_a_file_is_read_once_for_a_query_or_again_where_memory_is_short_and_is_what_was_committed(
    answering: Lake, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr("sql.committed_files.KEPT_BYTES", kept)
    reads: list[str] = []
    read = Lake.content
    monkeypatch.setattr(Lake, "content", lambda lake, file: reads.append(file.path) or read(lake, file))
    with connect(answering) as connection:
        reads.clear()
        asked = "SELECT count(*), round(sum(list_sum(\"values\"))) FROM features WHERE modality = 'T1'"
        ((rows, total),) = connection.sql(asked).fetchall()
    monkeypatch.undo()
    vectors = answering.read("features", {"modality": "T1"}, ["values"])["values"].to_pylist()
    assert (rows, total) == (len(vectors), round(sum(map(sum, vectors))))
    files = answering.state().of_table("features", {"modality": "T1"})
    others = {path for path in reads if "modality=T1/" not in path}
    assert len(others) <= 1  # the first file of all, for its schema
    assert (len(reads) <= len(files) + 1) == bool(kept)
