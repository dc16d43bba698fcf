"""The report of a nested search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliolake.modeling.report import Report

if TYPE_CHECKING:
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

    @property
    def test_selected(self) -> float | None:
        """The mean AUC had the best candidate of each fold been chosen on the fold's own test part."""
        line = next((x for x in self.report.lines if (x.split, x.metric) == ("internal", "auc")), None)
        return None if line is None or line.mean is None or line.optimism is None else line.mean + line.optimism


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
