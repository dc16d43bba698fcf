"""Exports any table or view of the lake as CSV, TSV, an Excel workbook or Parquet.

Rows pass through in batches, so that a table larger than memory is exported too. How each format writes what it holds
is said in ``gliolake.sql.cells.RULES``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import BinaryIO

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from gliolake.atomic import replaced
from gliolake.errors import InputError, check_choice
from gliolake.log.progress import track
from gliolake.schema.registry import TABLES
from gliolake.sql.catalog import connect, damage_named, relations
from gliolake.sql.cells import DESCRIPTION, harmless_cells, in_utc
from gliolake.sql.definitions import definitions
from gliolake.sql.dictionary import Relation, dictionary
from gliolake.sql.statements import identifier, statement
from gliolake.storage.lake import Lake

FORMATS = ("csv", "parquet", "tsv", "xlsx")
BATCH = 8192
"""Rows of a batch, and of a row group of Parquet."""

LONG = 20
"""Batches from which on a progress bar is worth its line."""


@dataclass(frozen=True)
class Exported:
    """What was written, and where."""

    name: str
    file: str
    rows: int


def export(
    lake: Lake, name: str, target: Path | None = None, *, form: str | None = None, overwrite: bool = False
) -> Exported:
    """Write a table or view into a file.

    Args:
        lake: the lake.
        name: the table or view.
        target: the file; NAME.FORMAT in the current folder where None.
        form: one of FORMATS; by the ending of the file where None.
        overwrite: replace the file if it is there (``gliolake.atomic``).

    Raises:
        InputError: there is no such table, view or format; the rows are not for export, or the format cannot hold
            them; the file is there.
        DamagedFile: a file of the lake is missing or altered.
        StorageFull: no space is left for the file.
    """
    form = _format(form, target)
    target = target or Path(f"{name}.{form}")
    _check_name(name)
    with connect(lake) as connection, damage_named(), replaced(target, overwrite=overwrite) as stream:
        relation = dictionary(connection)[name]
        rows = _count(connection, name)
        if form == "xlsx":
            from gliolake.sql.export.xlsx import check_size

            check_size(name, rows, len(relation.columns))
        empty = connection.sql(statement("FROM {relation} LIMIT 0", relation=name)).to_arrow_table()
        schema = _described(empty.schema, relation)
        batches = _watched(_batches(connection, name), f"{name} to {form}", ceil(rows / BATCH))
        with _memory_named(name), damage_named():
            write(schema, batches, form, stream)
    return Exported(name, str(target), rows)


def write(schema: pa.Schema, batches: Iterable[pa.RecordBatch], form: str, stream: BinaryIO) -> None:
    """Write rows in one of FORMATS. What the schema and its fields say of themselves goes into Parquet and xlsx.

    Raises:
        InputError: the format cannot hold the rows.
    """
    if form == "xlsx":
        from gliolake.sql.export.xlsx import write_xlsx

        write_xlsx(schema, batches, stream)
        return
    change = in_utc if form == "parquet" else harmless_cells
    schema = change(pa.RecordBatch.from_pylist([], schema)).schema
    if form == "parquet":
        writer = pq.ParquetWriter(stream, schema, compression="zstd")
    else:
        options = pyarrow.csv.WriteOptions(delimiter="\t" if form == "tsv" else ",")
        writer = pyarrow.csv.CSVWriter(stream, schema, write_options=options)
    with writer:
        for batch in batches:
            writer.write_batch(change(batch))


def _format(form: str | None, target: Path | None) -> str:
    if form is not None:
        return check_choice("format", form, FORMATS)
    if target is None:
        raise InputError("No format was named.", hint=f"Choose one with --format: {', '.join(FORMATS)}.")
    return check_choice("format", target.suffix.removeprefix("."), FORMATS, hint="--format names it.")


def _check_name(name: str) -> None:
    if name in TABLES and TABLES[name].bulky:
        raise InputError(
            f"Table {name} is not for export: a row of it is a whole image.",
            hint="Table volumes says what there is; `gliolake preview SCAN` draws it.",
        )
    check_choice("table or view", name, relations(), hint="`gliolake dictionary` lists all.")


@contextmanager
def _memory_named(name: str) -> Iterator[None]:
    """Inside, a view that outgrows memory is refused in words: queries have no folder to put the rest into."""
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise InputError(
            f"DuckDB could not put {name} in order: {str(error).splitlines()[0]}",
            hint="A view has to fit in memory. Ask for a part of it with `gliolake sql`, or export its tables.",
        ) from error


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    """Rows; those of a table as the commit log has them, which opens no file."""
    if name in TABLES:
        asked = 'SELECT coalesce(sum("rows"), 0) FROM data_files WHERE "table" = $name'
        ((rows,),) = connection.sql(asked, params={"name": name}).fetchall()
    else:
        ((rows,),) = connection.sql(statement("SELECT count(*) FROM {relation}", relation=name)).fetchall()
    return int(rows)


def _batches(connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[pa.RecordBatch]:
    """The rows in one order, so that the same content is the same bytes.

    A table comes a partition at a time: what has to be sorted in memory is one partition, not a table.
    """
    if name not in TABLES:
        own_order = name in definitions() and definitions()[name].ordered
        asked = "FROM {relation}" if own_order else "FROM {relation} ORDER BY ALL"
        yield from connection.sql(statement(asked, relation=name)).to_arrow_reader(BATCH)
        return
    table = TABLES[name]
    asked = 'SELECT DISTINCT "partition" FROM data_files WHERE "table" = $name'
    partitions = [partition for (partition,) in connection.sql(asked, params={"name": name}).fetchall()]
    where = " AND ".join(["true", *(f"{identifier(column)} = ?" for column in table.partition_by)])
    in_order = statement("FROM {relation} WHERE " + where + " ORDER BY {key}", relation=name, key=table.key)
    for values in sorted([partition[column] for column in table.partition_by] for partition in partitions):
        yield from connection.sql(in_order, params=values).to_arrow_reader(BATCH)


def _described(schema: pa.Schema, relation: Relation) -> pa.Schema:
    docs = {column.name: column.doc for column in relation.columns}
    fields = [field.with_metadata({DESCRIPTION: docs[field.name]}) for field in schema]
    return pa.schema(fields, {DESCRIPTION: f"{relation.name}: {relation.doc}"})


def _watched(batches: Iterable[pa.RecordBatch], what: str, total: int) -> Iterator[pa.RecordBatch]:
    """The batches, with a progress bar if there are many."""
    if total < LONG:
        yield from batches
        return
    with track(what, total) as advance:
        for batch in batches:
            yield batch
            advance()
