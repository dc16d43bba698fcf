"""Vectors of a feature set as matrices, with rows in the order of given scans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gliolake.schema.vocabulary import FEATURE_LENGTH

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake
    from gliolake.storage.snapshot import DataFile

Scan = tuple[str, str]
"""Cohort and scan id."""

Vectors = npt.NDArray[np.float32]


def named_scans(lake: Lake, feature_set: str) -> list[Scan]:
    """The scans that a feature set has vectors of, in the order of their names."""
    rows = lake.read("features", {"feature_set": feature_set}, ["cohort", "scan_id"])
    return sorted(set(zip(rows["cohort"].to_pylist(), rows["scan_id"].to_pylist(), strict=True)))


def read_vectors(lake: Lake, files: Iterable[DataFile], scans: Sequence[Scan]) -> Vectors:
    """Vectors of the scans, (scans, 400), from data files of one feature set and modality; NaN where they have none.

    Raises:
        DamagedFile: a file is missing or altered.
    """
    places = {scan: row for row, scan in enumerate(scans)}
    values = np.full((len(scans), FEATURE_LENGTH), np.nan, np.float32)
    for file in files:
        rows = lake.data.load(file, ["scan_id", "values"])
        cohort = file.partition["cohort"]
        at = np.array([places.get((cohort, scan), -1) for scan in rows["scan_id"].to_pylist()], np.int64)
        found = np.asarray(rows["values"].combine_chunks().flatten()).reshape(-1, FEATURE_LENGTH)
        values[at[at >= 0]] = found[at >= 0]
    return values


def usable(values: Vectors) -> npt.NDArray[np.bool_]:
    """Which vectors are there and finite, as training asks of them; (scans,)."""
    return np.asarray(np.isfinite(values).all(axis=1))


def informative(values: Vectors) -> npt.NDArray[np.bool_]:
    """Which vectors are usable and not constant: one that is says nothing of the scan; (scans,)."""
    return usable(values) & (values.max(axis=1) > values.min(axis=1))
