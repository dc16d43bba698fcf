"""AUC in subgroups of patients: site, sex, age, grade, diagnosis.

Many groups are looked at, so some stand out by chance; the intervals are each group's own, not corrected for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gliolake.errors import InputError
from gliolake.modeling.data.validation import as_labels, as_patients, as_scores
from gliolake.modeling.evaluation.bootstrap import patient_bootstrap, weighted_auc

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Subgroup:
    """A group's AUC with its 95 % interval by patient bootstrap, as a row. ``note`` says why a figure is missing."""

    group: str
    scans: int
    patients: int
    positive: int
    auc: float | None
    ci_low: float | None
    ci_high: float | None
    note: str | None


def subgroups(
    labels: npt.ArrayLike, scores: npt.ArrayLike, patients: npt.ArrayLike, groups: Sequence[object] | npt.ArrayLike,
    *, seed: int, resamples: int = 2000, smallest: int = 10,
) -> list[Subgroup]:  # fmt: skip
    """AUC per group, in order of the groups' names.

    A group with fewer than ``smallest`` patients of either class says nothing: its AUC is None, with a note. A group's
    row depends on its own scans alone, whatever the other groups are.

    Args:
        labels: (n,) bool, or 0 and 1. scores, patients: (n,).
        groups: (n,) group of each scan; None, NaN and "" are ``unknown``.
        seed, resamples: of the bootstrap.
        smallest: least number of patients with a methylated scan, and with an unmethylated one; at least 1.

    Raises:
        InputError: shapes that do not fit, a missing prediction, or ``smallest`` below 1.
    """
    truth = as_labels(labels)
    given, patient = as_scores(scores, len(truth)), as_patients(patients, len(truth))
    names = np.array([_name(group) for group in np.asarray(groups, object).ravel()], object)
    if names.shape != truth.shape:
        raise InputError(f"{len(names)} groups for {len(truth)} scans; expected one per scan.")
    if smallest < 1:
        raise InputError(f"Groups of {smallest} patients of a class; at least 1 is needed.")
    rows = []
    for name in sorted(set(names)):
        of = names == name
        counts = int(of.sum()), len(np.unique(patient[of])), int(truth[of].sum())
        of_class = [len(np.unique(patient[of & (truth == call)])) for call in (True, False)]
        note: str | None = None
        if min(of_class) < smallest:
            note = f"{of_class[0]} methylated and {of_class[1]} unmethylated patients; {smallest} of each are needed"
            rows.append(Subgroup(name, *counts, None, None, None, note))
            continue
        found = patient_bootstrap(weighted_auc(truth[of], given[of]), patient[of], seed=seed, resamples=resamples)
        if found.ci_low is None:
            note = f"only {found.shown:.0%} of the resamples have both classes"
        rows.append(Subgroup(name, *counts, found.value, found.ci_low, found.ci_high, note))
    return rows


def age_bands(years: Sequence[float | None] | npt.ArrayLike, edges: Sequence[int] = (50, 65)) -> list[str | None]:
    """Ages as groups of completed years that sort by age: ``0–49``, ``50–64``, ``65+``; None where there is no age.

    Raises:
        InputError: an age below 0, or edges that do not rise from 1 to 99.
    """
    bounds = [0, *edges]
    if sorted(set(bounds)) != bounds or bounds[-1] > 99:
        raise InputError(f"Age bands cut at {', '.join(map(str, edges))}; expected rising ages from 1 to 99.")
    ages = np.array(years, np.float64)
    if (ages < 0).any():
        raise InputError(f"An age of {np.nanmin(ages):g} years.")
    names = [f"{low}–{high - 1}" for low, high in pairwise(bounds)] + [f"{bounds[-1]}+"]
    band = np.searchsorted(bounds, ages, side="right") - 1
    return [names[b] if np.isfinite(age) else None for b, age in zip(band, ages, strict=True)]


def _name(group: Any) -> str:
    return UNKNOWN if pd.isna(group) or group == "" else str(group)
