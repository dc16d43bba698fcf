"""From what the blocks of a comparison came to, to rows of tables ccc and agreements."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.agreement_moments import Array, Moments, interval, mean_known, without_each
from analysis.agreement_task import Block, Compared
from lake.tables import BRANCHES

ALL = "all"
"""What stands for all modalities together in table agreements."""

Rows = dict[str, list[dict[str, Any]]]
"""Rows by table."""

Patients = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Agreed:
    """How well one modality agrees.

    Attributes:
        scans: how many were compared. patients: their numbers, each once.
        whole: (features,) the coefficients. without: by group of patients, the coefficients of all others.
    """

    scans: int
    patients: Patients
    whole: Array
    without: Mapping[int, Array]


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
        """Rows of tables ccc and agreements; none where no scan was compared.

        Args:
            pair: the feature sets.
            digest: of what they were computed from.
        """
        place = {"first": pair[0], "second": pair[1]}
        found = {modality: self._agreed(modality) for modality in BRANCHES if self._sums.get(modality)}
        of_features = [
            place | {"modality": modality} | row for modality, one in found.items() for row in self._of_features(one)
        ]
        means = [place | {"modality": modality} | row for modality, row in self._of_means(found).items()]
        return {"ccc": of_features, "agreements": [row | {"input_sha256": digest} for row in means]}

    def _agreed(self, modality: str) -> Agreed:
        sums, used = self._sums[modality], self._used[modality]
        whole = reduce(add, (sums[group] for group in sorted(sums)))
        without = without_each(sums) if len(sums) > 1 else {}
        patients = np.unique(np.concatenate([self._patients[number][mask] for number, mask in sorted(used.items())]))
        left = {group: moments.concordance() for group, moments in without.items()}
        return Agreed(whole.n, patients, whole.concordance(), left)

    def _of_features(self, one: Agreed) -> Iterable[dict[str, Any]]:
        low, high = self._interval(one.whole, one.without, one.patients)
        for feature in range(len(one.whole)):
            yield {
                "feature": feature + 1, "ccc": _number(one.whole[feature]), "low": _number(low[feature]),
                "high": _number(high[feature]), "scans": one.scans, "patients": len(one.patients),
            }  # fmt: skip

    def _of_means(self, found: Mapping[str, Agreed]) -> dict[str, dict[str, Any]]:
        """By modality and for all of them the mean over features, of everybody and of all but one group each."""
        means = {modality: mean_known(one.whole) for modality, one in found.items()}
        without = {
            modality: {group: mean_known(left[np.isfinite(one.whole)]) for group, left in one.without.items()}
            for modality, one in found.items()
        }
        rows = {
            modality: self._of_mean(
                means[modality], without[modality], one.scans, one.patients, int(np.isfinite(one.whole).sum())
            )
            for modality, one in found.items()
        }
        if found:
            groups = sorted(set().union(*without.values()))
            # A modality that has nobody of a group is the same without it.
            everything = {
                group: mean_known(np.array([without[modality].get(group, means[modality]) for modality in found]))
                for group in groups
            }
            patients = np.unique(np.concatenate([one.patients for one in found.values()]))
            features = sum(row["features"] for row in rows.values())
            whole = mean_known(np.array(list(means.values())))
            rows[ALL] = self._of_mean(whole, everything, self._scans(), patients, features)
        return rows

    def _of_mean(
        self, mean: Array, without: Mapping[int, Array], scans: int, patients: Patients, features: int
    ) -> dict[str, Any]:
        low, high = self._interval(mean[None], {group: value[None] for group, value in without.items()}, patients)
        return {
            "mean": _number(mean), "low": _number(low[0]), "high": _number(high[0]), "features": features,
            "scans": scans, "patients": len(patients),
        }  # fmt: skip

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


def _number(value: float | Array) -> float | None:
    """For the lake, where NaN is null."""
    return float(value) if np.isfinite(value) else None
