"""One pair of feature sets, or one feature set at two examinations: from vectors to rows of ccc and ccc_means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.analysis.agreement.moments import Array, Moments, interval, jackknifed, mean_known
from gliolake.analysis.vectors import Scan, Vectors, usable

EACH = 1000
GROUPS = 64
"""Up to so many patients, an interval comes of leaving out each; of more, of leaving out so many groups of them."""

ALL = "all"
"""What stands for all modalities together in table ccc_means."""

Row = dict[str, Any]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scans:
    """Scans to compare, sorted by patient and examination: their names, patients (numbers from 0) and examinations."""

    names: Sequence[Scan]
    patient: Places
    examination: Places

    @cached_property
    def groups(self) -> int:
        """Patients are put in so many groups, by the rest of their number."""
        last = int(self.patient.max(initial=0))
        return last + 1 if last < EACH else GROUPS


@dataclass(frozen=True)
class Agreed:
    """Coefficients of k features, or of k modalities.

    Attributes:
        scans: among which they were computed; used: (scans,) those that were; of two examinations, the later one.
        whole: (k,) of all; groups: those of patients that can be left out; without: (groups, k) of all others.
    """

    scans: Scans
    used: npt.NDArray[np.bool_]
    whole: Array
    groups: Places
    without: Array

    @cached_property
    def mean(self) -> Agreed:
        """Of the mean over the features that have a coefficient; k is 1."""
        left = mean_known(self.without[:, np.isfinite(self.whole)])
        return Agreed(self.scans, self.used, mean_known(self.whole).reshape(1), self.groups, left[:, None])

    def rows(self, column: str) -> Iterator[Row]:
        """The k coefficients, under the name of ``column``, with their intervals; NaN becomes null."""
        patients = np.unique(self.scans.patient[self.used])
        sizes = np.bincount(patients % self.scans.groups, minlength=self.scans.groups)[self.groups]
        counts = {"scans": int(self.used.sum()), "patients": len(patients)}
        for values in zip(self.whole, *interval(self.whole, self.without, sizes), strict=True):
            told = (float(value) if np.isfinite(value) else None for value in values)
            yield dict(zip((column, "ci_low", "ci_high"), told, strict=True)) | counts


def agreed(first: Vectors, second: Vectors | None, scans: Scans) -> Agreed | None:
    """How well the vectors (scans, features) of two sets agree in one modality; None where no scan has both.

    Without a second set, the second examination of each patient is compared with the first.
    """
    if second is None:
        one, other = examined_twice(scans, usable(first))
        second = first
    else:
        one = other = np.flatnonzero(usable(first) & usable(second))
    if not len(one):
        return None
    group = scans.patient[other] % scans.groups
    order = np.argsort(group, kind="stable")
    names, begins = np.unique(group[order], return_index=True)
    parts = np.split(order, begins[1:])
    whole, without = jackknifed([Moments.of(first[one[rows]], second[other[rows]]) for rows in parts])
    used = np.zeros(len(scans.names), np.bool_)
    used[other] = True
    return Agreed(scans, used, whole, names[: len(without)], without)


def examined_twice(scans: Scans, there: npt.NDArray[np.bool_]) -> tuple[Places, Places]:
    """Places of the first and of the second examination of each patient who has two with a vector.

    ``there`` (scans,) says which have one. Scans of one examination under several names follow each other; the first
    that has a vector stands for it.
    """
    rows = np.flatnonzero(there)
    new = np.diff(scans.patient[rows], prepend=-1) != 0
    rows = rows[new | (np.diff(scans.examination[rows], prepend=-1) != 0)]
    new = np.diff(scans.patient[rows], prepend=-1) != 0
    second = np.flatnonzero(~new[1:] & new[:-1]) + 1
    return rows[second - 1], rows[second]


def rows_of(found: Mapping[str, Agreed], place: Row, digest: str) -> tuple[list[Row], list[Row]]:
    """Rows of tables ccc and ccc_means; none where no scan was compared.

    Args:
        found: by modality.
        place: the pair, as columns of both tables.
        digest: of what the figures were computed from.
    """
    if not found:
        return [], []
    features = {modality: int(np.isfinite(one.whole).sum()) for modality, one in found.items()}
    means = {modality: one.mean for modality, one in found.items()} | {ALL: _together(found).mean}
    features[ALL] = sum(features.values())
    each = [
        place | {"modality": modality, "feature": feature} | row
        for modality, one in found.items()
        for feature, row in enumerate(one.rows("ccc"), start=1)
    ]
    return each, [
        place | {"modality": name, "features": features[name], "input_sha256": digest} | row
        for name, one in means.items()
        for row in one.rows("mean")
    ]


def _together(found: Mapping[str, Agreed]) -> Agreed:
    """The means of all modalities. One that has nobody of a group is the same without it."""
    means = [one.mean for one in found.values()]
    whole = np.concatenate([one.whole for one in means])
    groups = np.unique(np.concatenate([one.groups for one in means]))
    without = np.tile(whole, (len(groups), 1))
    for column, one in enumerate(means):
        without[np.searchsorted(groups, one.groups), column] = one.without[:, 0]
    return Agreed(means[0].scans, np.any([one.used for one in means], axis=0), whole, groups, without)
