"""Rows before a commit: conversion to the table's schema, keys, partitions, and comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from gliolake.errors import DuplicateKey, InputError
from gliolake.schema.types import Table

Rows: TypeAlias = pa.Table | Sequence[Mapping[str, Any]]
Key: TypeAlias = tuple[Any, ...]
_MISFITS = (pa.ArrowException, TypeError, ValueError, OverflowError)


def as_dicts(rows: Rows) -> list[Mapping[str, Any]]:
    """The rows as dictionaries."""
    return rows.to_pylist() if isinstance(rows, pa.Table) else list(rows)


def conform(table: Table, rows: Rows, run_id: str) -> pa.Table:
    """``rows`` in the table's schema, with ``run_id`` filled in where it is missing.

    Raises:
        InputError: a column is missing, unknown or of another type, or a value is missing.
        DuplicateKey: two rows have the same primary key.
    """
    given = rows if isinstance(rows, pa.Table) else _from_dicts(table, [{"run_id": run_id, **row} for row in rows])
    if "run_id" not in given.column_names:
        given = given.append_column("run_id", pa.array([run_id] * given.num_rows, pa.string()))
    try:
        given = given.select(table.schema.names)
        for field in table.schema:
            if not field.nullable and given.column(field.name).null_count:
                raise InputError(f"Table {table.name} needs a value in column {field.name!r} of every row.")
        conformed = in_schema(given, table.schema)
    except KeyError as error:
        raise InputError(f"Rows do not fit table {table.name}: {error}") from error
    except pa.ArrowException:
        raise _misfit(table, lambda field: given.column(field.name).cast(field.type)) from None
    keys = keys_of(table, conformed)
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DuplicateKey(f"Two rows for table {table.name} have {show_key(table, twice)}.")
    return conformed


def _from_dicts(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    if unknown := {column for row in rows for column in row} - set(table.schema.names):
        raise InputError(f"Table {table.name} has no column {min(unknown)!r}.")
    try:
        return pa.Table.from_pylist(rows, schema=table.schema)
    except _MISFITS:
        raise _misfit(table, lambda field: pa.array([row.get(field.name) for row in rows], field.type)) from None


def _misfit(table: Table, column: Callable[[pa.Field], object]) -> InputError:
    """An error that names the columns with values of another type, and no value: it may say who a patient is."""
    wrong = []
    for field in table.schema:
        try:
            column(field)
        except _MISFITS:
            wrong.append(f"{field.name} ({field.type})")
    return InputError(
        f"Rows do not fit table {table.name}: values of another type in {', '.join(wrong) or 'a column'}."
    )


def in_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows with these types; as they are, if they have them already: a cast to the same costs as much as another.

    Raises:
        pyarrow.ArrowException: a value does not fit its type.
    """
    return rows if rows.schema.equals(schema, check_metadata=True) else rows.cast(schema)


def in_key_order(table: Table, rows: pa.Table) -> tuple[list[Key], pa.Table]:
    """Sorted primary keys, and the rows in their order: the same rows make the same file however they came."""
    keys = keys_of(table, rows)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    if order == [*range(len(keys))]:
        return keys, rows.combine_chunks()  # laid out as if taken
    return [keys[row] for row in order], rows.take(pa.array(order, pa.int64()))


def split(table: Table, rows: pa.Table) -> list[tuple[dict[str, str], pa.Table]]:
    """The rows of each partition."""
    if not rows.num_rows:
        return []
    folders = zip(*(rows.column(column).to_pylist() for column in table.partition_by), strict=True)
    values = [dict(zip(table.partition_by, folder, strict=True)) for folder in sorted(set(folders))]
    if len(values) < 2:
        return [(value, rows) for value in values or [{}]]
    return [(value, rows.filter(matches(rows, value))) for value in values]


def matches(rows: pa.Table, where: Mapping[str, Any]) -> pa.Array:
    """For each row, whether every column named in ``where`` equals its value; null equals nothing."""
    import pyarrow.compute as pc  # only here: it is a twentieth of a second, and most who read do not choose

    mask = pa.array([True] * rows.num_rows, pa.bool_())
    for column, value in where.items():
        mask = pc.and_(
            mask, pc.fill_null(pc.equal(rows.column(column), pa.scalar(value, rows.schema.field(column).type)), False)
        )
    return mask


def keys_of(table: Table, rows: pa.Table) -> list[Key]:
    """The primary key of each row."""
    return list(zip(*(rows.column(column).to_pylist() for column in table.key), strict=True))


def show_key(table: Table, key: Key) -> str:
    """A primary key in words, for messages."""
    return ", ".join(f"{column} = {value}" for column, value in zip(table.key, key, strict=True))


def content(table: Table, rows: pa.Table) -> dict[Key, Mapping[str, Any]]:
    """Rows by key, without the run that wrote them."""
    names = [name for name in table.schema.names if name != "run_id" or name in table.key]
    return dict(zip(keys_of(table, rows), rows.select(names).to_pylist(), strict=True))


def differs(table: Table, new: pa.Table, old: pa.Table) -> pa.Array:
    """For each new row, whether it is other than the old row of its key, ``run_id`` aside."""
    before, after = content(table, old), content(table, new)
    return pa.array([before.get(key) != row for key, row in after.items()], pa.bool_())


def same_content(table: Table, old: pa.Table, new: pa.Table) -> bool:
    """Whether both hold the same rows, ``run_id`` aside."""
    return content(table, old) == content(table, new)
