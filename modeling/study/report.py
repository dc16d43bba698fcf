"""What `gliolake study run` did, for a person and for a program."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 8


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

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        rows = [{key: row[key] for key in ("name", "table", "state", "experiment", "detail")} for row in self.rows]
        return {"study": self.study, "fits": self.fits, "seconds": round(self.seconds, 1),
                "cautions": list(self.cautions), "rows": rows}  # fmt: skip

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("table", "done", "failed", "quoted")
        for name, states in self.states().items():
            table.add_row(name or "–", *(str(states[state]) for state in ("done", "failed", "quoted")))
        reasons = Counter(row["detail"] for row in self.rows if row["state"] == "failed")
        lines = [Text(f"{count} rows: {reason}") for reason, count in reasons.most_common(SHOWN)]
        if len(reasons) > SHOWN:
            lines.append(Text(f"… and {len(reasons) - SHOWN} more reasons (table study_rows, column detail)."))
        end = Text(f"{self.fits} fits in {self.seconds:.1f} s. See them: gliolake study show table_1")
        known = [Text(f"Caution: {caution}", style="yellow") for caution in self.cautions]
        return Group(Text(f"Study {self.study}", style="bold"), table, *lines, *known, end)
