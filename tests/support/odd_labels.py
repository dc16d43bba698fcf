"""Draws label files as people and programs write them, and says what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.support.odd_images import Layout, pick

SECRETS = ("Erika Mustergeheim", "Geheim, Jürgen", "Geheimrat 1958-03-05", "geheim@klinik.example", "=GEHEIM()")
"""What stands in cells that are not read, or cannot be: nothing of it may be said anywhere."""

DIAGNOSES = ("Glioblastom, größer", "Glioblastoma", "gliome très étendu", "Übergröße; grün", 'the "classical" type', "")
BAD_VALUE, BAD_ID, BAD_ROW, CONFLICT = (
    "unreadable value",
    "unreadable id",
    "unreadable row",
    "conflicting duplicate rows",
)

COLUMNS: dict[str, dict[str, str]] = {
    "brats21": {"id": "BraTS21ID", "status": "MGMT_value"},
    "ucsf_pdgm": {
        "id": "ID", "status": "MGMT status", "mgmt_index": "MGMT index", "age": "Age at MRI",
        "diagnosis": "Final pathologic diagnosis (WHO 2021)",
    },
    "klinik": {
        "id": "Fall", "status": "MGMT Status", "mgmt_index": "MGMT Größe", "age": "Alter", "diagnosis": "Diagnose",
    },
}  # fmt: skip
STATUSES: dict[str, dict[str, tuple[str, ...]]] = {
    "brats21": {"methylated": ("1", "1.0", "1,0", "TRUE", "1."), "unmethylated": ("0", "0.0", "FALSE", "0,0")},
    "ucsf_pdgm": {
        "methylated": ("positive", "Positive"), "unmethylated": ("negative", "NEGATIVE "),
        "indeterminate": ("indeterminate",),
    },
    "klinik": {
        "methylated": ("methyliert", "Methyliert"), "unmethylated": ("unmethyliert",), "indeterminate": ("fraglich",),
    },
}  # fmt: skip
UNKNOWN = ("", "NA", "n/a", "unknown", "#N/A", " ", "-")
IDS = {
    "brats21": ("{:05d}", "{:d}", "{:d}.0", "BraTS2021_{:05d}", " {:05d}\u00a0", '="{:05d}"'),
    "ucsf_pdgm": ("UCSF-PDGM-{:03d}", "UCSF-PDGM-{:04d}", " UCSF-PDGM-{:d}"),
    "klinik": ("Fäll {:03d}", "Fäll_{:d}", "Fäll  {:d}"),
}
ENCODINGS = (
    "utf-8",
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "cp1252",
    "cp1252",
    "mac_roman",
    "cp1250",
)


@dataclass
class OddLabels:
    """A label file. said: scan id -> what it says of it; left_out: (scan id, or the line's name) -> reason.

    encoding: what it is written in.
    """

    path: Path
    encoding: str
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class _Rows:
    """The rows of a file under a header, in drawn order of its columns."""

    def __init__(self, draw: Random, layout: Layout, separator: str, above: int) -> None:
        self.draw, self.layout, self.separator, self.above = draw, layout, separator, above
        self.columns = COLUMNS[layout.cohort]
        header = [*self.columns, *some_of(draw, ["Patient", "Bemerkung", "geb."])]
        self.header = some_of(draw, header, len(header))
        self.rows: list[list[str]] = []

    def add(self, kind: str, number: int, values: dict[str, Any]) -> int:
        """Add a row that is faulty in a way, or sound; returns its line."""
        draw = self.draw
        cells = {name: pick(draw, *SECRETS) for name in self.header}
        cells |= _cells(draw, self.layout, values, number)
        if kind == BAD_VALUE:
            bad = pick(draw, *[name for name in ("status", "mgmt_index", "age") if name in self.columns])
            cells[bad] = pick(draw, "Geheim", "geheim?", "-3 Geheim", "1/2")
        elif kind == BAD_ID:
            cells["id"] = pick(draw, "", *SECRETS)
        self.rows.append([cells[name] for name in self.header] + ["", "", "", "Geheim"] * (kind == BAD_ROW))
        return self.above + 1 + len(self.rows)

    def lines(self) -> list[str]:
        needed = max(self.header.index("id"), self.header.index("status"))
        names = [self.columns.get(name, name) for name in self.header]
        return _text(self.draw, [names, *self.rows], self.separator, needed)


def write_labels(draw: Random, layout: Layout, folder: Path, numbers: list[int]) -> OddLabels:
    """A file of labels of the scans of these numbers, and of some without images."""
    path = folder / pick(draw, "labels.csv", "Befunde größer.csv", "a b;c.txt")
    file = OddLabels(path, pick(draw, *ENCODINGS))
    separator = pick(draw, ",", ",", ";", "\t", "|")
    titles = some_of(draw, ["MGMT-Befunde", "as of 2024-03-05", "Table 1. Labels"], draw.choice([0, 0, 1, 2]))
    if not titles and not draw.randint(0, 5):
        titles = [pick(draw, '"sep={}"', "sep={}").format(separator)]
    rows = _Rows(draw, layout, separator, len(titles))
    known = [number for number in numbers if draw.randint(0, 9)] or numbers[:1]
    more = [number + 500 for number in numbers if not draw.randint(0, 3)]
    for place, number in enumerate([*known, *more]):
        _label(draw, file, rows, number, "" if not place else pick(draw, *KINDS))
    end = pick(draw, "\n", "\r\n", "\r", "\r\r\n")
    whole = end.join([*titles, *rows.lines()]) + pick(draw, "", end, end + "\x1a")
    try:
        data = whole.encode(file.encoding)
    except UnicodeEncodeError:
        file.encoding = "utf-8"
        data = whole.encode()
    file.path.write_bytes(data)
    return file


KINDS = ("", "", "", "", "said twice", CONFLICT, BAD_VALUE, BAD_ROW)


def _label(draw: Random, file: OddLabels, rows: _Rows, number: int, kind: str) -> None:
    """Add what is said of a scan, and perhaps a row of nobody after it."""
    scan_id, values = rows.layout.scan_id(number), _values(draw, rows.layout)
    if kind == CONFLICT:
        for status in draw.sample([*STATUSES[rows.layout.cohort]], 2):
            rows.add(kind, number, values | {"status": status})
    else:
        line = rows.add(kind, number, values)
        if kind == "said twice":
            rows.add(kind, number, values)
    if kind in (CONFLICT, BAD_VALUE, BAD_ROW):
        file.left_out[scan_id] = kind
    else:
        file.said[scan_id] = values | {"line": line}
    if not draw.randint(0, 7):
        file.left_out[f"line {rows.add(BAD_ID, 0, values)}"] = BAD_ID


def some_of(draw: Random, options: list[str], number: int | None = None) -> list[str]:
    """So many of them, or any number, in any order."""
    return draw.sample(options, draw.randint(0, len(options)) if number is None else number)


def _values(draw: Random, layout: Layout) -> dict[str, Any]:
    values: dict[str, Any] = {"status": pick(draw, *STATUSES[layout.cohort], "unknown")}
    if "age" in COLUMNS[layout.cohort]:
        values |= {
            "mgmt_index": pick(draw, None, 0, 3, 17), "age": pick(draw, None, 66.5, 7.0, 81.25),
            "diagnosis": pick(draw, *DIAGNOSES) or None,
        }  # fmt: skip
    return values


def _cells(draw: Random, layout: Layout, values: dict[str, Any], number: int) -> dict[str, str]:
    status = values["status"]
    cells = {"id": pick(draw, *IDS[layout.cohort]).format(number)}
    cells["status"] = pick(draw, *(UNKNOWN if status == "unknown" else STATUSES[layout.cohort][status]))
    for name in ("mgmt_index", "age"):
        if name in values:
            value = values[name]
            whole = value is not None and value == int(value)
            written = [f"{value}", f"{value:g}"] if value is not None else [*UNKNOWN]
            written += [f"{value:.2f}", f"{value:.1f}".replace(".", ",")] if whole else []
            written += [f"{value}".replace(".", ",")] if value is not None and not whole else []
            cells[name] = pick(draw, *written)
    if "diagnosis" in values:
        cells["diagnosis"] = values["diagnosis"] or pick(draw, *UNKNOWN)
    return cells


def _text(draw: Random, rows: list[list[str]], separator: str, needed: int) -> list[str]:
    """Lines, of which some have empty cells at the end, or lack them."""
    quoting = pick(draw, "where needed", "where needed", "all", "texts")
    trailing = pick(draw, "", "", "more", "fewer")

    def cell(text: str) -> str:
        must = any(sign in text for sign in (separator, '"', "\n", "\r"))
        wanted = quoting == "all" or (quoting == "texts" and not text.isdecimal())
        return '"' + text.replace('"', '""') + '"' if must or wanted else text

    lines = []
    for row in rows:
        cells = [*row]
        while trailing == "fewer" and len(cells) - 1 > needed and not cells[-1].strip():
            cells.pop()
        lines.append(separator.join(map(cell, cells)) + separator * 2 * (trailing == "more"))
    return lines
