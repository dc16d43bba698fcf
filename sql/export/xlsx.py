"""A workbook of rows: one sheet of values, one that says what the columns are and how the file is written.

Rows go to the disk as they come, so that memory does not grow with them.
"""

from __future__ import annotations

import math
import shutil
import traceback
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from io import BufferedRandom
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import ZipFile

import pyarrow as pa
import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from gliolake.errors import InputError
from gliolake.process.signals import temporary_folder
from gliolake.sql.export.cells import RULES, cells, description

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MOST_ROWS = 1_048_576
"""Rows of an Excel sheet, the header among them."""

MOST_COLUMNS = 16_384
LONGEST_TEXT = 32_767
"""UTF-16 code units in an Excel cell."""

MOST_DIGITS = 15
NARROWEST, WIDEST = 8, 60
"""Widths of columns, in characters."""

_CREATED = datetime(2000, 1, 1, tzinfo=UTC)  # a constant: the same content is the same bytes
_INSTEAD = "Choose parquet or csv, which have no such limit."


def check_size(name: str, rows: int, columns: int) -> None:
    """Refuse what no Excel sheet holds.

    Raises:
        InputError: there are too many rows or columns.
    """
    if rows >= MOST_ROWS or columns > MOST_COLUMNS:
        raise InputError(
            f"{name} has {rows:,} rows and {columns:,} columns; an Excel sheet holds {MOST_ROWS - 1:,} rows below its "
            f"header and {MOST_COLUMNS:,} columns.",
            hint=_INSTEAD,
        )


def write_xlsx(schema: pa.Schema, batches: Iterable[pa.RecordBatch], stream: BinaryIO) -> None:
    """Write rows as a workbook. The second sheet has the descriptions of the schema and of its fields.

    Raises:
        InputError: a text is longer than an Excel cell.
    """
    # Made among the library's own temporary files: it could not let go of a stream that refused it.
    with (
        temporary_folder("xlsx") as folder,
        (folder / "book.xlsx").open("w+b") as made,
    ):
        try:
            with xlsxwriter.Workbook(made, {"constant_memory": True, "tmpdir": str(folder)}) as book:
                _fill(book, schema, batches)
        except FileCreateError as error:  # of a full disk
            full: OSError = error.args[0]
            _let_go(full, made)
            raise OSError(full.errno, full.strerror, str(folder)) from None
        made.seek(0)
        shutil.copyfileobj(made, stream)


def _let_go(error: OSError, made: BufferedRandom) -> None:
    """Drop what could not be written: the library, and Python, would try it again later and complain."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for archive in (each for each in frame.f_locals.values() if isinstance(each, ZipFile)):
            archive.fp = None
    made.raw.close()


def _fill(book: Workbook, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    book.set_properties({"created": _CREATED})
    bold = book.add_format({"bold": True})
    sheet = book.add_worksheet("rows")
    widths = _header(sheet, bold, schema.names)
    row = 0
    for batch in map(cells, batches):
        columns = [column.to_pylist() for column in batch.columns]
        for values in zip(*columns, strict=True):
            row += 1
            for place, value in enumerate(values):
                _write(sheet, row, place, value, schema.names)
        widths = [max([width, *map(_width, column)]) for width, column in zip(widths, columns, strict=True)]
    _finish(sheet, widths, row)
    columns_told = [(field.name, str(field.type), description(field)) for field in schema]
    _about(book.add_worksheet("about"), bold, [("", "", description(schema)), *columns_told])


def _write(sheet: Worksheet, row: int, place: int, value: Any, names: Sequence[str]) -> None:
    if isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, (int, float, Decimal)) and _fits(value):
        sheet.write_number(row, place, value)
    elif value is not None and sheet.write_string(row, place, str(value)):
        raise InputError(
            f"Row {row:,}, column {names[place]}: a text of {len(str(value)):,} characters is longer than the "
            f"{LONGEST_TEXT:,} that an Excel cell holds.",
            hint=_INSTEAD,
        )


def _fits(number: float | Decimal) -> bool:
    """Whether Excel, which keeps 15 digits, keeps this number as it is."""
    return math.isfinite(number) and (isinstance(number, float) or abs(number) < 10**MOST_DIGITS)


def _header(sheet: Worksheet, bold: Format, names: Sequence[str]) -> list[int]:
    """Write the header, which stays in sight; the widths it needs, with room for the filter's arrow."""
    sheet.freeze_panes(1, 0)
    for place, name in enumerate(names):
        sheet.write_string(0, place, name, bold)
    return [len(name) + 3 for name in names]


def _width(value: Any) -> int:
    return len(f"{value:.6g}" if isinstance(value, float) else str(value))


def _finish(sheet: Worksheet, widths: Sequence[int], last: int) -> None:
    for place, width in enumerate(widths):
        sheet.set_column(place, place, min(max(width + 1, NARROWEST), WIDEST))
    sheet.autofilter(0, 0, last, len(widths) - 1)


def _about(sheet: Worksheet, bold: Format, columns: Sequence[tuple[str, str, str]]) -> None:
    widths = _header(sheet, bold, ("column", "type", "description"))
    for row, line in enumerate([*columns, *(("", topic, rule) for topic, rule in RULES.items())], start=1):
        for place, text in enumerate(line):
            sheet.write_string(row, place, text)
        widths = [max(width, len(text)) for width, text in zip(widths, line, strict=True)]
    _finish(sheet, widths, 0)
