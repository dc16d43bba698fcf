"""Tumour boxes that a person gives for scans without a mask: a CSV file of scan_id, x0, x1, y0, y1, z0 and z1.

Bounds are half-open and count voxels of the T1wCE image turned to LPS, as column ``tumour_box`` of table scans does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.ingest.cohorts.description import MASK, Cohort
from gliolake.ingest.exclusions import UNKNOWN_SCAN, UNNEEDED_BOX, UNREADABLE_ID, Row, exclusion, merged
from gliolake.ingest.readers.cells import whole
from gliolake.ingest.readers.csv_file import read_csv
from gliolake.ingest.scans.model import FoundScan, GivenBox
from gliolake.text_shape import shape_of

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

STEP = "boxes"
BOUNDS = ("x0", "x1", "y0", "y1", "z0", "z1")

_LARGEST_BOUND = 99_999
"""No image has as many voxels along an axis; a longer number may be a patient's."""

BY_HAND = "box given by hand"
"""Stands among the warnings of a scan whose box comes from a person and not from a mask."""


@dataclass(frozen=True)
class Boxes:
    """The boxes of a file by scan id, and rows of ``exclusions`` for its lines that name no scan of the cohort."""

    file: Path
    of_scan: Mapping[str, GivenBox]
    exclusions: tuple[Row, ...]


def read_boxes(cohort: Cohort, file: Path) -> Boxes:
    """The boxes in a CSV file.

    Raises:
        InputError: it cannot be read or lacks a column. What is wrong with a single line stays with that line.
    """
    table = read_csv(file, ("scan_id", *BOUNDS))
    wanted = {"scan_id": "the scan a box belongs to", **dict.fromkeys(BOUNDS, "a bound of the box")}
    id_column, *columns = table.required(wanted)
    boxes: dict[str, GivenBox] = {}
    strange: list[Row] = []
    for line, fields in table.rows:
        name = fields[id_column] if id_column < len(fields) else ""
        place = f"{file.name}, line {line}"
        if (parsed := cohort.ids.parse(name)) is None:
            detail = f"{place}: the id has the form {shape_of(name)}; expected {cohort.ids.form}."
            row_name = f"{file.stem} line {line}"
            strange.append(exclusion(cohort.name, row_name, STEP, UNREADABLE_ID, detail, source=str(file)))
            continue
        box = _box(place, [fields[column] if column < len(fields) else "" for column in columns], table.decimal_comma)
        former = boxes.setdefault(parsed.scan_id, box)
        if former.bounds != box.bounds:
            boxes[parsed.scan_id] = replace(former, fault=f"{former.place} and line {line} give different boxes.")
    return Boxes(file, boxes, tuple(strange))


def known_boxes(lake: Lake, cohort: Cohort) -> dict[str, GivenBox]:
    """The boxes that the lake was given before: an ingest without a file of boxes leaves them as they are."""
    rows = lake.read("scans", {"cohort": cohort.name, "tumour_voxels": 0}, ["scan_id", "tumour_box", "warnings"])
    return {
        row["scan_id"]: GivenBox(tuple(row["tumour_box"]), "the lake")
        for row in rows.to_pylist()
        if BY_HAND in row["warnings"]
    }


def attach_boxes(scans: Iterable[FoundScan], boxes: Mapping[str, GivenBox]) -> Iterator[FoundScan]:
    """The scans, those without a mask with their boxes, which their fingerprints then tell."""
    for scan in scans:
        box = boxes.get(scan.scan_id)
        if box is None or _has_mask(scan):
            yield scan
        else:
            told = f"{scan.fingerprint} {box.bounds} {box.fault}"
            yield replace(scan, box=box, fingerprint=hashlib.sha256(told.encode()).hexdigest())


def unused_boxes(cohort: Cohort, boxes: Boxes, scans: Iterable[FoundScan], elsewhere: set[str]) -> list[Row]:
    """Rows of ``exclusions`` for lines that serve no scan. ``elsewhere`` has ids of scans outside of this folder."""
    masked = {scan.scan_id: _has_mask(scan) for scan in scans}
    rows = list(boxes.exclusions)
    for scan_id, box in boxes.of_scan.items():
        if masked.get(scan_id, False):
            reason, what = UNNEEDED_BOX, "has a mask, which gives its box"
        elif scan_id not in masked and scan_id not in elsewhere:
            reason, what = UNKNOWN_SCAN, f"is not among the images of {cohort.name}"
        else:
            continue
        detail = f"{box.place}: {scan_id} {what}."
        rows.append(exclusion(cohort.name, scan_id, STEP, reason, detail, source=str(boxes.file)))
    return merged(rows)


def _has_mask(scan: FoundScan) -> bool:
    return any(file.role == MASK for file in scan.files)


def _box(place: str, fields: list[str], comma: bool) -> GivenBox:
    bounds = [whole(field, comma=comma) for field in fields]
    strange = [
        f"{name} has the form {shape_of(field)}"
        for name, field, bound in zip(BOUNDS, fields, bounds, strict=True)
        if bound is None or abs(bound) > _LARGEST_BOUND
    ]
    if strange:
        return GivenBox((), place, f"{place}: {', '.join(strange)}; expected six whole numbers.")
    given = tuple(bound for bound in bounds if bound is not None)
    for low, high, axis in zip(given[::2], given[1::2], "xyz", strict=True):
        if low >= high:
            return GivenBox(given, place, f"{place}: the box is empty, from {axis} {low} to {high}.")
    return GivenBox(given, place)
