"""Combines the fits into one recalibrated probability with an interval, based on out-of-fold predictions.

Platt's recalibration (1999): a line through the logits of the out-of-fold predictions, with targets shrunk from 0 and 1
so that perfectly separated classes do not give an infinite slope. A negative slope would mean that the model is right
when inverted; it is replaced by zero, and every patient gets the share of methylated patients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from gliolake.modeling.data.validation import as_labels, as_patients, as_scores
from gliolake.modeling.models.calibration import SURE

RESAMPLES = 1000
STEPS = 50
RIDGE = 1e-6
"""Keeps the slope defined where all predictions are the same."""

COVERS = (
    "95 % of resamples: each draws one of the fits, and a recalibration on resampled patients. So it holds how much "
    "the answer depends on which patients a fit was trained on, and how far the calibration is known. It does not hold "
    "how another scanner, protocol or population would change it, nor whether this patient's tumour is methylated: "
    "that is what the probability is for."
)
"""What an interval is about."""


@dataclass(frozen=True)
class Estimate:
    """A probability of methylation with its 95 % interval (``COVERS``)."""

    probability: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Recalibration:
    """Intercept and slope of the line (2,), and of each resample (B, 2) with the number of the fit it draws (B,)."""

    line: np.ndarray
    lines: np.ndarray
    drawn: np.ndarray

    def tensors(self) -> dict[str, np.ndarray]:
        """By the names under which they are kept."""
        return {"calibration.line": self.line, "calibration.lines": self.lines, "calibration.drawn": self.drawn}

    def moved(self, probability: np.ndarray) -> np.ndarray:
        """Probabilities of any shape, recalibrated."""
        return _moved(probability, self.line)

    def estimate(self, probability: np.ndarray, fits: np.ndarray | None = None) -> Estimate:
        """Of one scan.

        Args:
            probability: (F,) what each fit says.
            fits: (F,) bool: those that count; all where None.
        """
        counted = np.arange(len(probability)) if fits is None else np.flatnonzero(fits)
        own = float(_moved(probability[counted].mean(), self.line))
        low, high = np.percentile(_moved(probability[counted[self.drawn % len(counted)]], self.lines.T), (2.5, 97.5))
        # With one fit far from all others their mean may lie outside of what 95 % of the resamples say.
        return Estimate(own, min(float(low), own), max(float(high), own))


def recalibrate(
    probability: np.ndarray, labels: np.ndarray, patients: np.ndarray, *, fits: int, seed: int, resamples: int
) -> Recalibration:
    """The line through out-of-fold predictions, and those of resampled patients.

    Args:
        probability: (n,) mean over repeats of what fits said of a scan that they had not seen.
        labels: (n,) bool. patients: (n,).
        fits: F, among which each resample draws one.
        seed, resamples: of the bootstrap.

    Raises:
        InputError: shapes that do not fit, a missing prediction, or no scans.
    """
    truth = as_labels(labels)
    given = as_scores(probability, len(truth), probability=True)
    patient = as_patients(patients, len(truth))
    stream = np.random.default_rng([seed, 1])
    count = int(patient.max()) + 1
    weights = stream.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float64)[:, patient]
    lines = _fit(_score(given), truth, np.concatenate((np.ones((1, len(truth))), weights)))
    return Recalibration(lines[0], lines[1:], stream.integers(0, fits, resamples))


def as_recalibration(tensors: Mapping[str, np.ndarray]) -> Recalibration:
    """From the tensors under which it was kept."""
    line, lines, drawn = (tensors[f"calibration.{name}"] for name in ("line", "lines", "drawn"))
    return Recalibration(line.astype(np.float64), lines.astype(np.float64), drawn.astype(np.int64))


def _score(probability: np.ndarray) -> np.ndarray:
    limited: np.ndarray = logit(np.clip(probability, SURE, 1 - SURE))
    return limited


def _moved(probability: np.ndarray, line: np.ndarray) -> np.ndarray:
    moved: np.ndarray = expit(line[0] + line[1] * _score(probability))
    return moved


def _fit(score: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Intercept and slope (R, 2) of scores (n,) under weights (R, n), by Newton's method."""
    methylated, not_so = weights @ labels, weights @ ~labels
    high, low = (methylated + 1) / (methylated + 2), 1 / (not_so + 2)
    target = np.where(labels, high[:, None], low[:, None])
    share = (weights * target).sum(1) / weights.sum(1)
    level = np.stack((logit(share), np.zeros_like(share)), 1)
    line = level
    for _ in range(STEPS):
        told = expit(line[:, :1] + line[:, 1:] * score)
        residual, spread = weights * (target - told), weights * told * (1 - told)
        slope = np.stack((residual.sum(1), residual @ score - RIDGE * line[:, 1]), 1)
        a, b, c = spread.sum(1), spread @ score, spread @ score**2 + RIDGE
        step = np.stack((c * slope[:, 0] - b * slope[:, 1], a * slope[:, 1] - b * slope[:, 0]), 1)
        step /= np.maximum(a * c - b * b, np.finfo(np.float64).tiny)[:, None]
        line = line + np.clip(step, -1, 1)
    return np.where(line[:, 1:] > 0, line, level)
