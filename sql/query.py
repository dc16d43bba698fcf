"""Ask the lake a question in SQL, and print the answer as a person or a program wants it."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from lake.errors import InputError
from lake.store import Lake
from sql.catalog import connect, damage_named, relations
from sql.export import write as write_rows
from sql.export_cells import plain

FORMATS = ("table", "csv", "json", "parquet")
MOST_ROWS = 50
LONGEST_CELL = 240


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
    """Write an answer to a byte stream as ``json`` (a list of objects) or in one of ``sql.export.FORMATS``."""
    if form == "json":
        stream.write(json.dumps(answer.to_pylist(), default=plain).encode() + b"\n")
    else:
        write_rows(answer.schema, answer.to_batches(), form, stream)
    stream.flush()


def show(answer: pa.Table, console: Console) -> None:
    """Print an answer for people: at most ``MOST_ROWS`` rows, as a table where it fits, else row by row."""
    rows = [{name: _cell(value) for name, value in row.items()} for row in answer.slice(0, MOST_ROWS).to_pylist()]
    widths = [max([len(name), *(len(row[name]) for row in rows)]) for name in answer.column_names]
    if sum(width + 3 for width in widths) <= console.width or not rows:
        console.print(_grid(answer.schema, rows))
    else:
        for number, row in enumerate(rows, start=1):
            console.print(f"row {number}", style="dim")
            console.print(_record(row))
    if answer.num_rows > MOST_ROWS:
        console.print(f"{MOST_ROWS} of {answer.num_rows:,} rows. --format csv gives all.", style="dim")


def _grid(schema: pa.Schema, rows: list[dict[str, str]]) -> RichTable:
    grid = RichTable(show_edge=False, header_style="bold")
    for field in schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        grid.add_column(Text(field.name), justify="right" if number else "left", overflow="fold")
    for row in rows:
        grid.add_row(*map(Text, row.values()))
    return grid


def _record(row: dict[str, str]) -> RichTable:
    record = RichTable.grid(padding=(0, 2))
    for name, value in row.items():
        record.add_row(Text(f"  {name}", style="bold"), Text(value, overflow="fold"))
    return record


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = json.dumps(value, default=plain) if isinstance(value, (list, dict)) else str(value)
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + " …"
