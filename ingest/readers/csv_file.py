"""CSV files as Excel, R and people write them: any line ends, several separators, lines above the header.

What is meant is found from the columns that are looked for. Messages name lines, columns and shapes, never a cell:
a file may hold anything, and who took a list of patients for another file should not find them in a log.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gliolake import limits
from gliolake.errors import InputError
from gliolake.ingest.readers.cells import clean
from gliolake.ingest.readers.text_file import CSV_AGAIN, GUESSES, TextFile, fitting_of, read_text
from gliolake.text_shape import shape_of

Fields = tuple[str, ...]
Line = tuple[int, Fields]

_SEPARATORS = ",;\t| "
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar", " ": "blank"}
_DECLARED = re.compile(r'"?sep=(.)"?\n', re.IGNORECASE)
_ABOVE = 50
"""Lines, blank ones aside, among which the header is looked for."""

_SHOWN = 20
_NEAR = 0.75
_LONG_ENOUGH = 4
_SURPLUS = 2
"""Letters by which a misspelt name of a column is longer than the right one: more may be a person's, beside it."""


@dataclass(frozen=True)
class CsvFile:
    """A table: its header, and its other rows, each with the line of the file that it begins on.

    notes: what was done to read it, for a person to check.
    """

    path: Path
    sha256: str
    encoding: str
    separator: str
    header_line: int
    header: Fields
    rows: tuple[Line, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def decimal_comma(self) -> bool:
        """Whether decimals may stand behind a comma, as they do where commas part no cells."""
        return self.separator != ","

    def column(self, name: str) -> int | None:
        """Position of a column; None where there is none. Case and signs count only where two would match.

        Raises:
            InputError: two columns have this name.
        """
        places = [place for place, title in enumerate(self.header) if title == name]
        places = places or [place for place, title in enumerate(self.header) if _plain(title) == _plain(name)]
        if len(places) > 1:
            columns = " and ".join(str(place + 1) for place in places)
            raise InputError(
                f"{self.path} has two columns named {name!r}: columns {columns}.", hint="Rename or remove one of them."
            )
        return places[0] if places else None

    def required(self, names: Mapping[str, str]) -> list[int]:
        """Positions of columns that have to be there, given by name and meaning.

        Raises:
            InputError: some are not; describes the columns that are.
        """
        positions = {name: self.column(name) for name in names}
        lacking = [name for name, position in positions.items() if position is None]
        if lacking:
            titles = enumerate(self.header[:_SHOWN], start=1)
            shown = [f"{place}: {_title(title, lacking)}" for place, title in titles]
            more = ", …" if len(self.header) > _SHOWN else ""
            raise InputError(
                f"{self.path} has no column {' and no column '.join(f'{name!r} ({names[name]})' for name in lacking)}. "
                f"Taken for the header was line {self.header_line}, with {', '.join(shown)}{more}.",
                hint="Rename the column, or adapt a copy of the cohort's description (a TOML file) and give it as "
                "--cohort.",
            )
        return [position for position in positions.values() if position is not None]

    def cells(self, names: Sequence[str]) -> Iterator[tuple[int, str, str]]:
        """Line, column and text of every cell of the columns of these names that there are."""
        places = [(name, place) for name in names if (place := self.column(name)) is not None]
        return ((line, name, row[place]) for line, row in self.rows for name, place in places if place < len(row))


class _BadCsv(ValueError):
    """A line that cannot be parted into cells; ``parts`` are those before the place at which it failed."""

    def __init__(self, line: int, what: str, parts: int) -> None:
        super().__init__(what)
        self.line, self.parts = line, parts


def read_csv(path: Path, needed: Sequence[str] = (), optional: Sequence[str] = (), *, encoding: str = "") -> CsvFile:
    """Read a table whole. Blank rows are skipped; cells lose what surrounds them
    (``gliolake.ingest.readers.cells.clean``).

    Args:
        path: the file.
        needed: columns by which the header and the separator are known. Without any, the first row is the header.
        optional: further columns that will be read.
        encoding: what the file is written in, where somebody said so.

    Raises:
        InputError: it cannot be read, is no table, is beyond a limit (``gliolake.limits``), or its encoding is not
            plain.
    """
    file = read_text(path, encoding)
    if file.encoding:
        return _table(file, file.encoding, needed, optional)
    readings = {name: _table(file, name, needed, optional) for name in GUESSES}
    complete = {
        name: table for name, table in readings.items() if all(table.column(each) is not None for each in needed)
    }
    if not complete:
        return readings[GUESSES[0]]
    read = {name: list(table.cells((*needed, *optional))) for name, table in complete.items()}
    fitting = fitting_of({name: "\n".join(text for _, _, text in cells) for name, cells in read.items()})
    if len(fitting) == 1:
        return complete[fitting[0]]
    first = next(iter(read.values()))
    where = [f"line {line}, column {name}" for line, name, text in first if not text.isascii()]
    raise InputError(
        f"{path} is not in UTF-8 but {' or '.join(fitting) or 'something unknown'}: see {'; '.join(where[:_SHOWN])}.",
        hint="Say what it is with --encoding, e.g. --encoding cp1252, or save the table in UTF-8.",
    )


def _table(file: TextFile, encoding: str, needed: Sequence[str], optional: Sequence[str]) -> CsvFile:
    text, path = file.text(encoding), file.path
    declared = _DECLARED.match(text)
    skipped = declared.end() if declared else 0
    tried = declared[1] if declared else _SEPARATORS
    heads = {separator: _head(text, skipped, separator) for separator in tried}
    wanted = {*map(_plain, needed)}
    also = {*map(_plain, optional)}

    def fit(place: tuple[str, int]) -> tuple[int, int, int, int]:
        separator, row = place
        titles = {*map(_plain, heads[separator][row][1])}
        parts = len(heads[separator][row][1]) * (row == 0 and separator != " ")
        return len(titles & wanted), len(titles & also), parts, -tried.index(separator)

    places = [(separator, row) for separator, head in heads.items() for row in range(len(head))]
    separator, above = max(places, key=fit, default=(tried[0], 0))
    rows = []
    try:
        for line, fields in _rows(text, skipped, separator):
            if any(cells := tuple(map(clean, fields))):
                rows.append((line, cells))
    except _BadCsv as error:
        raise InputError(f"{path}, line {error.line:,}, is not CSV: {error}.", hint=CSV_AGAIN) from None
    if not rows:
        raise InputError(f"{path} is empty.", hint=CSV_AGAIN)
    (header_line, header), rows = rows[above], rows[above + 1 :]
    if max(map(len, header)) > limits.NAME:
        raise InputError(f"{path} has a column whose name is longer than {limits.NAME} letters.", hint="Is it CSV?")
    notes = [f"read as {encoding}"] if encoding not in ("utf-8", "utf-8-sig") else []
    notes += [f"cells are parted by a {_NAMES.get(separator, 'sign that the file names')}"] if separator != "," else []
    notes += [f"the header is line {header_line}; what stands above it is not read"] if above else []
    if _has_row_names(header, rows):
        rows = [(line, fields[1:]) for line, fields in rows]
        notes.append("each row begins with its number, for which the header has no name")
    return CsvFile(
        path=path, sha256=file.sha256, encoding=encoding, separator=separator, header_line=header_line, header=header,
        rows=tuple(rows), notes=tuple(f"{path.name}: {note}." for note in notes),
    )  # fmt: skip


def _head(text: str, start: int, separator: str) -> list[Line]:
    """The first rows, as this separator parts them, up to where it cannot."""
    head: list[Line] = []
    try:
        parted = ((line, tuple(map(clean, fields))) for line, fields in _rows(text, start, separator))
        head.extend(islice((row for row in parted if any(row[1])), _ABOVE))
    except _BadCsv as error:
        return head or [(error.line, ("",) * error.parts)]
    return head


def _rows(text: str, start: int, separator: str) -> Iterator[Line]:
    """All rows from a place on, each with its line. Quotes double within quotes, and mean nothing within a cell."""
    part = re.escape(separator)
    blanks = "" if separator == " " else " *+"
    cell = re.compile(
        rf'{blanks}(?:"(?P<quoted>[^"]*+(?:""[^"]*+)*+)"{blanks}|(?P<plain>(?!")[^{part}\n]*+))(?P<end>{part}|\n|\Z)'
    )
    line = begins = text.count("\n", 0, start) + 1
    fields: list[str] = []
    while start < len(text) or fields:
        found = cell.match(text, start)
        if found is None:
            raise _BadCsv(line, "a quotation mark is not closed, or is closed and text follows", len(fields))
        plain = found["plain"]
        fields.append(found["quoted"].replace('""', '"') if plain is None else plain)
        if len(fields) > limits.COLUMNS or len(fields[-1]) > limits.FIELD:
            raise _BadCsv(
                line, f"a row has at most {limits.COLUMNS:,} fields, and each {limits.FIELD:,} letters", len(fields)
            )
        line += text.count("\n", start, found.end())
        start = found.end()
        if found["end"] != separator:
            yield begins, tuple(fields)
            fields, begins = [], line


def _has_row_names(header: Fields, rows: Sequence[Line]) -> bool:
    """Whether R wrote the rows' numbers in front of them, and no name for these in the header."""
    numbered = (fields[0] == str(n) and len(fields) == len(header) + 1 for n, (_, fields) in enumerate(rows, start=1))
    return any(fields[-1] for _, fields in rows) and all(numbered)


def _plain(title: str) -> str:
    """A column's name without case and signs. R puts an X before a name that begins with a digit."""
    letters = "".join(filter(str.isalnum, unicodedata.normalize("NFC", title).casefold()))
    return letters[1:] if re.match(r"x\d", letters) else letters


def _title(title: str, lacking: Sequence[str]) -> str:
    """A column's name, where it is much like one that is lacking; of any other its shape: it may be a cell."""
    has = _plain(title)
    for wants in map(_plain, lacking):
        misspelt = len(has) - len(wants) <= _SURPLUS and difflib.SequenceMatcher(None, has, wants).ratio() >= _NEAR
        near = misspelt or has in wants
        if near and min(len(has), len(wants)) >= _LONG_ENOUGH:
            return repr(title)
    return shape_of(title)
