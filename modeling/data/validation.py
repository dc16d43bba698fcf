"""Checks of labels, predictions and patients before any computation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError

Floats = npt.NDArray[np.float64]


def as_labels(labels: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Labels (n,) as bool; given as bool or as 0 and 1.

    Raises:
        InputError: there are none, they are no single column, or one is neither yes nor no.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or not len(given):
        raise InputError(f"Labels of shape {given.shape}; expected one per scan, and at least one scan.")
    if not np.isin(given, (0, 1)).all():
        raise InputError(
            "A label is neither yes nor no.", hint="Leave out scans without a call, and code methylated as true."
        )
    return given.astype(np.bool_)


def as_scores(scores: npt.ArrayLike, scans: int, *, probability: bool = False) -> Floats:
    """Predictions (scans,) as float64: any finite numbers that rank the scans, or probabilities.

    Raises:
        InputError: another number of predictions than of scans, one that is missing or infinite, or a probability
            outside 0 to 1.
    """
    given = np.asarray(scores, np.float64)
    if given.shape != (scans,):
        raise InputError(f"Predictions of shape {given.shape} for {scans} scans; expected one per scan.")
    if not np.isfinite(given).all():
        raise InputError(
            f"{int((~np.isfinite(given)).sum())} of {scans} predictions are missing or infinite.",
            hint="Compare models on scans that all of them predicted.",
        )
    if probability and (given.min() < 0 or given.max() > 1):
        raise InputError(f"Predictions from {given.min():g} to {given.max():g}; expected probabilities, 0 to 1.")
    return given


def as_patients(patients: npt.ArrayLike, scans: int) -> npt.NDArray[np.intp]:
    """Which patient each scan is of, as numbers (scans,) from 0.

    Raises:
        InputError: another number of patients than of scans, or a scan without one.
    """
    given = np.asarray(patients)
    if given.shape != (scans,):
        raise InputError(f"Patients of shape {given.shape} for {scans} scans; expected one per scan.")
    try:
        return np.unique(given, return_inverse=True)[1]
    except TypeError as error:  # None does not sort among names
        raise InputError("A scan has no patient.", hint="Give every scan the id of its patient.") from error
