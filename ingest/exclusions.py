"""Rows of the table ``exclusions``: each excluded scan or row with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]

MISSING_MODALITY = "missing modality"
MISSING_MASK = "missing mask"
TWO_FILES = "two files for one modality"
DIFFERENT_GRIDS = "modalities on different grids"
EMPTY_MASK = "empty mask"
UNKNOWN_MASK_LABELS = "unknown mask labels"
READING_FAILED = "reading failed"
LEAVES = "link leaves the images folder"
NOT_A_FILE = "not a regular file"
UNREADABLE_NAME = "unreadable name"
TOO_DEEP = "too many folders deep"
UNLISTED = "folder cannot be listed"
MANY_GONE = "many scans lost files"
SAME_ID = "id of another folder's scan"
ALIKE_IDS = "ids alike but for capitals"
CHANGED_FILE = "changed file"
BAD_BOX = "unusable box"
UNNEEDED_BOX = "box for a scan with a mask"
UNKNOWN_SCAN = "unknown scan"

UNREADABLE_ROW = "unreadable row"
UNREADABLE_ID = "unreadable id"
UNREADABLE_VALUE = "unreadable value"
CONFLICTING_ROWS = "conflicting duplicate rows"

MISSING_VECTOR = "missing vector"
BAD_VECTOR = "unusable vector"
BAD_LABEL = "unusable label"


def exclusion(
    cohort: str, scan_id: str, step: str, reason: str, detail: str, *, source: str, fingerprint: str = ""
) -> Row:
    """One row. An empty fingerprint means: look again next time."""
    return {"cohort": cohort, "scan_id": scan_id, "step": step, "reason": reason, "detail": detail,
            "source": source, "fingerprint": fingerprint}  # fmt: skip


def merged(rows: Iterable[Row]) -> list[Row]:
    """One row per primary key, the details of rows that share one joined, in order."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = tuple(row[column] for column in ("cohort", "scan_id", "step", "reason", "source"))
        if key in found:
            found[key] = found[key] | {"detail": f"{found[key]['detail']} {row['detail']}"}
        else:
            found[key] = row
    return [found[key] for key in sorted(found)]
