"""Decision curves: net benefit of treatment by the model, compared with treating all or no patients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError
from gliolake.modeling.data.validation import Floats, as_labels, as_scores


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit (k,) of following the model, of treating all and of treating none, at each threshold (k,)."""

    threshold: Floats
    model: Floats
    treat_all: Floats
    treat_none: Floats

    def rows(self) -> list[dict[str, Any]]:
        """One row per threshold."""
        columns = {name: getattr(self, name).tolist() for name in ("threshold", "model", "treat_all", "treat_none")}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def decision_curve(
    labels: npt.ArrayLike, probability: npt.ArrayLike, thresholds: npt.ArrayLike | None = None
) -> DecisionCurve:
    """Net benefit TP/n − FP/n · t/(1 − t) where a scan is called at probability t and above.

    t is the chance of methylation at which a doctor would be in two minds: t/(1 − t) weighs a needless treatment
    against a missed one (Vickers and Elkin, Medical Decision Making 26, 2006). A scan is the unit, and one class is
    enough.

    Args:
        labels: (n,) bool, or 0 and 1. probability: (n,), 0 to 1.
        thresholds: (k,), 0 and above, below 1; None for 0.01 to 0.99.

    Raises:
        InputError: shapes that do not fit, or a probability or threshold out of range.
    """
    truth = as_labels(labels)
    given = as_scores(probability, len(truth), probability=True)
    at = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, np.float64)
    if at.ndim != 1 or not ((at >= 0) & (at < 1)).all():
        raise InputError("A threshold of a decision curve lies outside 0 to below 1.")
    n, odds = len(truth), at / (1 - at)

    def called(scans: Floats) -> Floats:
        return (len(scans) - np.searchsorted(np.sort(scans), at, side="left")) / n

    treat_all = truth.mean() - (~truth).mean() * odds
    model = called(given[truth]) - called(given[~truth]) * odds
    return DecisionCurve(at, model, treat_all, np.zeros(len(at)))
