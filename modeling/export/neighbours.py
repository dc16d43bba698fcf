"""Nearest training patients of a case, and whether the case is out of distribution."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from gliolake.errors import InputError
from gliolake.modeling.export.fitted import check_shapes
from gliolake.modeling.export.folder import DAMAGED, NotAModel
from gliolake.modeling.models.problem import standardisation
from gliolake.schema.vocabulary import FEATURE_LENGTH

NEAREST = 5
"""Patients that are shown, and whose mean distance says how far out a case lies."""

STRANGE = 0.99
"""Share of training patients that lie nearer to the others than a case which is called outside."""

SAME = 0.01
"""Distance below which two scans hold the same vectors, but for their being kept in half precision."""

ASKED = 1000
"""Training scans whose own distances are looked at, at most: enough for a percentile."""


@dataclass(frozen=True)
class Neighbour:
    """A training scan, its patient and label, and how far it lies from the case (``Reference.distances``)."""

    cohort: str
    scan_id: str
    patient_id: str
    methylated: bool
    distance: float

    @property
    def called(self) -> str:
        """The label in words."""
        return "methylated" if self.methylated else "unmethylated"


@dataclass(frozen=True)
class Surroundings:
    """Where a case lies among the training patients.

    Attributes:
        nearest: the nearest patients, one scan each.
        distance: mean distance to them.
        usual, limit: median and 99th percentile of the training patients' own distance to their nearest others.
        percentile: share of training patients that lie nearer to others than the case does.
        same: the training scan whose vectors the case has, if there is one; it is left out of all else.
        fits: (F,) bool: those that were not trained on that scan's patient; all where there is none.
    """

    nearest: tuple[Neighbour, ...]
    distance: float
    usual: float
    limit: float
    percentile: float
    same: Neighbour | None
    fits: np.ndarray

    @property
    def outside(self) -> bool:
        """Whether the case lies further out than 99 of 100 training patients."""
        return self.distance > self.limit


@dataclass(frozen=True)
class Reference:
    """n training scans: standardised vectors (n, K, 400) float16, zero where missing; present (n, K), labels (n,) and
    tested (n, F) bool: by which fits each was tested, and so not trained; names: cohort, scan and patient of each;
    shift and scale (K, 400) float32 of the standardisation.
    """

    vectors: np.ndarray
    present: np.ndarray
    labels: np.ndarray
    tested: np.ndarray
    names: Sequence[tuple[str, str, str]]
    shift: np.ndarray
    scale: np.ndarray

    def tensors(self) -> dict[str, np.ndarray]:
        """By the names under which they are kept; scans' names as JSON in bytes."""
        told = json.dumps(self.names, separators=(",", ":"), ensure_ascii=False).encode()
        return {
            "vectors": self.vectors, "present": self.present, "labels": self.labels, "tested": self.tested,
            "shift": self.shift, "scale": self.scale, "names": np.frombuffer(told, np.uint8),
        }  # fmt: skip

    def look(self, case: np.ndarray) -> Surroundings:
        """Where a case lies, by the branches it has.

        Args:
            case: (K, 400), NaN in a missing branch; at least one is there.

        Raises:
            InputError: no training scan has any of its branches.
        """
        standard, there = _standard(case[None], np.isfinite(case).all(-1)[None], self.shift, self.scale)
        patients = np.array([patient for _, _, patient in self.names])
        away = self.distances(standard, there)[0]
        same = int(away.argmin()) if away.min() < SAME else None
        others = np.ones(len(away), np.bool_) if same is None else patients != patients[same]
        nearest = _of_patients(np.where(others, away, np.inf), patients)
        if not nearest:
            raise InputError("No training scan has any of the modalities that the case has.")
        asked = np.unique(np.linspace(0, len(away) - 1, min(len(away), ASKED)).round().astype(int))
        own = self.distances(self.vectors[asked], self.present[asked] & there)
        own[patients[asked][:, None] == patients] = np.inf
        usual = np.array([row[_of_patients(row, patients)].mean() for row in own if np.isfinite(row).any()])
        distance = float(away[nearest].mean())
        return Surroundings(
            tuple(self._neighbour(row, away) for row in nearest), distance, float(np.median(usual)),
            float(np.quantile(usual, STRANGE)), float((usual < distance).mean()),
            None if same is None else self._neighbour(same, away),
            np.ones(self.tested.shape[1], np.bool_) if same is None else self.tested[patients == patients[same]].all(0),
        )  # fmt: skip

    def distances(self, vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
        """(m, n) float32: root of the mean squared difference, in standard deviations, over the features of the
        branches that both scans have; infinite where there are none.

        Args:
            vectors: (m, K, 400) standardised. present: (m, K) bool.
        """
        squares = np.zeros((len(vectors), len(self.vectors)))
        shared = np.zeros_like(squares)
        with threadpool_limits(1):  # so that sums come out the same on any number of cores
            for branch in range(self.vectors.shape[1]):
                one, other = (of[:, branch].astype(np.float64) for of in (vectors, self.vectors))
                apart = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
                both = present[:, branch, None] & self.present[:, branch]
                squares += np.where(both, np.maximum(apart, 0), 0)
                shared += both
        away = np.full(squares.shape, np.inf)
        return np.sqrt(np.divide(squares, shared * FEATURE_LENGTH, out=away, where=shared > 0))

    def _neighbour(self, row: int, away: np.ndarray) -> Neighbour:
        return Neighbour(*self.names[row], bool(self.labels[row]), float(away[row]))


def make_reference(
    values: np.ndarray, labels: np.ndarray, names: Sequence[tuple[str, str, str]], tested: np.ndarray
) -> Reference:
    """Of training scans (n, K, 400), NaN in a missing branch; tested (n, F) bool."""
    present = np.isfinite(values).all(-1)
    known = np.where(present[..., None], values, 0)
    shift, scale = (of[0] for of in standardisation(known, present, np.ones((1, len(values)), np.bool_)))
    return Reference(*_standard(values, present, shift, scale), labels, tested, names, shift, scale)


def as_reference(tensors: Mapping[str, np.ndarray], branches: int, fits: int) -> Reference:
    """From the tensors under which it was kept.

    Raises:
        NotAModel: one is missing, unknown, or of another shape; or the names are none.
    """
    scans = len(tensors.get("labels", ()))
    file, wide = "reference.safetensors", (branches, FEATURE_LENGTH)
    check_shapes(
        tensors,
        {
            "vectors": (scans, *wide), "present": (scans, branches), "labels": (scans,), "tested": (scans, fits),
            "shift": wide, "scale": wide, "names": tensors.get("names", np.zeros(0)).shape,
        },
        file,
    )  # fmt: skip
    try:
        told = json.loads(bytes(tensors["names"]))
        names = [(str(cohort), str(scan), str(patient)) for cohort, scan, patient in told]
    except (ValueError, TypeError, RecursionError) as error:
        raise NotAModel(f"{file}: the scans' names cannot be read.", hint=DAMAGED) from error
    flags = {name: tensors[name].astype(np.bool_) for name in ("present", "labels", "tested")}
    if len(names) != scans or not scans:
        raise NotAModel(f"{file}: {len(names)} names of {scans} scans.", hint=DAMAGED)
    return Reference(
        tensors["vectors"], flags["present"], flags["labels"], flags["tested"], names, tensors["shift"],
        tensors["scale"],
    )  # fmt: skip


def _standard(
    values: np.ndarray, present: np.ndarray, shift: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised vectors (n, K, 400) float16, zero where missing, and presence."""
    limit = np.finfo(np.float16).max
    standard = np.where(present[..., None], (values - shift) * scale, 0)
    return np.clip(standard, -limit, limit).astype(np.float16), present


def _of_patients(away: np.ndarray, patients: np.ndarray) -> list[int]:
    """Rows of the nearest patients' nearest scans, at most ``NEAREST``, the nearest first."""
    found: dict[str, int] = {}
    for row in np.argsort(away, kind="stable"):
        if len(found) == NEAREST or not np.isfinite(away[row]):
            break
        found.setdefault(patients[row], int(row))
    return list(found.values())
