"""The catalog: a snapshot that nothing can be written to, and a file that stands alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gliolake.errors import DamagedFile, GliolakeError, InputError, StorageFull
from gliolake.maintenance.verify import verify
from gliolake.sql.catalog import connect, write_catalog
from gliolake.sql.query import query, write
from gliolake.storage.data_files import DataFiles
from gliolake.storage.lake import Lake
from gliolake.storage.log_entries import encode


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
    monkeypatch.setattr("gliolake.sql.committed_files.KEPT_BYTES", kept)
    reads: list[str] = []
    read = DataFiles.content
    monkeypatch.setattr(DataFiles, "content", lambda data, file: reads.append(file.path) or read(data, file))
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


def test_connections_of_several_lakes_at_once_answer_each_for_its_own(tmp_path: Path, label: Any) -> None:
    lakes = [Lake(tmp_path / f"lake-{n}", create=True) for n in range(3)]
    for n, lake in enumerate(lakes):
        lake.transact(lambda tx, n=n: tx.append("labels", [label(i) for i in range(n)]), run_id="r")
    connections = [connect(lake) for lake in (*lakes, *reversed(lakes))]
    connections[1].close()
    connections[1] = connect(lakes[1])  # in the place of the one that is gone
    with ThreadPoolExecutor() as pool:
        counted = pool.map(lambda one: one.sql("SELECT count(*) FROM patients").fetchall(), connections)
        assert [count for ((count,),) in counted] == [0, 1, 2, 2, 1, 0]


def test_a_connection_leaves_nothing_in_the_lake_nor_among_temporary_files(
    filled: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it need a place for them: it may be full, missing, or another user's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with connect(filled) as connection:
        assert connection.sql("SELECT count(*) FROM patients").fetchall() == [(3,)]
        assert sorted(tmp_path.rglob("*")) == before
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_a_catalog_that_somebody_left_in_a_lake_is_not_looked_at(filled: Lake, tmp_path: Path) -> None:
    left = Path(filled.root, "_catalog", "1.duckdb.zstd")
    left.parent.mkdir()
    left.write_bytes(b"patients")
    (tmp_path / "mine").mkdir()
    (left.parent / "mine").symlink_to(tmp_path / "mine")
    (tmp_path / "mine" / "thesis").write_bytes(b"words")
    assert query(filled, "SELECT count(*) AS n FROM labels").to_pylist() == [{"n": 3}]
    assert {finding.kind for finding in verify(filled, repair=True).findings} <= {"foreign file"}
    assert left.read_bytes() == b"patients"
    assert (tmp_path / "mine" / "thesis").read_bytes() == b"words"


def test_a_full_disk_leaves_the_former_catalog_and_no_journal(lake: Lake, small_disk: Path) -> None:
    (small_disk / "c.duckdb").write_bytes(b"before")
    with pytest.raises(StorageFull, match=r"No space is left for .*d\.duckdb"):
        write_catalog(lake, small_disk / "d.duckdb")
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == {"c.duckdb": b"before"}


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE mine (x INT)", "CREATE VIEW mine AS SELECT 1", "CREATE SEQUENCE mine", "SELECT 1", ""]
)
def test_only_a_catalog_that_nobody_added_to_is_replaced(lake: Lake, tmp_path: Path, statement: str) -> None:
    file = tmp_path / "c.duckdb"
    write_catalog(lake, file)
    write_catalog(lake, file, overwrite=True)
    with duckdb.connect(str(file)) as connection:
        connection.execute(statement or "DROP TABLE labels; CREATE TABLE labels AS SELECT 1 AS mine")
    if statement == "SELECT 1":  # another program has not ended well: this journal would be taken for the new file's
        file.with_name("c.duckdb.wal").write_bytes(b"rows")
    before = file.read_bytes()
    with pytest.raises(InputError, match="is not a catalog as gliolake writes it"):
        write_catalog(lake, file, overwrite=True)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "path",
    [
        "labels/cohort=brats21/*.parquet",
        "labels/cohort=ucsf_pdgm/{name}",
        "labels/cohort=brats21/x/{name}",
        "labels/cohort=brats21'; COPY labels TO 'x/{name}",
        "labels/cohort=[a-z]*/{name}",
        "labels/{name}",
        "lake://labels/cohort=brats21/{name}",
        "links/cohort=brats21/{name}",
    ],
)
def test_a_record_that_names_a_data_file_otherwise_than_gliolake_does_is_no_record(filled: Lake, path: str) -> None:
    """What DuckDB is shown of names are those that table, partition and checksum make: no pattern, no other part."""
    (record,) = Path(filled.root, "_log").glob("*1.json")
    content = json.loads(record.read_bytes())
    (file,) = content["added"]
    file["path"] = path.format(name=Path(file["path"]).name)
    del content["sha256"]
    record.chmod(0o600)
    record.write_bytes(encode(content))
    with pytest.raises(GliolakeError, match=r"00001\.json"):
        Lake(filled.root).read("labels")
