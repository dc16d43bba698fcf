"""Calibration curves: predicted probability against the observed rate of methylation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError
from gliolake.modeling.data.validation import Floats, as_labels, as_scores


@dataclass(frozen=True)
class Calibration:
    """Bins of about equally many scans, and what follows from them.

    Attributes:
        low, high: Lowest and highest probability in each bin (bins,); scans: how many it holds.
        predicted, observed: Mean probability, and share methylated, of each bin.
        error: Expected calibration error, Σ scans/n · |observed − predicted|. Above 0 by chance alone, the more so
            the fewer scans a bin holds: compare models on the same scans and bins only.
        brier: Mean squared error of the probabilities: reliability − resolution + uncertainty + within
            (Murphy 1973; Stephenson, Coelho and Jolliffe 2008 for ``within``, what the bins blur).
    """

    low: Floats
    high: Floats
    scans: npt.NDArray[np.int64]
    predicted: Floats
    observed: Floats
    error: float
    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float

    def rows(self) -> list[dict[str, Any]]:
        """One row per bin."""
        columns = {name: getattr(self, name).tolist() for name in ("low", "high", "scans", "predicted", "observed")}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def calibration(labels: npt.ArrayLike, probability: npt.ArrayLike, bins: int = 10) -> Calibration:
    """Calibration in quantile bins, cut as scikit-learn's ``calibration_curve`` does.

    Equal probabilities share a bin, so there are fewer bins than asked for where many are equal; a constant
    prediction is one bin. A scan is the unit, and one class is enough.

    Args:
        labels: (n,) bool, or 0 and 1. probability: (n,), 0 to 1.
        bins: how many at most.

    Raises:
        InputError: shapes that do not fit, a probability out of range, or no bins.
    """
    truth = as_labels(labels)
    given = as_scores(probability, len(truth), probability=True)
    if bins < 1:
        raise InputError(f"{bins} bins; at least 1 is needed.")
    cuts = np.quantile(given, np.linspace(0, 1, bins + 1)[1:-1])
    _, of = np.unique(np.searchsorted(cuts, given), return_inverse=True)
    scans = np.bincount(of)
    predicted, observed = np.bincount(of, given) / scans, np.bincount(of, truth) / scans
    low, high = np.full(len(scans), np.inf), np.full(len(scans), -np.inf)
    np.minimum.at(low, of, given)
    np.maximum.at(high, of, given)
    share, base = scans / len(truth), truth.mean()
    brier = float(np.mean((given - truth) ** 2))
    reliability, resolution = (float(share @ (observed - other) ** 2) for other in (predicted, base))
    uncertainty = float(base * (1 - base))
    return Calibration(
        low, high, scans, predicted, observed, float(share @ np.abs(observed - predicted)), brier, reliability,
        resolution, uncertainty, brier - (reliability - resolution + uncertainty),
    )  # fmt: skip
