"""ROC curves with confidence bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError
from gliolake.modeling.data.validation import Floats, as_labels, as_patients, as_scores
from gliolake.modeling.evaluation.bootstrap import CHUNK, SHOWN

GRID = np.arange(201) / 200
"""False positive rates at which a curve is read; lines between these points enclose the AUC to within 0.0025."""

BESIDE = 1e-9
"""Where a curve rises straight up it is read so far to the right: at the upper end of the step."""


@dataclass(frozen=True)
class Roc:
    """A ROC curve on the grid.

    Attributes:
        x: False positive rate, 1 − specificity (k,). y: The highest true positive rate, or sensitivity, at it (k,).
        ci_low, ci_high: 95 % interval of y at this x (k,), pointwise: the whole curve lies in the band less often. None
            where it cannot be told, as of a single patient.
    """

    x: Floats
    y: Floats
    ci_low: Floats | None
    ci_high: Floats | None

    def rows(self) -> list[dict[str, Any]]:
        """One row per point."""
        nothing = [None] * len(self.x)
        low, high = (nothing if ends is None else ends.tolist() for ends in (self.ci_low, self.ci_high))
        columns = zip(self.x.tolist(), self.y.tolist(), low, high, strict=True)
        return [dict(zip(("x", "y", "ci_low", "ci_high"), values, strict=True)) for values in columns]


def roc_curve(
    labels: npt.ArrayLike, scores: npt.ArrayLike, patients: npt.ArrayLike, *, seed: int, resamples: int = 2000
) -> Roc | None:
    """The ROC curve, with a percentile band over resampled patients; None with one class, of which there is no curve.

    All scans of a patient come and go together. As for an AUC there is no band if more than one resample in twenty
    lacks a class (see ``gliolake.modeling.evaluation.bootstrap.patient_bootstrap``).

    Args:
        labels: (n,) bool, or 0 and 1. scores, patients: (n,).
        seed, resamples: of the bootstrap; the chunks do not change what is drawn.

    Raises:
        InputError: shapes that do not fit, a missing prediction, a scan without a patient, or no resamples.
    """
    truth = as_labels(labels)
    given, patient = as_scores(scores, len(truth)), as_patients(patients, len(truth))
    if resamples < 1:
        raise InputError(f"{resamples} resamples; at least 1 is needed.")
    if truth.all() or not truth.any():
        return None
    falling = np.argsort(-given, kind="stable")
    truth, given, patient = truth[falling], given[falling], patient[falling]
    ties = np.flatnonzero(np.r_[True, given[1:] != given[:-1]])

    def curves(weights: Floats) -> Floats:
        """True positive rates (rows, grid) of scans that weigh (rows, n); rows that lack a class are left out."""
        called = [np.add.reduceat(weights * of, ties, axis=1).cumsum(axis=1) for of in (~truth, truth)]
        both = (called[0][:, -1] > 0) & (called[1][:, -1] > 0)
        false, true = (np.pad(count[both] / count[both, -1:], ((0, 0), (1, 0))) for count in called)
        return np.array([np.interp(GRID + BESIDE, *curve) for curve in zip(false, true, strict=True)])

    (y,) = curves(np.ones((1, len(truth))))
    count, chunk = int(patient.max()) + 1, max(1, CHUNK // len(truth))
    stream, found = np.random.default_rng(seed), []
    for start in range(0, resamples, chunk):
        drawn = stream.multinomial(count, np.full(count, 1 / count), min(chunk, resamples - start))
        found += list(curves(drawn.astype(np.float64)[:, patient]))
    if count < 2 or len(found) < SHOWN * resamples:
        return Roc(GRID, y, None, None)
    low, high = np.percentile(found, (2.5, 97.5), axis=0)
    return Roc(GRID, y, low, high)
