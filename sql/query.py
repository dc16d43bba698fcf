"""Ask the lake a question in SQL, and print the answer as a person or a program wants it."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table as RichTable

from lake.errors import InputError
from lake.store import Lake
from sql.catalog import connect, damage_named, relations

FORMATS = ("table", "csv", "json", "parquet")
MOST_ROWS = 50
LONGEST_CELL = 60


def query(lake: Lake, statement: str) -> pa.Table:
    """The answer to one SQL statement.

    Raises:
        InputError: DuckDB refuses the statement; the message is its own, without internals.
        DamagedFile: a file that the query needs is missing or altered.
    """
    with connect(lake) as connection:
        try:
            with damage_named():
                return connection.sql(statement).to_arrow_table()
        except AttributeError:  # DuckDB answers None to a statement that returns no rows
            raise InputError("The statement returns no rows.", hint="The lake is read-only: use SELECT.") from None
        except duckdb.Error as error:
            raise InputError(_first_line(error), hint=_hint(error, relations(connection))) from None


def _first_line(error: duckdb.Error) -> str:
    return str(error).strip().split("\n\n", maxsplit=1)[0]


def _hint(error: duckdb.Error, names: list[str]) -> str:
    if isinstance(error, duckdb.CatalogException):
        return f"Tables and views: {', '.join(sorted(names))}."
    if isinstance(error, (duckdb.PermissionException, duckdb.InvalidInputException)):
        return "Queries can read the lake's tables and views and nothing else."
    return ""


def write(answer: pa.Table, form: str, stream: BinaryIO) -> None:
    """Write an answer to a byte stream as ``csv``, ``json`` (a list of objects) or ``parquet``.

    Nested columns are written as JSON text in CSV, which has no form for them.
    """
    if form == "csv":
        pyarrow.csv.write_csv(_flat(answer), stream)
    elif form == "json":
        stream.write(json.dumps(answer.to_pylist(), default=_plain).encode() + b"\n")
    else:
        pq.write_table(answer, stream)
    stream.flush()


def show(answer: pa.Table, console: Console | None = None) -> None:
    """Print an answer as a table for people: at most ``MOST_ROWS`` rows, long cells cut."""
    console = console or Console(file=sys.stdout)
    table = RichTable(show_edge=False, header_style="bold")
    for field in answer.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(field.name, justify="right" if number else "left", overflow="fold")
    for row in answer.slice(0, MOST_ROWS).to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)
    if answer.num_rows > MOST_ROWS:
        console.print(f"{MOST_ROWS} of {answer.num_rows:,} rows. --format csv gives all.", style="dim")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = json.dumps(value, default=_plain) if isinstance(value, (list, dict)) else str(value)
    return text if len(text) <= LONGEST_CELL * 4 else text[: LONGEST_CELL * 4] + " …"


def _flat(answer: pa.Table) -> pa.Table:
    for index, field in enumerate(answer.schema):
        if pa.types.is_nested(field.type):
            texts = [None if v is None else json.dumps(v, default=_plain) for v in answer.column(index).to_pylist()]
            answer = answer.set_column(index, field.name, pa.array(texts, pa.string()))
    return answer


def _plain(value: Any) -> str | float:
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)
