"""Excel workbooks: one sheet of values, one that describes the columns and the format.

Rows go to the disk as they come, so that memory does not grow with them.
"""

from __future__ import annotations

import math
import shutil
import traceback
from collections.abc import Iterable, Iterator, Sequence
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
from gliolake.sql.cells import RULES, cells, description

if TYPE_CHECKING:
    from xlsxwriter.workbook import Workbook

MOST_ROWS = 1_048_576
"""Rows of an Excel sheet, the header among them."""

MOST_COLUMNS = 16_384
LONGEST_TEXT = 32_767
"""UTF-16 code units in an Excel cell."""

MOST_DIGITS = 15
NARROWEST, WIDEST = 8, 60
"""Widths of columns, in characters."""

TEXT_IS_TEXT = {"strings_to_formulas": False, "strings_to_numbers": False, "strings_to_urls": False}
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
    with temporary_folder("xlsx") as folder, (folder / "book.xlsx").open("w+b") as made:
        try:
            with xlsxwriter.Workbook(made, {**TEXT_IS_TEXT, "constant_memory": True, "tmpdir": str(folder)}) as book:
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
    _add_sheet(book, "rows", schema.names, _rows(batches))
    columns = [(field.name, str(field.type), description(field)) for field in schema]
    rules = [("", topic, rule) for topic, rule in RULES.items()]
    _add_sheet(book, "about", ["column", "type", "description"], [("", "", description(schema)), *columns, *rules])


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Any, ...]]:
    for batch in map(cells, batches):
        yield from zip(*(map(_held, column.to_pylist()) for column in batch.columns), strict=True)


def _held(value: Any) -> Any:
    """A value as Excel, which keeps 15 digits, holds it: a number that would be another is text."""
    if not isinstance(value, (int, float, Decimal)):
        return value
    fits = math.isfinite(value) and (isinstance(value, float) or abs(value) < 10**MOST_DIGITS)
    return value if fits else str(value)


def _add_sheet(book: Workbook, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A sheet whose header stays in sight. Its columns are as wide as their texts; the library's autofit would need all
    rows in memory."""
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    sheet.write_row(0, 0, header, book.add_format({"bold": True}))
    widths = [len(text) + 3 for text in header]  # with room for the filter's arrow
    row = 0
    for row, values in enumerate(rows, start=1):
        for place, value in enumerate(values):
            if sheet.write(row, place, value):
                raise InputError(
                    f"Row {row:,}, column {header[place]}: a text of {len(value):,} characters is longer than the "
                    f"{LONGEST_TEXT:,} that an Excel cell holds.",
                    hint=_INSTEAD,
                )
        widths = [*map(max, widths, map(_width, values))]
    for place, width in enumerate(widths):
        sheet.set_column(place, place, min(max(width + 1, NARROWEST), WIDEST))
    sheet.autofilter(0, 0, row, len(header) - 1)


def _width(value: Any) -> int:
    return len(f"{value:.6g}" if isinstance(value, float) else str(value))
