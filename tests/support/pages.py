"""Pages of reports as tests read them, and rows that such pages show."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from gliolake.storage.lake import Lake

BEGAN = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)


class Tables(HTMLParser):
    """The tables of a page: by the name of their part, the rows of their bodies.

    A cell is its text, its value for sorting (None where it has none), and its class.
    """

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.rows: dict[str, list[list[tuple[str, str | None, str]]]] = {}
        self.part, self.body = "", False
        self.cell: tuple[str | None, str] | None = None
        self.text = ""
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if "part" in (told.get("class") or "").split():
            self.part = told["id"] or ""
        elif tag == "tbody":
            self.body, self.rows[self.part] = True, []
        elif self.body and tag == "tr":
            self.rows[self.part].append([])
        elif self.body and tag in ("td", "th"):
            self.cell, self.text = (told.get("data-value"), told.get("class") or ""), ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self.cell is not None:
            self.rows[self.part][-1].append((self.text, *self.cell))
            self.cell = None
        elif tag == "tbody":
            self.body = False

    def handle_data(self, data: str) -> None:
        self.text += data


def run_row(run_id: str, outcome: str, *, study: str = "made", **told: Any) -> dict[str, Any]:
    """A row of table runs of a study; of another command where ``command`` is told."""
    return {
        "run_id": run_id, "command": "study", "arguments": json.dumps({"study": study}), "code_version": "0",
        "host": "somewhere", "started": BEGAN, "outcome": outcome, **told,
    }  # fmt: skip


def put(lake: Lake, table: str, *rows: dict[str, Any], run_id: str = "made") -> None:
    """Put rows into a table of the lake."""
    lake.transact(lambda transaction: transaction.upsert(table, list(rows)), run_id=run_id)


def scan_row(scan: str, digests: dict[str, str]) -> dict[str, Any]:
    """A row of table scans of cohort here, with the sha256 of each role's file. Files lie in private folders."""
    files = [
        {
            "role": role, "uri": f"/data/private/{role}<script>.nii", "bytes": 1, "mtime_ns": 1, "sha256": digest,
            "dtype": "u1", "content": [],
        }
        for role, digest in digests.items()
    ]  # fmt: skip
    return {
        "cohort": "here", "scan_id": scan, "source_id": "", "subject_id": "", "visit_day": 0, "files": files,
        "shape": [], "spacing_mm": [], "affine": [], "orientation": "", "tumour_box": [], "tumour_voxels": 0,
        "mask_labels": [], "warnings": [], "fingerprint": "",
    }  # fmt: skip
