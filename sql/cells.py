"""Cells of exported files: how values without a native form are written, and how text is made safe.

RULES says it to readers; it stands in the data dictionary and in every workbook.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gliolake.errors import InputError

RULES = {
    "order of rows": "A table's by its folders, then by its key; a view's by its own ORDER BY, or else by its columns "
    "from left to right. So the same content is the same bytes.",
    "times": "UTC, as ISO 8601 has them: 2025-03-01T12:00:00.000000Z.",
    "missing values": 'An empty cell; in csv and tsv an empty text is "". A number that is none is nan.',
    "lists and structs": "JSON text in csv, tsv and xlsx; nested in parquet.",
    "bytes": "Hexadecimal text in csv, tsv and xlsx.",
    "text that a spreadsheet would run": "In csv and tsv, text of cells and header gets an apostrophe before it if it "
    "begins with an apostrophe or a control character, or if what follows its leading blanks and invisible characters "
    "is one of = + - @, full-width and small forms included. To have the exact text back, take one leading "
    "apostrophe off. Numbers stay numbers.",
    "tabs and line breaks": "In csv and tsv, text stands in double quotes, and a double quote within it is doubled: "
    "tabs and line breaks stay in their cell.",
    "xlsx": "Text is text, never a formula, a link or a number. Numbers have 16 digits. Numbers that Excel cannot hold "
    "(whole ones of more than 15 digits, infinite ones, and nan) are text.",
}
"""How exported files write what they hold, by topic."""

DESCRIPTION = b"description"
"""Key of the metadata of a schema, and of its fields, under which they are described."""

_PLAIN = (
    pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_string,
    pa.types.is_null,
)  # fmt: skip
"""Kinds of columns that every format has."""

_RUNS = r"^(?:'|\p{Cc}|[\p{Z}\p{C}]*[=+\-@＝＋－＠﹦﹢﹣﹫])"


def cells(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch for a format that has numbers, truth values and text alone: all else as text (RULES).

    Raises:
        InputError: a time that Python does not reach.
    """
    batch = _mapped(in_utc(batch), pa.types.is_dictionary, lambda column: column.dictionary_decode())
    batch = _mapped(batch, pa.types.is_timestamp, _iso)
    batch = _mapped(batch, pa.types.is_date, lambda dates: dates.cast(pa.string()))
    return _mapped(batch, lambda kind: not any(plain_kind(kind) for plain_kind in _PLAIN), _text)


def harmless_cells(batch: pa.RecordBatch) -> pa.RecordBatch:
    """As ``cells``, with no text that a spreadsheet would run, in its header neither."""
    batch = _mapped(cells(batch), pa.types.is_string, harmless)
    return batch.rename_columns(harmless(pa.array(batch.schema.names, pa.string())).to_pylist())


def harmless(texts: pa.Array) -> pa.Array:
    """Text of which a spreadsheet makes no formula: an apostrophe stands before what it would run (RULES)."""
    runs = pc.match_substring_regex(texts, _RUNS)
    return pc.if_else(runs, pc.binary_join_element_wise("'", texts, ""), texts)


def exact(text: str) -> str:
    """The text that ``harmless`` was given."""
    return text.removeprefix("'")


def in_utc(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same moments, in UTC: DuckDB gives them the time zone of the machine that it runs on."""
    return _mapped(batch, _is_moment, lambda times: times.cast(pa.timestamp(times.type.unit, "UTC")))


def description(described: pa.Schema | pa.Field) -> str:
    """What is said of a schema or field; empty where nothing is."""
    return (described.metadata or {}).get(DESCRIPTION, b"").decode()


def plain(value: Any) -> str | float:
    """A value that JSON has no form for: a decimal as a number, anything else as text. For ``json.dumps``."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def _mapped(
    batch: pa.RecordBatch, concerns: Callable[[pa.DataType], bool], change: Callable[[pa.Array], pa.Array]
) -> pa.RecordBatch:
    """The batch, with the columns of some types changed."""
    columns = [change(column) if concerns(column.type) else column for column in batch.columns]
    kept = zip(batch.schema, columns, strict=True)
    schema = pa.schema([field.with_type(column.type) for field, column in kept], batch.schema.metadata)
    return pa.record_batch(columns, schema)


def _is_moment(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) and kind.tz is not None


def _iso(times: pa.Array) -> pa.Array:
    return pc.strftime(times, "%Y-%m-%dT%H:%M:%S" + ("Z" if times.type.tz else ""))


def _text(values: pa.Array) -> pa.Array:
    try:
        found = values.to_pylist(maps_as_pydicts="lossy")
    except (OverflowError, ValueError) as error:
        raise InputError(f"A value cannot be written: {error}.", hint="Cast it to VARCHAR, or write parquet.") from None
    return pa.array([None if value is None else _written(value) for value in found], pa.string())


def _written(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=plain)
    return value.hex() if isinstance(value, bytes) else str(value)
