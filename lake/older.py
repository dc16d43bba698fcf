"""Data files of an older gliolake, read as if they had been written today.

A file says by its columns what its table was like when it was written. What the table has gained since is null in its
rows, or what the column's ``before`` makes of them; what the table has lost is passed over. So readers, in Python as in
SQL, know nothing of older files. Nothing is written here: ``lake.migrate`` does that, once for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from lake.errors import OlderLake
from lake.parquet import open_parquet, schema_of
from lake.rows import in_schema
from lake.state import DataFile
from lake.tables import Table

OTHER_VERSION = "The version that wrote it reads it; table runs names it."


def is_older(table: Table, data: bytes) -> bool:
    """Whether the bytes of a data file have other columns, or of other types, than the table's files have today."""
    held, today = schema_of(data), table.file_schema
    return dict(zip(held.names, held.types, strict=True)) != dict(zip(today.names, today.types, strict=True))


def rows_of(table: Table, file: DataFile, data: bytes, columns: Sequence[str]) -> pa.Table:
    """The rows in the bytes of a data file, with its partition columns, as the table has them today.

    Raises:
        OlderLake: the file lacks a column that may not be null, or has one that cannot be read as the table's is.
    """
    parquet = open_parquet(data)
    held = {*parquet.schema_arrow.names, *file.partition}
    lacking = [column for column in table.columns if column.name in columns and column.name not in held]
    for column in lacking:
        if column.before is None and not column.optional:
            raise OlderLake(
                f"An older gliolake wrote {file.path}: its rows lack column {column.name!r}, "
                f"of which table {table.name} now needs a value.",
                hint=OTHER_VERSION,
            )
    asked = held if any(column.before for column in lacking) else held.intersection(columns)
    rows = parquet.read([name for name in parquet.schema_arrow.names if name in asked and name not in file.partition])
    for name, value in file.partition.items():
        if name in asked:
            rows = rows.append_column(name, pa.repeat(pa.scalar(value, pa.string()), rows.num_rows))
    old = rows
    try:
        for column in lacking:
            # Not pa.nulls: a struct of its making has nulls in fields that may not be null.
            values = column.before(old) if column.before else pa.array([None] * old.num_rows, column.type)
            rows = rows.append_column(column.name, values)
        return in_schema(rows.select(columns), pa.schema([table.schema.field(column) for column in columns]))
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise OlderLake(
            f"An older gliolake wrote {file.path}: its rows do not fit table {table.name} as it is now: {error}.",
            hint=OTHER_VERSION,
        ) from error


def as_today(table: Table, file: DataFile, data: bytes) -> bytes:
    """The bytes that a data file would have if it had been written today: mostly those that it has.

    Raises:
        OlderLake: as ``rows_of``.
    """
    if not is_older(table, data):
        return data
    rows, sink = rows_of(table, file, data, table.file_schema.names), pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="none", use_dictionary=False)  # read at once: no time for making it small
    return bytes(sink.getvalue())
