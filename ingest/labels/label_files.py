"""Label files: one row per scan and source of what the source says, nothing guessed.

A value that cannot be understood costs its row, never the file: the row is left out, with its line, in ``exclusions``.
No text of a row stands there or in a message, since it may say who a patient is: line, column and shape do.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import Cohort, LabelColumn, LabelRules
from gliolake.ingest.cohorts.scan_ids import IdRules, ScanName
from gliolake.ingest.exclusions import (
    CONFLICTING_ROWS,
    UNREADABLE_ID,
    UNREADABLE_ROW,
    UNREADABLE_VALUE,
    Row,
    exclusion,
    merged,
)
from gliolake.ingest.labels.sources import Source, path_of
from gliolake.ingest.readers.cells import MISSING, number, spoilt, whole
from gliolake.ingest.readers.csv_file import CsvFile, read_csv
from gliolake.ingest.report import LabelFileReport
from gliolake.schema.registry import TABLES
from gliolake.text_shape import shape_of

STEP = "labels"
_LARGEST_INT = 2**31 - 1
_SHAPES_SHOWN = 5
_SCHEMA = TABLES["labels"].schema
_EMPTY: Row = dict.fromkeys(name for name in _SCHEMA.names if name != "run_id")
_WRITTEN_AS = ("source_id", "source_row")


@dataclass(frozen=True)
class LabelFile:
    """What a label file says: rows for ``labels`` and for ``exclusions``, and what the report tells of it.

    path: absolute. Rows are named by its stem, until it is known what else the lake calls so (``of_source``).
    """

    path: str
    sha256: str
    rows: tuple[Row, ...]
    exclusions: tuple[Row, ...]
    report: LabelFileReport

    def of_source(self, source: Source) -> tuple[list[Row], list[Row]]:
        """Its rows for ``labels`` and for ``exclusions`` under the name that it has in the lake."""
        named = {"source": source.name, "source_path": source.path, "source_order": source.order}
        stem = Path(self.path).stem
        left_out = [
            row | {"scan_id": source.name + row["scan_id"].removeprefix(stem)}
            if row["scan_id"].startswith(f"{stem} line ")
            else row
            for row in self.exclusions
        ]
        return [row | named for row in self.rows], left_out

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should look at."""
        return self.report.notes


@dataclass(frozen=True)
class _Columns:
    """Where a file has what is wanted: position of the id, positions of the columns, fields of a whole row."""

    id: int
    places: tuple[tuple[int, LabelColumn], ...]
    width: int
    missing: frozenset[str]
    decimal_comma: bool


class _Unreadable(ValueError):
    """Why a row cannot be used."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


def read_labels(cohort: Cohort, path: Path, declared: Mapping[str, IdRules], *, encoding: str = "") -> LabelFile:
    """Read a cohort's label file.

    Args:
        cohort: its description.
        path: the CSV file.
        declared: id rules of the cohorts that ``declared_id`` columns name, where they are known.
        encoding: what the file is written in if it is not UTF-8, "" to find out.

    Raises:
        InputError: the file cannot be read, lacks a column that is needed, or no row of it has a scan's id.
    """
    if cohort.labels is None:
        raise InputError(
            f"The description of {cohort.name} says nothing of labels.", hint="Add a [labels] section to it."
        )
    needed = [cohort.labels.id_column, *(column.column for column in cohort.labels.columns if column.required)]
    optional = [column.column for column in cohort.labels.columns if not column.required]
    file = read_csv(path, needed, optional, encoding=encoding)
    columns = _columns(cohort.labels, file)
    by_scan: dict[str, list[Row]] = {}
    left_out = []
    for line, fields in file.rows:
        try:
            row = _row(cohort, columns, fields, declared)
        except _Unreadable as error:
            name = _named(cohort.ids, fields, columns)
            scan_id = name.scan_id if name else f"{path.stem} line {line}"
            left_out.append(_left_out(cohort, file, scan_id, error.reason, f"Line {line}: {error}."))
        else:
            row |= {"source": path.stem, "source_row": line, "source_sha256": file.sha256}
            by_scan.setdefault(row["scan_id"], []).append(row)
    rows, notes = [], [*file.notes, *_notes(cohort.labels, file)]
    for scan_id, same in sorted(by_scan.items()):
        lines = " and ".join(str(row["source_row"]) for row in same)
        if len(same) > 1 and (differing := _differing(same)):
            detail = f"Lines {lines} differ in {', '.join(differing)}; none is used."
            left_out.append(_left_out(cohort, file, scan_id, CONFLICTING_ROWS, detail))
            continue
        if len(same) > 1:
            notes.append(f"{path.name}: lines {lines} say the same of {scan_id}; one row is kept.")
        rows.append(_together(same))
    if {row["reason"] for row in left_out} <= {UNREADABLE_ID, UNREADABLE_ROW} and not rows:
        raise _nothing_usable(cohort, file, columns, left_out)
    if not rows:
        notes.append(f"{path.name}: none of its {len(file.rows):,} rows can be used; exclusions say why.")
    said = Counter(row["mgmt_status"] for row in rows)
    report = LabelFileReport(
        file=str(path), rows=len(file.rows), scans=len(rows), calls=dict(sorted(said.items())),
        left_out=dict(sorted(Counter(row["reason"] for row in left_out).items())),
        columns=tuple(column.column for _, column in columns.places), encoding=file.encoding, notes=tuple(notes),
    )  # fmt: skip
    return LabelFile(path_of(path), file.sha256, tuple(rows), tuple(merged(left_out)), report)


def _left_out(cohort: Cohort, file: CsvFile, scan_id: str, reason: str, detail: str) -> Row:
    return exclusion(cohort.name, scan_id, STEP, reason, detail, source=path_of(file.path), fingerprint=file.sha256)


def _nothing_usable(cohort: Cohort, file: CsvFile, columns: _Columns, left_out: list[Row]) -> InputError:
    """An error that says what the file has instead of what was expected."""
    if not file.rows:
        return InputError(f"{file.path} has a header and no rows.", hint="Export the table again.")
    reasons = Counter(row["reason"] for row in left_out)
    why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    if set(reasons) == {UNREADABLE_ID}:
        shapes = Counter(shape_of(fields[columns.id] if columns.id < len(fields) else "") for _, fields in file.rows)
        found = ", ".join(f"{shape} ({count:,})" for shape, count in shapes.most_common(_SHAPES_SHOWN))
        hint = (
            f"Its ids have the form {found}; those of {cohort.name} are written {cohort.ids.form} (pattern "
            f"{cohort.ids.pattern.written}). Is it another cohort's file?"
        )
    else:
        hint = f"The first: {left_out[0]['detail']} Are numbers written with commas, or cells parted by another sign?"
    return InputError(f"{file.path}: none of {len(file.rows):,} rows can be used ({why}).", hint=hint)


def _columns(rules: LabelRules, file: CsvFile) -> _Columns:
    needed = {column.column: column.field for column in rules.columns if column.required}
    id_position, *_ = file.required({rules.id_column: "the scan's id", **needed})
    found = ((file.column(column.column), column) for column in rules.columns)
    places = [(position, column) for position, column in found if position is not None]
    return _Columns(id_position, tuple(places), len(file.header), rules.missing | MISSING, file.decimal_comma)


def _notes(rules: LabelRules, file: CsvFile) -> list[str]:
    absent = [column.column for column in rules.columns if file.column(column.column) is None]
    return [f"{file.path.name}: without {', '.join(map(repr, absent))}; these stay empty."] if absent else []


def _named(ids: IdRules, fields: tuple[str, ...], columns: _Columns) -> ScanName | None:
    """The scan that a row is about. Spreadsheets write the number 5 as 5.0."""
    written = fields[columns.id] if columns.id < len(fields) else ""
    if (name := ids.parse(written)) is None:
        value = None if written.isdecimal() else whole(written, comma=columns.decimal_comma)
        name = None if value is None or spoilt(written) else ids.parse(str(value))
    return name


def _row(cohort: Cohort, columns: _Columns, fields: tuple[str, ...], declared: Mapping[str, IdRules]) -> Row:
    needed = max([columns.id, *(place for place, column in columns.places if column.required)])
    if len(fields) <= needed or any(fields[columns.width :]):
        raise _Unreadable(UNREADABLE_ROW, f"it has {len(fields)} fields, the header {columns.width}")
    if (name := _named(cohort.ids, fields, columns)) is None:
        raise _Unreadable(UNREADABLE_ID, f"the id {_form(fields[columns.id])}; expected {cohort.ids.form}")
    row = _EMPTY | {"cohort": cohort.name, "scan_id": name.scan_id, "source_id": fields[columns.id]}
    row |= {"mgmt_status": "unknown", "label_rule": cohort.label_rule}
    for position, column in columns.places:
        entry = fields[position] if position < len(fields) else ""
        if entry.casefold() in column.values:
            row[column.field] = column.values[entry.casefold()]
        elif entry.casefold() in columns.missing:
            continue
        elif column.cohort:
            row |= _declared(column, entry, declared)
        else:
            row[column.field] = _value(column, entry, columns.decimal_comma)
    return row


def _declared(column: LabelColumn, text: str, declared: Mapping[str, IdRules]) -> Row:
    if (rules := declared.get(column.cohort)) is None:
        return {"declared_cohort": column.cohort, "declared_id": _text(column, text)}
    if (name := rules.parse(text)) is None:
        what = f"{column.column} {_form(text)}, which is no scan id of {column.cohort} ({rules.form})"
        raise _Unreadable(UNREADABLE_VALUE, what)
    return {"declared_cohort": column.cohort, "declared_id": name.scan_id}


def _value(column: LabelColumn, text: str, comma: bool) -> Any:
    """What an entry means, in the type of the table's column."""
    kind = _SCHEMA.field(column.field).type
    if column.values:
        return _coded(column, text, comma)
    if pa.types.is_string(kind):
        return _text(column, text)
    counted = pa.types.is_integer(kind)
    found = whole(text, comma=comma) if counted else number(text, comma=comma)
    if found is None or not 0 <= found <= _LARGEST_INT:
        wanted = "a whole number" if counted else "a number"
        raise _Unreadable(UNREADABLE_VALUE, f"{column.column} {_form(text)}; expected {wanted}, not negative")
    return found


def _coded(column: LabelColumn, text: str, comma: bool) -> Any:
    """The meaning of a code: 1.0 is 1, and R writes TRUE for 1 or for what means true."""
    true_or_false = {"true": True, "false": False}.get(text.casefold())
    codes = {number(code): meaning for code, meaning in column.values.items()}
    codes.pop(None, None)
    if true_or_false is not None:
        if true_or_false in column.values.values():
            return true_or_false
        if {*codes} == {0, 1}:
            return codes[float(true_or_false)]
    elif (code := number(text, comma=comma)) in codes:
        return codes[code]
    expected = " or ".join(column.values)
    raise _Unreadable(UNREADABLE_VALUE, f"{column.column} {_form(text)}; expected {expected}")


def _text(column: LabelColumn, text: str) -> str:
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Co", "Cn") or sign == "\ufffd" for sign in text):
        what = f"{column.column} holds a control character, or a sign that its encoding does not have"
        raise _Unreadable(UNREADABLE_VALUE, what)
    return text


def _form(text: str) -> str:
    """What a cell looks like, for a message: never what it says."""
    made = spoilt(text)
    return f"has the form {shape_of(text)}{f' ({made})' if made else ''}" if text else "is empty"


def _differing(rows: list[Row]) -> list[str]:
    """Fields in which rows of one scan contradict each other; a row that does not know contradicts none."""
    return [
        key for key in rows[0] if key not in _WRITTEN_AS and len({row[key] for row in rows} - {None, "unknown"}) > 1
    ]


def _together(rows: list[Row]) -> Row:
    """What rows of one scan that do not contradict each other say together; the first says where it is written."""
    known = {key: value for row in rows for key, value in row.items() if value is not None and value != "unknown"}
    return rows[0] | {key: value for key, value in known.items() if key not in _WRITTEN_AS}
