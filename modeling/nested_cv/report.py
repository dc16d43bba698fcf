"""What a nested search found, for a person and for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gliolake.modeling.report import Report, number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gliolake.modeling.nested_cv.selection import Trial


@dataclass(frozen=True)
class CandidateLine:
    """A candidate over all outer folds: mean inner figures, how often it was chosen, mean AUC on the test parts."""

    candidate: str
    inner_auc: float
    inner_loss: float
    chosen: int
    outer_auc: float | None


@dataclass(frozen=True)
class SearchReport:
    """A search's outcome: the report of what was chosen, and a line per candidate."""

    report: Report
    inner_folds: int
    candidates: tuple[CandidateLine, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        told = asdict(self)
        return told.pop("report") | told

    @property
    def careless(self) -> float | None:
        """The mean AUC had the best candidate of each fold been chosen on the fold's own test part."""
        line = next((x for x in self.report.lines if (x.split, x.metric) == ("internal", "auc")), None)
        return None if line is None or line.mean is None or line.optimism is None else line.mean + line.optimism

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        honest = self.report.value("internal", "auc")
        found = f"AUC {number(honest)} by nested selection; {number(self.careless)} had the test parts chosen"
        table = Table("candidate", "chosen", "inner AUC", "inner log loss", "outer AUC")
        for line in self.candidates:
            table.add_row(
                line.candidate, str(line.chosen), number(line.inner_auc), number(line.inner_loss),
                number(line.outer_auc),
            )  # fmt: skip
        foot = Text(
            f"Means over outer folds; inner figures are of {self.inner_folds} folds within each training part, and "
            "alone decide. To pick a candidate by its outer AUC would be the careless choice.",
            style="dim",
        )
        return Group(self.report, Text(found, style="bold"), table, foot)


def candidate_lines(names: Sequence[str], trials: Sequence[Trial]) -> tuple[CandidateLine, ...]:
    """A line for each candidate, in their order."""
    lines = []
    for name in names:
        own = [trial for trial in trials if trial.candidate == name]
        outer = [trial.outer_auc for trial in own if trial.outer_auc is not None]
        inner_auc = float(np.mean([trial.inner_auc for trial in own]))
        inner_loss = float(np.mean([trial.inner_loss for trial in own]))
        times = sum(trial.chosen for trial in own)
        lines.append(CandidateLine(name, inner_auc, inner_loss, times, float(np.mean(outer)) if outer else None))
    return tuple(lines)
