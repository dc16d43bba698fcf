"""The report of an experiment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One metric on one split: mean and SD over folds, 95 % interval, mean optimism, folds that could show it."""

    split: str
    metric: str
    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    optimism: float | None
    folds: int


@dataclass(frozen=True)
class Report:
    """An experiment's outcome. ``weights`` and ``synthetic`` say what every figure in it rests on,
    ``cautions`` what may be wrong with its splits."""

    experiment: str
    model: str
    feature_set: str
    weights: str
    synthetic: bool
    label_rule: str
    branches: tuple[str, ...]
    repeats: int
    folds: int
    scans: int
    patients: int
    external_scans: int
    external_patients: int
    unlabelled: int
    without_branches: int
    cautions: tuple[str, ...]
    lines: tuple[Line, ...]

    def value(self, split: str, metric: str) -> float | None:
        """Mean of a metric on a split, ``internal`` or ``external``; None where there is none."""
        return next((line.mean for line in self.lines if (line.split, line.metric) == (split, metric)), None)

    @property
    def rests_on(self) -> str:
        """What the vectors rest on, in words."""
        weights = {
            "random": "random weights (no training went into the vectors)",
            "untrained": "untrained weights",
            "released": "the study's released vectors",
            "trained": "trained weights",
        }.get(self.weights, f"{self.weights} weights")
        return f"{weights}, SYNTHETIC scans" if self.synthetic else weights
