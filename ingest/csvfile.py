"""CSV files as strangers write them: with a byte order mark, CRLF, another encoding, another separator."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lake import limits
from lake.errors import InputError

_SEPARATORS = ",;\t"
_SHOWN = 50


@dataclass(frozen=True)
class CsvFile:
    """A file's header and its other rows, each with the line it begins on (the header being line 1)."""

    path: Path
    sha256: str
    encoding: str
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def column(self, name: str) -> int | None:
        """Position of a column; None where there is none.

        Raises:
            InputError: two columns have this name.
        """
        if self.header.count(name) > 1:
            raise InputError(f"{self.path} has two columns named {name!r}.", hint="Rename or remove one of them.")
        return self.header.index(name) if name in self.header else None

    def required(self, name: str, meaning: str) -> int:
        """Position of a column that has to be there.

        Raises:
            InputError: it is not; names the nearest column that is.
        """
        position = self.column(name)
        if position is None:
            folded = {column.casefold(): column for column in self.header}
            near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.4)
            nearest = f"; the nearest is {folded[near[0]]!r}" if near else ""
            raise InputError(
                f"{self.path} has no column {name!r} ({meaning}){nearest}.",
                hint=f"It has {', '.join(map(repr, self.header[:_SHOWN]))}. Rename the column, or adapt a copy of the "
                "cohort's description (a TOML file) and give it as --cohort.",
            )
        return position


def read_csv(path: Path) -> CsvFile:
    """Read a CSV file whole. Blank lines are skipped; fields lose surrounding blanks.

    Raises:
        InputError: it cannot be read, is no text, has no header, or is beyond a limit (``lake.limits``).
    """
    data = _bytes(path)
    text, encoding = _decoded(data, path)
    lines: list[tuple[int, tuple[str, ...]]] = []
    begins = 1
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text), skipinitialspace=True)
        for row in reader:
            fields = tuple(field.strip() for field in row)
            if len(fields) > limits.COLUMNS or max(map(len, fields), default=0) > limits.FIELD:
                raise csv.Error(f"a row has at most {limits.COLUMNS:,} fields, and each {limits.FIELD:,} letters")
            if any(fields):
                lines.append((begins, fields))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {begins}, is not CSV: {error}.", hint="Export the table as CSV again."
        ) from error
    if not lines:
        raise InputError(f"{path} is empty.", hint="Export the table as CSV again.")
    if max(map(len, lines[0][1])) > limits.NAME:
        raise InputError(f"{path} has a column whose name is longer than {limits.NAME} letters.", hint="Is it CSV?")
    return CsvFile(path, hashlib.sha256(data).hexdigest(), encoding, lines[0][1], tuple(lines[1:]))


def _bytes(path: Path) -> bytes:
    try:
        return limits.read_whole(path, limits.TABLE)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", hint="Check the path.") from error


def _separator(text: str) -> str:
    """The one that parts the first line into the most fields."""
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    return max(_SEPARATORS, key=lambda s: (len(next(csv.reader([first], delimiter=s), [])), -_SEPARATORS.index(s)))


def _decoded(data: bytes, path: Path) -> tuple[str, str]:
    """The text and its encoding. Latin-1 decodes anything, so it comes last, and only if nothing in it is binary."""
    for encoding in _candidates(data):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text, encoding
    raise InputError(f"{path} is not a text file.", hint="Export the table as CSV (a spreadsheet file will not do).")


def _candidates(data: bytes) -> Sequence[str]:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ("utf-16",)
    if b"\0" in data[:200]:  # UTF-16 without its mark: ASCII letters have a zero byte before or after them
        return ("utf-16-be",) if data[:1] == b"\0" else ("utf-16-le",)
    return ("utf-8-sig", "latin-1")
