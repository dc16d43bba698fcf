"""The study's correlations, each over a few models: which properties correlate with AUC.

1. AUC of a single modality against the drop in AUC without it (the study: r = −0.90 of single against left-out AUC).
2. Mean CCC of two backbones' features against the AUC of their combination (the study: r² = 0.58).
3. Accuracy of a backbone on Kinetics-400 against the AUC of its features (the study: r² = 0.93).

All three are ``correlation`` of two mappings; ``drops`` and ``KINETICS_TOP1`` make what the lake does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gliolake.errors import InputError

KINETICS_TOP1: dict[str, float] = {
    "i3d_nl10_resnet101_v1_kinetics400": 75.93,
    "slowfast_4x16_resnet50_kinetics400": 75.25,
    "r2plus1d_v2_resnet152_kinetics400": 81.34,
    "ircsn_v2_resnet152_f32s2_kinetics400": 83.18,
    "vivit_b_16x2": 79.9,
    "vivit_l_16x2_fe": 80.3,
}
"""Top-1 accuracy on Kinetics-400 in per cent, many views each: GluonCV's PyTorch model zoo, for ViViT Scenic's."""

SPREAD = 1e-9  # relative: less is rounding


@dataclass(frozen=True)
class Correlation:
    """Pearson's r with a 95 % interval (Fisher's z) and a two-sided p, over so many points."""

    r: float | None
    r2: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    points: int


def correlation(first: Mapping[str, float | None], second: Mapping[str, float | None]) -> Correlation:
    """Pearson's correlation over the names that both mappings have a value for.

    None throughout with fewer than three points or a side that does not vary; no interval with three points.

    Raises:
        InputError: the mappings share no name, or a value is infinite.
    """
    from scipy.stats import pearsonr

    shared = [name for name in first if name in second]
    if not shared:
        raise InputError(
            f"Nothing to correlate: {', '.join(first) or 'no names'} against {', '.join(second) or 'no names'}.",
            hint="Both sides must be named alike.",
        )
    pairs = np.array([(first[name], second[name]) for name in shared], np.float64)
    if np.isinf(pairs).any():
        raise InputError("An infinite value cannot be correlated.")
    x, y = pairs[np.isfinite(pairs).all(1)].T
    if len(x) < 3 or min(np.ptp(side) - SPREAD * np.abs(side).max() for side in (x, y)) <= 0:
        return Correlation(None, None, None, None, None, len(x))
    found = pearsonr(x, y)
    r = float(found.statistic)
    low, high = found.confidence_interval(0.95) if len(x) > 3 else (None, None)
    return Correlation(
        r,
        r * r,
        None if low is None else float(low),
        None if high is None else float(high),
        float(found.pvalue),
        len(x),
    )


def drops(every: float, without: Mapping[str, float | None]) -> dict[str, float | None]:
    """How much AUC is lost without each modality: the AUC of all of them less that of the others."""
    return {name: None if auc is None else every - auc for name, auc in without.items()}
