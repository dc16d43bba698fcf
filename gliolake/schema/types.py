"""Definition of a table: columns and types, primary key, partitions, and the command that writes its rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

text, integer, whole, real, flag = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()
moment = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Column:
    """One column: name, pyarrow type, one line of documentation, and whether it may be null."""

    name: str
    type: pa.DataType
    doc: str
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """One table. ``key`` names the columns that identify a row, ``partition_by`` those that make up its folder.

    made_by: the commands that write its rows, each of which does: what to run where rows are missing or were lost.
    bulky: a row is megabytes of bytes that mean nothing in SQL. Such a table is written one row to a file, and
    neither merged nor shown to queries, which would read all of it to count it.
    may_be_empty: it has no rows where all is well.
    """

    name: str
    doc: str
    key: tuple[str, ...]
    partition_by: tuple[str, ...]
    columns: tuple[Column, ...]
    made_by: tuple[str, ...] = ()
    bulky: bool = False
    may_be_empty: bool = False

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns, partition columns included."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.optional) for c in self.columns])

    @cached_property
    def file_schema(self) -> pa.Schema:
        """The columns a data file holds: all but the partition columns, which its folder names."""
        return pa.schema([field for field in self.schema if field.name not in self.partition_by])

    @cached_property
    def key_kinds(self) -> tuple[type, ...]:
        """The Python types of a key's values: ``str`` or ``int``."""
        return tuple(str if self.schema.field(column).type == text else int for column in self.key)


def define_table(
    name: str,
    doc: str,
    key: str,
    partition_by: str,
    *columns: Column,
    made_by: tuple[str, ...] = (),
    bulky: bool = False,
    may_be_empty: bool = False,
) -> Table:
    """A table with these columns and ``run_id``; ``key`` and ``partition_by`` are names with spaces between."""
    return Table(
        name, doc, tuple(key.split()), tuple(partition_by.split()), (*columns, RUN), made_by, bulky, may_be_empty
    )


RUN = Column("run_id", text, "the run that wrote the row (table runs)")
COHORT = Column("cohort", text, "name of the cohort")
SCAN = Column("scan_id", text, "imaging session, in the cohort's normal form")
