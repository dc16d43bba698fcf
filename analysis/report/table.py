"""Tables of a report: rows of a query as cells that the page can show, sort and search.

Values of the lake are untrusted text. They stay text here, and paths lose their folders; the page escapes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

from gliolake.analysis.study.notation import Row, number, span

NOTHING = "–"
MOST_ROWS = 1500
"""Rows of one table on the page. A study's largest table has about half of it."""

_PATH = re.compile(
    r"(?<![\w.<])(?:[A-Za-z][\w+.-]*:)?[/\\]{1,3}(?:[^\s/\\:;,'\"()<>|]+[/\\]+)+(?P<name>[^\s/\\:;,'\"()<>|]+)"
)


@dataclass(frozen=True)
class Cell:
    """What is shown, what it sorts by if that is a number, and how it looks: plain, warning, failed, code or wide."""

    text: str
    value: float | None = None
    look: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its heading, and the cell that it makes of a row."""

    heading: str
    cell: Callable[[Row], Cell]
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        name: its anchor. title: its heading.
        columns: the headings, and whether numbers stand below.
        rows: cells, as many as there are columns.
        query: the SQL that gives its figures, and all rows where the page shows some.
        note: what has to be known to read it.
        bases: what its figures rest on, if on anything but trained weights.
        missing: lines on rows that could not be computed.
        remarks: lines on rows that were computed all the same.
        empty: what is said where there is no row.
        left_out: rows that the page does not show.
        folded: whether it has to be unfolded.
        speaks: whether having no row is an answer too.
    """

    name: str
    title: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[Cell, ...], ...]
    query: str
    note: str = ""
    bases: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    empty: str = "Nothing yet."
    left_out: int = 0
    folded: bool = False
    speaks: bool = False


def make_table(
    name: str, title: str, columns: Sequence[Column], rows: Sequence[Row], query: str, *,
    most: int = MOST_ROWS, **told: Any,
) -> Table:  # fmt: skip
    """The table of these rows, of the first ``most`` where there are more. ``told``: the other fields of ``Table``."""
    cells = tuple(tuple(column.cell(row) for column in columns) for row in rows[:most])
    headings = tuple((column.heading, column.numeric) for column in columns)
    return Table(name, title, headings, cells, query, left_out=max(0, len(rows) - most), **told)


def text(heading: str, key: str, look: str = "") -> Column:
    """A column of words."""
    return Column(heading, lambda row: Cell(shown(row[key]), look=look))


def count(heading: str, key: str, look: str = "") -> Column:
    """A column of whole numbers; all but 0 look like ``look``."""

    def cell(row: Row) -> Cell:
        return Cell(NOTHING if row[key] is None else f"{row[key]:,}", row[key], look if row[key] else "")

    return Column(heading, cell, numeric=True)


def figure(heading: str, key: str, style: str = ".3f") -> Column:
    """A column of real numbers."""
    return Column(heading, lambda row: Cell(number(row[key], style), row[key]), numeric=True)


def estimate(heading: str, key: str, low: str, high: str, style: str = ".3f") -> Column:
    """A column of figures with their intervals; it sorts by the figures."""

    def cell(row: Row) -> Cell:
        return Cell(number(row[key], style) + span(row[low], row[high], style), row[key])

    return Column(heading, cell, numeric=True)


def digest(heading: str, key: str) -> Column:
    """A column of sha256 digests, in full."""
    return text(heading, key, "code")


def basis(heading: str = "rests on", key: str = "basis") -> Column:
    """What a row's figures rest on, in red unless on trained weights. The row says which, in ``trained``."""

    def cell(row: Row) -> Cell:
        return Cell(shown(row[key] or row.get("state")), look="" if row["trained"] else "warning")

    return Column(heading, cell)


def bases_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """What rows rest on that do not rest on trained weights."""
    return tuple(sorted({shown(row["basis"]) for row in rows if not row["trained"] and row["basis"]}))


def shown(value: Any) -> str:
    """A value as words: lists with commas, a dash for nothing, and of a path the file's name alone."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value)) or NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return without_folders(str(value))


def without_folders(words: str) -> str:
    """The words with every absolute path or address in them cut down to the last name in it."""
    return _PATH.sub(lambda found: found["name"], words)


def spelled(query: str, **given: str) -> str:
    """A query with strings in the place of its parameters ``$name``, for a person to run."""
    for name, value in given.items():
        query = query.replace(f"${name}", "'" + value.replace("'", "''") + "'")
    return dedent(query).strip()
