"""Runs an SQL query on the lake, and writes the result in the requested format."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

from gliolake.errors import InputError, first_line, unknown_name
from gliolake.sql.catalog import connect, damage_named, relations
from gliolake.sql.cells import plain
from gliolake.sql.connection import waited_for
from gliolake.sql.export.table import write as write_rows
from gliolake.sql.next_step import why_empty
from gliolake.storage.lake import Lake

FORMATS = ("table", "csv", "json", "parquet")

READING = ("SELECT", "EXPLAIN", "MULTI")
"""DuckDB's types of statements that are let through; MULTI is PIVOT."""

AS_TEXT = "Cast it to VARCHAR, or ask for another --format."

ELSEWHERE = "Queries can read the lake's tables and views and nothing else."


def query(lake: Lake, statement: str) -> pa.Table:
    """The answer to one SQL statement that reads.

    Raises:
        InputError: the statement is not one, does not read, or DuckDB refuses it; then the message is DuckDB's own.
        DamagedFile: a file that the query needs is missing or altered.
    """
    with connect(lake) as connection:
        try:
            _check(connection, statement)
            with damage_named():
                return waited_for(connection, lambda: connection.sql(statement).to_arrow_table())
        except duckdb.Error as error:
            raise _refusal(error, relations()) from None


def nothing_found(lake: Lake, statement: str) -> str:
    """For a statement that found no rows: the table whose rows are missing, and the command that makes them, if so."""
    read = re.findall(r"\b(?:FROM|JOIN)\s+\"?(\w+)", re.sub(r"--.*", "", statement), re.IGNORECASE)
    return why_empty(map(str.lower, read), {file.table for file in lake.state().files.values()})


def _check(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """That the text is one statement, and that it reads."""
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise InputError(
            f"That is {len(statements)} statements." if statements else "There is no statement.",
            hint="Ask one at a time, e.g. gliolake sql 'FROM flowchart'.",
        )
    try:
        kind = statements[0].type.name
    except ValueError:  # DuckDB has more types than its Python client has names for
        kind = "unknown"
    if kind not in READING:
        raise InputError(
            f"The lake is read-only: a statement of type {kind} is refused.",
            hint="SELECT, FROM, DESCRIBE, SUMMARIZE, PIVOT and EXPLAIN are answered; --output keeps an answer.",
        )


def _refusal(error: duckdb.Error, names: list[str]) -> InputError:
    """DuckDB's error for the person who asked: without internals, and for an unknown name the nearest ones."""
    if unknown := re.search(r"Table with name \"?([\w.]+)\"? does not exist", str(error)):
        near = difflib.get_close_matches(unknown[1].lower(), names, n=3, cutoff=0.5)
        return unknown_name("table or view", unknown[1], near, hint="`gliolake sql 'SHOW TABLES'` names all.")
    first, *rest = str(error).strip().split("\n\n")
    if first.startswith("Traceback"):  # of the file system, as DuckDB hands it on
        first = first_line(first)
    place = [part for part in rest if part.startswith("LINE ")]
    elsewhere = isinstance(error, duckdb.PermissionException) or "extension" in first or "read-only" in first
    return InputError("\n".join([first, *place]), hint=ELSEWHERE if elsewhere else "")


def write(answer: pa.Table, form: str, stream: BinaryIO) -> None:
    """Write an answer to a byte stream as ``json`` (a list of objects) or in one of
    ``gliolake.sql.export.table.FORMATS``.

    Raises:
        InputError: the format has no form for a column.
    """
    if form == "json":
        stream.write(json.dumps(rows_of(answer), default=plain).encode() + b"\n")
    else:
        try:
            write_rows(answer.schema, answer.to_batches(), form, stream)
        except pa.ArrowException as error:
            raise InputError(f"The answer has no form in {form}: {str(error).splitlines()[0]}.", hint=AS_TEXT) from None
    stream.flush()


def rows_of(answer: pa.Table) -> list[dict[str, Any]]:
    """An answer as Python's values, row by row.

    Raises:
        InputError: Python has no such value.
    """
    try:
        return answer.to_pylist()
    except (OverflowError, ValueError) as error:  # years after 9999 and the like, which Python has not
        raise InputError(f"A value of the answer is beyond what Python can hold: {error}.", hint=AS_TEXT) from None
