"""From what the blocks of a comparison came to, to rows of tables ccc and ccc_means."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.analysis.agreement.moments import Array, Moments, interval, mean_known, without_each
from gliolake.analysis.agreement.task import Block, Compared
from gliolake.schema.features import BRANCHES

ALL = "all"
"""What stands for all modalities together in table ccc_means."""

Rows = dict[str, list[dict[str, Any]]]
"""Rows by table."""

Patients = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Agreed:
    """How well one modality agrees; or all of them, a modality's mean then standing for a feature.

    Attributes:
        scans: how many were compared. patients: their numbers, each once.
        whole: (features,) the coefficients. without: by group of patients, the coefficients of all others.
    """

    scans: int
    patients: Patients
    whole: Array
    without: Mapping[int, Array]

    @cached_property
    def features(self) -> int:
        """Features that have a coefficient."""
        return int(np.isfinite(self.whole).sum())

    @cached_property
    def mean(self) -> float:
        """Mean over these features."""
        return float(mean_known(self.whole))

    @cached_property
    def mean_without(self) -> dict[int, float]:
        """The same, by group of patients, of all others."""
        return {group: float(mean_known(left[np.isfinite(self.whole)])) for group, left in self.without.items()}


class Gathered:
    """The sums of a comparison as its blocks come in, in whatever order; they are added up in that of their numbers."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._to_come: dict[str, deque[int]] = defaultdict(deque)
        self._waiting: dict[tuple[str, int], Compared] = {}
        self._sums: dict[str, dict[int, Moments]] = defaultdict(dict)
        self._used: dict[str, dict[int, npt.NDArray[np.bool_]]] = defaultdict(dict)
        self._patients: dict[int, Patients] = {}
        self._groups = 1
        for block in blocks:
            self._to_come[block.modality].append(block.number)
            self._patients[block.number] = block.scans["patient"].to_numpy()
            self._groups = block.groups

    @property
    def whole(self) -> bool:
        """Whether all blocks are in."""
        return not any(self._to_come.values())

    def add(self, block: Block, compared: Compared) -> None:
        """Take what a block came to."""
        modality, queue = block.modality, self._to_come[block.modality]
        self._waiting[modality, block.number] = compared
        while queue and (modality, queue[0]) in self._waiting:
            number = queue.popleft()
            found = self._waiting.pop((modality, number))
            self._used[modality][number] = found.used
            sums = self._sums[modality]
            for group, moments in found.moments.items():
                sums[group] = sums[group] + moments if group in sums else moments

    def rows(self, pair: tuple[str, str], digest: str) -> Rows:
        """Rows of tables ccc and ccc_means; none where no scan was compared.

        Args:
            pair: the feature sets.
            digest: of what they were computed from.
        """
        place = {"first": pair[0], "second": pair[1]}
        found = {modality: self._agreed(modality) for modality in BRANCHES if self._sums.get(modality)}
        means = found | ({ALL: self._together(found)} if found else {})
        features = {name: one.features for name, one in found.items()}
        features[ALL] = sum(features.values())
        return {
            "ccc": [
                place | {"modality": modality} | row
                for modality, one in found.items()
                for row in self._of_features(one)
            ],
            "ccc_means": [
                place | {"modality": name, "features": features[name], "input_sha256": digest} | self._of_mean(one)
                for name, one in means.items()
            ],
        }

    def _agreed(self, modality: str) -> Agreed:
        sums, used = self._sums[modality], self._used[modality]
        whole = reduce(add, (sums[group] for group in sorted(sums)))
        without = without_each(sums) if len(sums) > 1 else {}
        patients = np.unique(np.concatenate([self._patients[number][mask] for number, mask in used.items()]))
        left = {group: moments.concordance() for group, moments in without.items()}
        return Agreed(whole.n, patients, whole.concordance(), left)

    def _together(self, found: Mapping[str, Agreed]) -> Agreed:
        """All modalities. One that has nobody of a group is the same without it."""
        every = found.values()
        patients = np.unique(np.concatenate([one.patients for one in every]))
        without = {
            group: np.array([one.mean_without.get(group, one.mean) for one in every])
            for group in set().union(*(one.without for one in every))
        }
        return Agreed(self._scans(), patients, np.array([one.mean for one in every]), without)

    def _of_features(self, one: Agreed) -> Iterator[dict[str, Any]]:
        low, high = self._interval(one.whole, one.without, one.patients)
        for feature, ends in enumerate(zip(one.whole, low, high, strict=True), start=1):
            told = dict(zip(("ccc", "low", "high"), map(_number, ends), strict=True))
            yield {"feature": feature, **told, "scans": one.scans, "patients": len(one.patients)}

    def _of_mean(self, one: Agreed) -> dict[str, Any]:
        without = {group: np.array([mean]) for group, mean in one.mean_without.items()}
        low, high = self._interval(np.array([one.mean]), without, one.patients)
        told = {"mean": _number(one.mean), "low": _number(low[0]), "high": _number(high[0])}
        return told | {"scans": one.scans, "patients": len(one.patients)}

    def _interval(self, whole: Array, without: Mapping[int, Array], patients: Patients) -> tuple[Array, Array]:
        groups = sorted(without)
        sizes = np.bincount(patients % self._groups, minlength=self._groups)[groups]
        return interval(whole, np.array([without[group] for group in groups]).reshape(-1, len(whole)), sizes)

    def _scans(self) -> int:
        """Scans that were compared in any modality."""
        numbers = {number for used in self._used.values() for number in used}
        return sum(
            int(np.logical_or.reduce([used[number] for used in self._used.values() if number in used]).sum())
            for number in numbers
        )


def _number(value: float) -> float | None:
    """For the lake, where NaN is null."""
    return float(value) if np.isfinite(value) else None
