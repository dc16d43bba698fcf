"""What `gliolake sql` and a Python connection answer to mistakes, and to statements that would do harm."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import astuple
from pathlib import Path
from typing import Any

import duckdb
import pytest

import gliolake
from gliolake.cli import ending
from gliolake.cli.query import typed
from gliolake.errors import InputError, Obstructed, StorageUnreachable
from gliolake.sql.catalog import connect, damage_named
from gliolake.sql.committed_files import CommittedFiles
from gliolake.storage.lake import Lake

REFUSED_BY_KIND = [
    "CREATE TABLE mine (a INTEGER)",
    "CREATE OR REPLACE TABLE patients AS SELECT 1",
    "CREATE PERSISTENT SECRET mine (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "DROP VIEW external",
    "ALTER TABLE patients ADD COLUMN mine INTEGER",
    "INSERT INTO patients VALUES ('a', 'b', 'c', 'd')",
    "UPDATE patients SET patient_id = 'a'",
    "DELETE FROM patients",
    "TRUNCATE patients",
    "MERGE INTO patients USING patients AS other ON true WHEN MATCHED THEN DELETE",
    "COPY labels TO 'stolen.csv'",
    "COPY labels TO '/dev/stdout'",
    "COPY (SELECT 1) TO '{lake}/labels/stolen.parquet'",
    "COPY (SELECT 1) TO 'lake://{file}' (USE_TMP_FILE false)",
    "SELECT 1; COPY labels TO 'stolen.csv'",
    "COPY labels TO 'stolen.csv'; SELECT 1",
    "EXPORT DATABASE 'stolen'",
    "IMPORT DATABASE '.'",
    "ATTACH 'other.duckdb'",
    "ATTACH 'other.duckdb' (READ_ONLY)",
    "ATTACH ':memory:' AS mine",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD './mine.duckdb_extension'",
    "UPDATE EXTENSIONS",
    "SET enable_external_access = true",
    "SET GLOBAL allowed_directories = ['/']",
    "RESET lock_configuration",
    "SET python_enable_replacements = true",
    "SET temp_directory = 'stolen'",
    "SET profiling_output = 'stolen.json'",
    "PRAGMA enable_profiling",
    "PRAGMA log_query_path = 'stolen.log'",
    "CALL enable_logging(storage = 'file', storage_path = 'stolen')",
]
"""Statements that do something else than read."""

REFUSED = [
    "WITH mine AS (INSERT INTO patients VALUES ('a', 'b', 'c', 'd') RETURNING *) FROM mine",
    "EXPLAIN ANALYZE COPY labels TO 'stolen.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO 'lake://{file}' (USE_TMP_FILE false)",
    "SELECT * FROM query('COPY labels TO ''stolen.csv''')",
    "FROM 'other.duckdb'",
    "SELECT * FROM read_csv('secret.csv')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv(['lake://{file}', 'secret.csv'])",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_text('file:///etc/passwd')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM read_json('secret.csv')",
    "SELECT * FROM read_parquet('{lake}/{file}')",
    "SELECT * FROM read_parquet('**/*.parquet')",
    "SELECT * FROM parquet_metadata('{lake}/{file}')",
    "SELECT * FROM sniff_csv('secret.csv')",
    "SELECT * FROM glob('/*')",
    "FROM 'secret.csv'",
    "FROM '/dev/stdin'",
    "FROM 'http://127.0.0.1:9/secret.csv'",
    "FROM 's3://bucket/secret.parquet'",
    "SELECT * FROM sqlite_scan('secret.db', 'a')",
    "SELECT getenv('HOME')",
    "SELECT current_setting('s3_secret_access_key')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM mine",
    "SELECT * FROM lake",
]
"""Statements that read what is not the lake's, or do something else in disguise; Python has ``mine`` and ``lake``."""

REFUSED_BESIDE = [
    "SELECT * FROM read_csv('lake:secret.csv')",
    "SELECT * FROM read_csv('LAKE://secret.csv')",
    "SELECT * FROM read_csv('lake:///../../etc/passwd')",
    "SELECT * FROM read_parquet(['lake://labels/*', 'secret.csv'])",
    "SELECT * FROM read_parquet('{lake}/labels/../{file}')",
    "SELECT * FROM read_single_csv_file('secret.csv')",
    "SELECT * FROM read_ndjson_objects('/proc/self/environ')",
    "SELECT * FROM read_duckdb('other.duckdb')",
    "SELECT * FROM parquet_schema('{lake}/{file}')",
    "SELECT * FROM parquet_bloom_probe('{lake}/{file}', 'a', 1)",
    "SELECT * FROM glob('~/*')",
    "SELECT * FROM read_text('/dev/fd/0')",
    "SELECT * FROM read_text('ls |')",
    "SELECT * FROM read_csv('hf://a/b')",
    "SELECT * FROM read_csv('gcs://a/b')",
    "SELECT * FROM read_csv('http://127.0.0.1:9/a')",
    "SELECT * FROM query('FROM read_text(''secret.csv'')')",
    "SELECT * FROM query_table('secret.csv')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''secret.csv'')'))",
    "SELECT (SELECT content FROM read_text('secret.csv'))",
    "WITH a AS MATERIALIZED (FROM read_text('secret.csv')) FROM a",
    "SUMMARIZE 'secret.csv'",
    "FROM (DESCRIBE FROM 'secret.csv')",
    'SELECT * FROM "secret.csv"',
    "FROM delta_scan('a')",
    "FROM postgres_scan('a', 'b', 'c')",
    "FROM read_xlsx('a.xlsx')",
    "FROM arrow_scan(1, 2, 3)",
    "FROM pandas_scan(1)",
    "CREATE TEMP TABLE a AS FROM read_csv('secret.csv')",
    "CREATE TEMP TABLE a AS SELECT getenv('HOME')",
    "CREATE SECRET a (TYPE http)",
    "SET VARIABLE a = (SELECT content FROM read_text('secret.csv'))",
    "PREPARE a AS COPY labels TO 'stolen.csv'",
    "COPY FROM DATABASE temp TO mine",
    "COPY labels FROM 'secret.csv'",
    "ATTACH 'lake://{file}' AS mine",
    "ATTACH 'other.duckdb' AS mine (TYPE duckdb, READ_ONLY)",
    "CALL enable_profiling()",
    "CALL sniff_csv('secret.csv')",
    "PRAGMA import_database('stolen')",
    "PRAGMA profiling_output = 'stolen.json'",
    "SET file_search_path = '/'",
    "SET home_directory = '/'",
    "SET extension_directory = '.'",
    "SET SESSION enable_external_access = true",
    "INSTALL spatial FROM community",
    "FORCE INSTALL httpfs",
]
"""The same in other words."""

HARMLESS_IN_PYTHON = ["SELECT 1; SELECT 2", "PRAGMA version", "CALL pragma_version()", "SET VARIABLE mine = 1", "BEGIN"]
"""Statements that change nothing but the connection, which the command line does not take all the same."""


@pytest.fixture
def folder(answering: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with files that no query may read; the lake is the answering one."""
    (tmp_path / "secret.csv").write_text("a\nsecret\n")
    duckdb.connect(str(tmp_path / "other.duckdb")).close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLIOLAKE_LAKE", answering.root)
    return tmp_path


@pytest.fixture
def ask(folder: Path, command: Any) -> Any:
    """Ask through the command line: exit code, what it printed, what it said on standard error."""
    return lambda *arguments: astuple(command("sql", *arguments))


@contextmanager
def one_connection(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All questions to the lake go through one connection: it takes longer to open than to ask."""
    with connect(lake) as connection, monkeypatch.context() as patch:
        patch.setattr("gliolake.sql.query.connect", lambda _: nullcontext(connection))
        yield


def _files(*folders: Path | str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for folder in folders for path in Path(folder).rglob("*") if path.is_file()}


def _made(statement: str, lake: Lake) -> str:
    (file, *_) = lake.state().of_table("labels")
    return statement.replace("{lake}", lake.root).replace("{file}", file.path)


def test_the_command_line_refuses_what_writes_or_looks_elsewhere_in_a_line_or_two(
    ask: Any, answering: Lake, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _files(folder, answering.root)
    with one_connection(answering, monkeypatch):
        for statement in [*REFUSED_BY_KIND, *HARMLESS_IN_PYTHON, *REFUSED[::3]]:
            code, out, err = ask(_made(statement, answering))
            assert (code, out) == (2, ""), statement
            assert err.startswith("gliolake: "), statement
            assert "Traceback" not in err, statement
            assert len(err.splitlines()) <= 5, statement
    assert _files(folder, answering.root) == before


def test_a_python_connection_refuses_the_same(answering: Lake, folder: Path) -> None:
    before = _files(folder, answering.root)
    mine = lake = {"secret": [1]}  # a data frame of the caller would be found by name, were it not for a setting
    with gliolake.connect() as connection:
        for statement in [*REFUSED_BY_KIND, *REFUSED, *REFUSED_BESIDE]:
            with pytest.raises(duckdb.Error):
                connection.execute(_made(statement, answering)).fetchall()
        assert connection.execute("SELECT count(*) FROM labels").fetchone() == (18,)
    assert _files(folder, answering.root) == before
    assert mine == lake


@pytest.mark.parametrize(
    "statement",
    [
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "SELECT sum(sqrt(a.range * b.range)) FROM range(10000000) AS a, range(10000000) AS b",
        "FROM range(1000000000000)",
    ],
)
def test_a_signal_stops_a_query_that_would_not_end(answering: Lake, statement: str) -> None:
    # In a process of its own: the signal ends whatever else it meets.
    command = [sys.executable, "-c", INTERRUPTED, str(answering.root), statement]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], timeout=60, capture_output=True, text=True, check=True
    )
    assert done.stdout == "interrupted\n[{'a': 1}]\n"


INTERRUPTED = """
import os, signal, sys, threading
from gliolake.sql.query import query
from gliolake.storage.lake import Lake
lake = Lake(sys.argv[1])
query(lake, "SELECT 1")
try:
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    query(lake, sys.argv[2])
except KeyboardInterrupt:
    print("interrupted")
print(query(lake, "SELECT 1 AS a").to_pylist())
"""


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("FROM trainig", ["no table or view named 'trainig'", "Did you mean training", "SHOW TABLES"]),
        ("SELECT scan_ix FROM labels", ['"scan_ix" not found', 'Candidate bindings: "scan_id"']),
        ("SELECT labls.cohort FROM labels", ['Candidate tables: "labels"']),
        ("SELECT medain(age) FROM labels", ['Did you mean "median"?']),
        ("SELECT a FROM labels WHER b", ["syntax error", "LINE 1: SELECT a FROM labels WHER b", " " * 33 + "^"]),
        ("SELECT 'a'::INTEGER", ["Could not convert string 'a'"]),
        ("SELECT ?", ["Values were not provided"]),
        ("", ["There is no statement", "FROM flowchart"]),
        ("SELECT 1; SELECT 2", ["2 statements", "one at a time"]),
        ("COPY labels TO 'a.csv'", ["read-only", "COPY", "--output"]),
        ("FROM 'secret.csv'", ["secret.csv", "the lake's tables and views and nothing else"]),
        ("FROM iceberg_scan('a')", ["iceberg_scan", "the lake's tables and views and nothing else"]),
        ("SELECT DATE '290000-01-01'", ["beyond", "VARCHAR"]),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_what_is_wrong_and_what_to_do(ask: Any, statement: str, said: list[str]) -> None:
    code, out, err = ask(statement)
    assert (code, out) == (2, "")
    for words in said:
        assert words in err
    assert "snn_input" not in err  # no list of everything there is
    assert "Traceback" not in err


def test_every_way_to_read_is_answered(ask: Any) -> None:
    for statement in (
        "PIVOT labels ON sex USING count(*) GROUP BY cohort", "DESCRIBE labels", "SUMMARIZE labels", "SHOW TABLES",
        "EXPLAIN FROM labels", "VALUES (1)", "FROM labels -- all",
    ):  # fmt: skip
        code, out, err = ask(statement, "--format", "csv")
        assert (code, err) == (0, "")
        assert len(out.splitlines()) > 1


def test_where_nothing_is_found_the_command_that_is_missing_is_named(
    ask: Any, lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    monkeypatch.setenv("GLIOLAKE_LAKE", lake.root)
    named = {
        "FROM features_wide": "gliolake extract",
        "SELECT count(*) FROM scans HAVING count(*) > 0": "gliolake ingest",
        "FROM external_listed": "gliolake ingest-list",
        "FROM table_1": "gliolake study run",
        "SELECT * FROM patients JOIN predictions USING (cohort, scan_id)": "gliolake study run",
        "FROM ccc_summary": "gliolake ccc",
        "FROM trials": "gliolake search",
    }
    with one_connection(lake, monkeypatch):
        for statement, command in named.items():
            code, _, err = ask(statement)
            assert code == 0
            assert f"is empty: `{command}" in err.replace("\n", " ")
        for statement in ("FROM labels WHERE scan_id = 'none'", "FROM exclusions"):  # nothing is amiss
            assert ask(statement, "--format", "csv")[::2] == (0, "")


def test_status_says_what_comes_next(command: Any, answering: Lake, lake: Lake, label: Any) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert "Next: gliolake ingest --cohort COHORT --images DIR" in command("status", "--lake", lake.root).out
    assert "Next:" not in command("status", "--lake", answering.root).out


def test_a_store_that_fails_within_a_question_is_named_and_its_traceback_is_not(
    lake: Lake, label: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    for error in (StorageUnreachable("The store is away."), Obstructed("labels is a pipe."), MemoryError("none left")):
        with connect(lake) as connection, monkeypatch.context() as patched:
            patched.setattr(CommittedFiles, "_content", raising(error))
            with pytest.raises((type(error), duckdb.Error), match=str(error)) as caught, damage_named():
                connection.sql("SELECT count(source) FROM labels").fetchall()
            assert ending._words(caught.value)[0].endswith(str(error))  # type: ignore[index]


def raising(error: Exception) -> Any:
    """A method that raises it."""

    def method(*_: Any) -> Any:
        raise error

    return method


def test_a_statement_on_standard_input_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"SELECT '\xff'"), "ascii", "surrogateescape"))
    with pytest.raises(InputError, match="is no UTF-8"):
        typed()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\ufeffSELECT 'ł'".encode()), "ascii"))
    assert typed() == "SELECT 'ł'"
