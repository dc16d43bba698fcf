"""Search for suspected duplicates: pairs with similar whitened vectors, ranked by expected false positives.

What a cohort's scanners and preprocessing add to the vectors is taken out (ComBat, over cohorts), and each modality is
whitened: what sets all people apart counts as much as what sets a few apart, so that neither tumour size nor brightness
decides alone who resembles whom. The similarity of two scans is the mean of their cosines over modalities: 0 is usual,
1 is the same.

Similarities of different people are taken to have the law of the cosine of two random directions in k dimensions, whose
mean square is 1/k. k is learned for each scan, which may lie in a crowded place or a lonely one; and from the law
follows how many pairs of different people are expected to be as similar as a given one in the whole search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincc, betainccinv

from gliolake.errors import InputError
from gliolake.modeling.models.harmonisation import FEWEST, fit_combat

MOST_COMPONENTS = 128
"""Principal components of a modality at most; and never more than half as many as there are scans, since vectors
whitened in as many directions as there are scans are all at right angles."""

REFERENCE = 4096
"""Scans, evenly spaced, whose pairs show what is usual."""

LEAST = 2.0
"""Dimensions at least: of directions on a line all are the same."""

BLOCK = 4096
"""Rows and columns of a block of pairs: 64 MB in float32."""

MOST_COPIES = 3
"""Others that a scan may resemble. One that resembles more is like a crowd (blank images, say), not like a person."""

MOST_PAIRS = 10_000_000
"""Pairs that a search keeps: 160 MB."""


@dataclass(frozen=True)
class Directions:
    """Where n scans lie, seen from the middle of all.

    Attributes:
        of: for each modality (n, k) float32 of length 1; zeros where the scan has no usable vector.
        present: (n, modalities) float32, 1 where it has one.
    """

    of: Sequence[np.ndarray]
    present: np.ndarray

    def similarity(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(rows, columns) float32. Of fewer modalities it spreads more, which is made up for as if they were
        independent."""
        product = sum(at[rows] @ at[columns].T for at in self.of)
        shared = self.present[rows] @ self.present[columns].T
        return np.asarray(product / np.sqrt(np.maximum(shared, 1) * max(self.present.any(0).sum(), 1)))

    def cosines(self, first: int, second: int) -> np.ndarray:
        """(modalities,) float64 of one pair; NaN where one of the two has no vector."""
        found = [float(at[first] @ at[second]) for at in self.of]
        return np.where(self.present[first] * self.present[second] > 0, found, np.nan)


def directions(vectors: Iterable[tuple[np.ndarray, np.ndarray]], cohorts: np.ndarray) -> Directions:
    """From vectors, for each modality (n, features) and (n,) bool, which of them are usable; cohorts: (n,) from 0."""
    of, present = [], []
    for values, usable in vectors:
        there = usable & (np.bincount(cohorts, usable)[cohorts] >= FEWEST)
        white = whiten(values[there], cohorts[there])
        of.append(np.zeros((len(values), white.shape[1]), np.float32))
        of[-1][there] = white / np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-30)
        present.append((there & (white.shape[1] > 0)).astype(np.float32))
    return Directions(of, np.stack(present, 1))


def whiten(values: np.ndarray, cohorts: np.ndarray) -> np.ndarray:
    """Vectors (n, features) of scans of cohorts (n,), two or more of each, as (n, k) uncorrelated and of one spread.

    k is 0 where no feature differs between scans of one cohort.
    """
    nothing = np.zeros((len(values), 0))
    if len(values) < 2:
        return nothing
    centred = values.astype(np.float64)
    if len(np.unique(cohorts)) > 1:
        centred = fit_combat(values, cohorts).apply(centred, cohorts)
    centred -= centred.mean(0)
    spread = centred.std(0)
    varies = spread > 1e-6 * np.abs(values).max(0)
    if not varies.any():
        return nothing
    centred = centred[:, varies] / spread[varies]
    variance, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(variance)[::-1][: min(MOST_COMPONENTS, len(values) // 2)]
    order = order[variance[order] > 1e-6 * variance[order[0]]]
    return np.asarray(centred @ (axes[:, order] / np.sqrt(variance[order])))


@dataclass(frozen=True)
class Chance:
    """What is to be expected of ``pairs`` pairs of different people.

    k: (n,) float64, for each scan; of a pair the geometric mean counts.
    """

    pairs: float
    k: np.ndarray

    def expected(self, similarity: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """How many pairs are expected to be as similar as these of the ``first`` and ``second`` scans, or more."""
        k = np.sqrt(self.k[first] * self.k[second])
        beyond = betaincc(0.5, (k - 1) / 2, np.clip(similarity, 0, 1, dtype=np.float64) ** 2)
        return np.asarray(self.pairs * np.where(similarity > 0, beyond / 2, 1))

    def nearest(self, most: float) -> float:
        """What no pair of which ``most`` or fewer are expected falls short of: its similarity times the root of k."""
        least = self.k.min()
        return float(np.sqrt(least * betainccinv(0.5, (least - 1) / 2, min(2 * most / self.pairs, 1))))


def chance(scans: Directions, patients: np.ndarray) -> Chance | None:
    """What is usual among scans of different patients (n,); None where too little is there to tell."""
    number = len(patients)
    some = np.unique(np.linspace(0, number - 1, min(number, REFERENCE)).astype(np.int64))
    k = np.full(number, np.nan)
    for at in range(0, number, BLOCK):
        rows = np.arange(at, min(at + BLOCK, number))
        compared = (scans.present[rows] @ scans.present[some].T > 0) & (patients[rows, None] != patients[some])
        squares = np.where(compared, scans.similarity(rows, some), 0).astype(np.float64) ** 2
        np.divide(compared.sum(1), squares.sum(1), out=k[rows[0] : rows[-1] + 1], where=squares.sum(1) > 0)
    usual = np.median(k[np.isfinite(k)]) if np.isfinite(k).any() else 0
    return (
        Chance(number * (number - 1) / 2, np.maximum(np.where(np.isnan(k), usual, k), LEAST)) if usual > LEAST else None
    )


def similar_pairs(
    scans: Directions, patients: np.ndarray, usual: Chance, most: float, advance: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Rows (first, second) of the pairs of different patients (n,) of whose similarity at most so many are expected.

    Raises:
        InputError: there are far too many.
    """
    found, number, nearest, root = [], 0, usual.nearest(most) * (1 - 1e-5), usual.k.astype(np.float32) ** 0.25
    for at in range(0, len(patients), BLOCK):
        rows = np.arange(at, min(at + BLOCK, len(patients)))
        for to in range(at, len(patients), BLOCK):
            columns = np.arange(to, min(to + BLOCK, len(patients)))
            similarity = scans.similarity(rows, columns)
            near = np.nonzero(similarity * root[rows, None] * root[columns] >= nearest)
            first, second = rows[near[0]], columns[near[1]]
            kept = (first < second) & (patients[first] != patients[second])
            kept &= usual.expected(similarity[near], first, second) <= most
            found.append(np.stack([first[kept], second[kept]], 1))
            number += len(found[-1])
            if number > MOST_PAIRS:
                raise InputError(
                    "Far too many pairs are more similar than people are: these vectors do not tell people apart.",
                    hint="Compare vectors of another feature set: --feature-set.",
                )
        advance()
    pairs = np.concatenate(found)
    times = np.bincount(pairs.ravel(), minlength=len(patients))
    return pairs[(times[pairs] <= MOST_COPIES).all(1)]
