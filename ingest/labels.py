"""Label files: one row per scan and source of what the source says, nothing guessed.

A value that cannot be understood costs its row, never the file: the row is left out, with its line, in ``exclusions``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.cohort import Cohort, LabelColumn, LabelRules
from ingest.csvfile import CsvFile, read_csv
from ingest.exclusions import CONFLICTING_ROWS, UNREADABLE_ID, UNREADABLE_ROW, UNREADABLE_VALUE, Row, exclusion, merged
from ingest.ids import IdRules
from lake.errors import InputError
from lake.tables import TABLES

STEP = "labels"
_LARGEST_INT = 2**31 - 1
_SCHEMA = TABLES["labels"].schema


@dataclass(frozen=True)
class LabelFile:
    """What a label file says: rows for ``labels`` and for ``exclusions``, and notes for the report."""

    source: str
    rows: tuple[Row, ...]
    exclusions: tuple[Row, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Columns:
    """Where a file has what is wanted: position of the id, positions of the columns, fields of a whole row."""

    id: int
    places: tuple[tuple[int, LabelColumn], ...]
    width: int
    missing: frozenset[str]


class _Unreadable(ValueError):
    """Why a row cannot be used."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


def read_labels(cohort: Cohort, path: Path, declared: Mapping[str, IdRules]) -> LabelFile:
    """Read a cohort's label file.

    Args:
        cohort: its description.
        path: the CSV file; its name without ending becomes the rows' ``source``.
        declared: id rules of the cohorts that ``declared_id`` columns name, where they are known.

    Raises:
        InputError: the file cannot be read, or lacks a column that is needed.
    """
    if cohort.labels is None:
        raise InputError(
            f"The description of {cohort.name} says nothing of labels.", hint="Add a [labels] section to it."
        )
    file = read_csv(path)
    columns = _columns(cohort.labels, file)
    by_scan: dict[str, list[Row]] = {}
    left_out = []
    for line, fields in file.rows:
        try:
            row = _row(cohort, columns, fields, declared)
        except _Unreadable as error:
            written = fields[columns.id] if columns.id < len(fields) else ""
            left_out.append(_left_out(cohort, file, written or "(none)", error.reason, f"Line {line}: {error}."))
        else:
            row |= {"source": path.stem, "source_row": line, "source_sha256": file.sha256}
            by_scan.setdefault(row["scan_id"], []).append(row)
    rows, notes = [], _notes(cohort.labels, file)
    for scan_id, same in sorted(by_scan.items()):
        lines = " and ".join(str(row["source_row"]) for row in same)
        if differing := _differing(same):
            detail = f"Lines {lines} differ in {', '.join(differing)}; none is used."
            left_out.append(_left_out(cohort, file, scan_id, CONFLICTING_ROWS, detail))
            continue
        if len(same) > 1:
            notes.append(f"{path.name}: lines {lines} say the same of {scan_id}; one row is kept.")
        rows.append(same[0])
    return LabelFile(path.stem, tuple(rows), tuple(merged(left_out)), tuple(notes))


def _left_out(cohort: Cohort, file: CsvFile, scan_id: str, reason: str, detail: str) -> Row:
    source = str(file.path.absolute())
    return exclusion(cohort.name, scan_id, STEP, reason, detail, source=source, fingerprint=file.sha256)


def _columns(rules: LabelRules, file: CsvFile) -> _Columns:
    places = []
    id_position = file.required(rules.id_column, "the scan's id")
    for column in rules.columns:
        if column.required:
            places.append((file.required(column.column, column.field), column))
        elif (position := file.column(column.column)) is not None:
            places.append((position, column))
    return _Columns(id_position, tuple(places), len(file.header), rules.missing)


def _notes(rules: LabelRules, file: CsvFile) -> list[str]:
    notes = []
    if file.encoding == "latin-1" or file.encoding.startswith("utf-16"):
        notes.append(f"{file.path.name}: read as {file.encoding}.")
    if absent := [column.column for column in rules.columns if file.column(column.column) is None]:
        notes.append(f"{file.path.name}: without {', '.join(map(repr, absent))}; these stay empty.")
    return notes


def _row(cohort: Cohort, columns: _Columns, fields: tuple[str, ...], declared: Mapping[str, IdRules]) -> Row:
    if len(fields) < columns.width or any(fields[columns.width :]):
        raise _Unreadable(UNREADABLE_ROW, f"it has {len(fields)} fields, the header {columns.width}")
    written = fields[columns.id]
    if (name := cohort.ids.parse(written)) is None:
        raise _Unreadable(UNREADABLE_ID, f"{written!r} is no scan id of {cohort.name}")
    row: Row = dict.fromkeys(column.name for column in TABLES["labels"].columns if column.name != "run_id")
    row |= {"cohort": cohort.name, "scan_id": name.scan_id, "source_id": written}
    row |= {"mgmt_status": "unknown", "label_rule": cohort.label_rule}
    for position, column in columns.places:
        entry = fields[position]
        if entry.casefold() in columns.missing:
            continue
        row |= _declared(column, entry, declared) if column.cohort else {column.field: _value(column, entry)}
    return row


def _declared(column: LabelColumn, text: str, declared: Mapping[str, IdRules]) -> Row:
    if (rules := declared.get(column.cohort)) is None:
        return {"declared_cohort": column.cohort, "declared_id": text}
    if (name := rules.parse(text)) is None:
        raise _Unreadable(UNREADABLE_VALUE, f"{column.column} says {text!r}, which is no scan id of {column.cohort}")
    return {"declared_cohort": column.cohort, "declared_id": name.scan_id}


def _value(column: LabelColumn, text: str) -> Any:
    """What an entry means, in the type of the table's column."""
    kind = _SCHEMA.field(column.field).type
    if column.values:
        if text.casefold() not in column.values:
            raise _Unreadable(UNREADABLE_VALUE, f"{column.column} says {text!r}; expected {' or '.join(column.values)}")
        return column.values[text.casefold()]
    if pa.types.is_string(kind):
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    whole = pa.types.is_integer(kind)
    if pa.types.is_boolean(kind) or not 0 <= number <= _LARGEST_INT or (whole and number != int(number)):
        wanted = "a whole number" if whole else "a number"
        raise _Unreadable(UNREADABLE_VALUE, f"{column.column} says {text!r}; expected {wanted}, not negative")
    return int(number) if whole else number


def _differing(rows: list[Row]) -> list[str]:
    """Fields in which rows of one scan differ; where it is written and on which line is no difference."""
    return [
        key for key in rows[0] if key not in ("source_id", "source_row") and any(r[key] != rows[0][key] for r in rows)
    ]
