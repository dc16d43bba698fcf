"""The report of `gliolake study run`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StudyReport:
    """Rows of table study_rows, folds that were fitted now, seconds taken, and what to know of the splits."""

    study: str
    rows: tuple[dict[str, Any], ...]
    fits: int
    seconds: float
    cautions: tuple[str, ...] = ()

    def states(self) -> dict[str, Counter[str]]:
        """How many rows are done, failed and quoted, by table."""
        found: dict[str, Counter[str]] = {}
        for row in self.rows:
            found.setdefault(row["table"], Counter())[row["state"]] += 1
        return found
