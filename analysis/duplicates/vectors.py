"""A feature set as places of scans, in which one unit is the usual distance between two people.

What a cohort's scanners and preprocessing add is taken out (ComBat, over cohorts), and each modality is whitened: what
sets all people apart counts as much as what sets a few apart, so that neither tumour size nor brightness decides alone
who resembles whom. DeltaT1 is left out: it is made of T1 and T1wCE and says nothing of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gliolake.modeling.data.harmonisation import FEWEST, fit_combat
from gliolake.schema.features import FEATURE_LENGTH
from gliolake.schema.imaging import MODALITIES

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

Scan = tuple[str, str]

MOST_COMPONENTS = 128
"""Principal components of a modality at most; and never more than half as many as there are scans, since vectors
whitened in as many directions as there are scans are all equally far apart."""


@dataclass(frozen=True)
class Places:
    """Where scans lie, modality by modality, in the order of their names.

    Attributes:
        scans: (cohort, scan id) of each of n scans.
        cohorts: (n,) the cohorts' places in the order of their names.
        coordinates: for each modality (n, k) float32, zeros where the scan has no usable vector; the mean squared
            distance between two scans is 1.
        present: (n, modalities) bool.
    """

    scans: list[Scan]
    cohorts: np.ndarray
    coordinates: tuple[np.ndarray, ...]
    present: np.ndarray


def vectors(lake: Lake, feature_set: str, modality: str, scans: dict[Scan, int]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (n, 400) float32 of one modality in the given rows, and (n,) bool, whether the scan has a usable one.

    A vector that is constant, or holds a number that is not finite, is none: it says nothing of the scan.
    """
    where = {"feature_set": feature_set, "modality": modality}
    rows = lake.read("features", where, ["cohort", "scan_id", "values"])
    found = np.asarray(rows["values"].combine_chunks().flatten(), np.float32).reshape(-1, FEATURE_LENGTH)
    names = zip(rows["cohort"].to_pylist(), rows["scan_id"].to_pylist(), strict=True)
    at = np.array([scans.get(name, -1) for name in names], np.int64)
    usable = (at >= 0) & np.isfinite(found).all(1) & (found.max(1, initial=-np.inf) > found.min(1, initial=np.inf))
    values = np.zeros((len(scans), FEATURE_LENGTH), np.float32)
    present = np.zeros(len(scans), np.bool_)
    values[at[usable]] = found[usable]
    present[at[usable]] = True
    return values, present


def named_scans(lake: Lake, feature_set: str) -> list[Scan]:
    """The scans that a feature set has vectors of, in the order of their names."""
    rows = lake.read("features", {"feature_set": feature_set}, ["cohort", "scan_id"])
    return sorted(set(zip(rows["cohort"].to_pylist(), rows["scan_id"].to_pylist(), strict=True)))


def read_places(lake: Lake, feature_set: str, scans: list[Scan]) -> Places:
    """The places of scans, all of which count in what is usual. One modality is in memory at a time."""
    from threadpoolctl import threadpool_limits

    index = {scan: row for row, scan in enumerate(scans)}
    cohorts = np.unique([cohort for cohort, _ in scans], return_inverse=True)[1]
    coordinates, present = [], np.zeros((len(scans), len(MODALITIES)), np.bool_)
    with threadpool_limits(1):  # sums that do not depend on how many cores there are
        for place, modality in enumerate(MODALITIES):
            values, there = vectors(lake, feature_set, modality, index)
            there &= np.bincount(cohorts, there)[cohorts] >= FEWEST
            whitened = whiten(values[there], cohorts[there])
            coordinates.append(np.zeros((len(scans), whitened.shape[1]), np.float32))
            coordinates[-1][there] = whitened
            present[:, place] = there & (whitened.shape[1] > 0)
    return Places(scans, cohorts, tuple(coordinates), present)


def whiten(values: np.ndarray, cohorts: np.ndarray) -> np.ndarray:
    """Vectors (n, 400) of scans of cohorts (n,), two or more of each, as (n, k) float32 of equal spread, uncorrelated.

    The mean squared distance between two rows is 1. k is 0 where no feature differs between scans of one cohort.
    """
    if len(values) < 2:
        return np.zeros((len(values), 0), np.float32)
    centred = values.astype(np.float64)
    if len(np.unique(cohorts)) > 1:
        centred = fit_combat(values, cohorts).apply(centred, cohorts)
    centred -= centred.mean(0)
    spread = centred.std(0)
    varies = spread > 1e-6 * np.abs(values).max(0)
    centred = centred[:, varies] / spread[varies]
    if not centred.shape[1]:
        return np.zeros((len(values), 0), np.float32)
    variance, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(variance)[::-1][: min(MOST_COMPONENTS, len(values) // 2)]
    order = order[variance[order] > 1e-6 * variance[order[0]]]
    places: np.ndarray = centred @ (directions[:, order] / np.sqrt(2 * len(order) * variance[order]))
    return places.astype(np.float32)
