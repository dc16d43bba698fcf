"""Lakes as an older gliolake would have written them: its tables have fewer columns, its log another number."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from lake import log
from lake.store import Lake
from lake.tables import FEATURE_LENGTH, TABLES, Column, Table, moment
from lake.transaction import Transaction

GAINED = tuple(
    Column(f"gained_{number}", kind, "made up", True)
    for number, kind in enumerate(
        [
            pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_(), moment, pa.list_(pa.float32()),
            pa.struct([pa.field("role", pa.string(), nullable=False), pa.field("sizes", pa.list_(pa.int64()))]),
            pa.list_(pa.struct([pa.field("label", pa.int32(), nullable=False)])),
        ]
    )
)  # fmt: skip
"""A column of each type that tables have, and of some that they might: what a table may gain."""


def gaining(table: Table, *columns: Column) -> Table:
    """The table with more columns, its first ones."""
    return replace(table, columns=(*columns, *table.columns))


def lacking(table: Table, names: Collection[str]) -> Table:
    """The table without these columns."""
    return replace(table, columns=tuple(column for column in table.columns if column.name not in names))


@contextmanager
def tables_are(shapes: Mapping[str, Table], number: int = log.FORMAT) -> Iterator[None]:
    """Inside, gliolake's tables are these, and the number that it writes is this one."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(TABLES, shapes))
        stack.enter_context(patch.object(log, "FORMAT", number))
        yield


def row(table: Table, number: int) -> dict[str, Any]:
    """A row of any table, another one for each number, all in one partition. Some of what may be null is."""
    made: dict[str, Any] = {}
    for place, column in enumerate(table.columns):
        if column.name in table.partition_by:
            made[column.name] = "all"
        elif column.name == "values":
            made[column.name] = [number + place / 4 for place in range(FEATURE_LENGTH)]
        else:
            made[column.name] = None if column.optional and (place + number) % 3 == 0 else value(column.type, number)
    return made


def rows_then(today: Table, then: Table, numbers: Collection[int]) -> list[dict[str, Any]]:
    """The rows that today's table has of rows that were written when it was ``then``."""
    nothing = dict.fromkeys(column.name for column in today.columns)
    return [nothing | row(then, number) for number in numbers]


def value(kind: pa.DataType, number: int) -> Any:
    """A value of a type."""
    if pa.types.is_list(kind):
        return [value(kind.value_type, number + place) for place in range(number % 3)]
    if pa.types.is_struct(kind):
        return {field.name: value(field.type, number) for field in kind}
    return {
        "string": f'{{"é": {number}}}',  # some texts have to be JSON
        "binary": bytes([number]),
        "bool": number % 2 == 0,
        "float": number + 0.5,
        "double": number + 0.1,
        str(moment): datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number),
    }.get(str(kind), number)


def write(root: str | Path, shapes: Mapping[str, Table], numbers: Collection[int], number: int = log.FORMAT) -> None:
    """Commit these rows of these tables, by a gliolake whose tables and number are these."""

    def append(transaction: Transaction) -> None:
        for name, table in shapes.items():
            transaction.append(name, [row(table, n) for n in numbers])

    with tables_are(shapes, number):
        Lake(root, create=True).transact(append, run_id="r")
