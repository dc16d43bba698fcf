"""Which pairs of scans are more alike than any two people should be, and how many such pairs chance would bring.

The nearness of a pair is the sum over modalities of the logarithm of its squared distance, less what is usual for each
of the two scans, which may lie in a crowded place or a lonely one. Of pairs of different people the nearest follow an
exponential law (a power law of the distance, as between points of a cloud of some dimension: Levina and Bickel 2004,
NIPS 17:777-784). Its slope is fitted to near pairs with the nearest censored, half as many as there are scans, since
those may be people counted twice. From it follows how many pairs of different people are expected to be as near as a
given one in the whole search. The law thins out more slowly than the logarithm of a sum of squares does, so this number
is more likely too high than too low.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from gliolake.analysis.duplicates.vectors import Places
from gliolake.errors import InputError
from gliolake.log.progress import track
from gliolake.process.threads import calls_at_once

FLOOR = 0.01
"""Least squared distance that counts: one modality that is the same to the bit does not decide alone."""

REFERENCE = 4096
"""Scans, evenly spaced and as many of each cohort, by which is learned what is usual."""

NOBODY = -1000.0
"""Usual nearness where a cohort has hardly anybody but the scan's own patient: so low that no pair is nearer."""

BLOCK = 4096
"""Rows and columns of a block of pairs: 64 MB in float32."""

MOST_COPIES = 3
"""Others that a scan may resemble. One that resembles more is like a crowd (blank images, say), not like a person."""

MOST_PAIRS = 10_000_000
"""Pairs that a search keeps: 160 MB."""

TOO_MANY = "Far too many pairs are nearer than people are: these vectors do not tell people apart."

PASSES = 8
"""Searches at most, each of which learns what is usual without the pairs that the one before found."""

MARGIN = 1e-3
"""Nearness that rounding in a block may take from a pair; what comes this close to the limit is computed anew."""


@dataclass(frozen=True)
class Tail:
    """How many pairs of different people are expected beyond a nearness.

    pairs: expected as near as ``start`` or nearer, of all pairs searched; slope: of the law beyond it; freedom: pairs
    that the slope was fitted to.
    """

    start: float
    slope: float
    pairs: float
    freedom: int

    def expected(self, nearness: np.ndarray) -> np.ndarray:
        """Pairs expected to be as near; with the uncertainty of the slope, which makes it a Pareto law."""
        beyond = np.maximum(self.start - nearness, 0) * self.slope
        number: np.ndarray = self.pairs * (1 + beyond / self.freedom) ** -float(self.freedom)
        return number

    def limit(self, pairs: float) -> float:
        """The nearness at which ``pairs`` are expected."""
        return self.start - self.freedom * ((self.pairs / pairs) ** (1 / self.freedom) - 1) / self.slope


class Search:
    """All pairs of scans, in blocks.

    Args:
        places: of n scans.
        patients: (n,) the patient of each; scans of one are neither looked for nor learned from.
    """

    def __init__(self, places: Places, patients: np.ndarray) -> None:
        self.places = places
        self.patients = np.unique(patients, return_inverse=True)[1]
        self.squares = [np.einsum("nk,nk->n", one, one) for one in places.coordinates]
        self.count = len(places.scans)
        cohorts = [np.flatnonzero(places.cohorts == cohort) for cohort in np.unique(places.cohorts)]
        reference = np.concatenate([_spaced(rows, REFERENCE // len(cohorts)) for rows in cohorts])
        with threadpool_limits(1):  # sums that do not depend on how many cores there are
            self.usual = self._usual(reference)
            self.tail = self._tail(reference)

    def found(self, most: float, advance: Callable[[], None] = lambda: None) -> np.ndarray:
        """Rows (first, second) of pairs as near as at most ``most`` pairs of different people are expected to be.

        advance: called once per block, of which ``blocks`` is the number.

        Raises:
            InputError: there are more than ``MOST_PAIRS``.
        """
        if self.tail is None:
            return np.zeros((0, 2), np.int64)
        pairs: list[np.ndarray] = []
        nearer = partial(self._nearer, limit=self.tail.limit(most) + MARGIN)
        with threadpool_limits(1), ThreadPoolExecutor(calls_at_once()) as pool:
            for near in pool.map(nearer, self._blocks()):
                pairs.append(near)
                if sum(map(len, pairs)) > MOST_PAIRS:
                    pool.shutdown(cancel_futures=True)
                    raise InputError(TOO_MANY, hint="Look at some of the scans: gliolake preview SCAN.")
                advance()
        candidates = np.concatenate(pairs)
        return candidates[self.expected(candidates) <= most]

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        along = -(-self.count // BLOCK)
        return along * (along + 1) // 2

    def known(self) -> np.ndarray:
        """Rows (first, second) of pairs of scans of one patient."""
        order = np.argsort(self.patients, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(self.patients[order])) + 1)
        pairs = [pair for group in groups for pair in combinations(sorted(group.tolist()), 2)]
        return np.array(pairs, np.int64).reshape(-1, 2)

    def expected(self, pairs: np.ndarray) -> np.ndarray:
        """Pairs of different people expected in the whole search to be as near as each of ``pairs``; float64.

        Infinite where nothing can be told.
        """
        if self.tail is None:
            return np.full(len(pairs), np.inf)
        squared = np.maximum(np.nan_to_num(self.distances(pairs) ** 2, nan=1.0), FLOOR)
        first, second = pairs.T
        cohorts = self.places.cohorts
        usual = self.usual[first, cohorts[second]] + self.usual[second, cohorts[first]]
        return self.tail.expected(np.log(squared).sum(1) - usual)

    def distances(self, pairs: np.ndarray) -> np.ndarray:
        """Distance (pairs, modalities) float64 of each pair, 1 being usual; NaN where one of them has no vector."""
        first, second = pairs.T
        apart = np.full((len(pairs), len(self.places.coordinates)), np.nan)
        for modality, at in enumerate(self.places.coordinates):
            both = self.places.present[first, modality] & self.places.present[second, modality]
            differ = at[first[both]].astype(np.float64) - at[second[both]]
            apart[both, modality] = np.sqrt(np.einsum("nk,nk->n", differ, differ))
        return apart

    def _nearer(self, block: tuple[np.ndarray, np.ndarray], limit: float) -> np.ndarray:
        """Rows (first, second) of the pairs in a block that are nearer than a limit."""
        rows, columns = block
        near = np.argwhere(self._nearness(rows, columns) < limit)
        pairs = np.stack([rows[near[:, 0]], columns[near[:, 1]]], 1)
        return pairs[pairs[:, 0] < pairs[:, 1]]

    def _blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        parts = [np.arange(at, min(at + BLOCK, self.count)) for at in range(0, self.count, BLOCK)]
        for place, rows in enumerate(parts):
            for columns in parts[place:]:
                yield rows, columns

    def _raw(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Sum over modalities of log squared distance, float32; a modality that one of the two lacks counts as usual.

        Infinite between scans of one patient.
        """
        product = np.ones((len(rows), len(columns)), np.float32)
        for modality, (at, square) in enumerate(zip(self.places.coordinates, self.squares, strict=True)):
            squared = at[rows] @ at[columns].T
            squared *= -2
            squared += square[rows, None]
            squared += square[columns]
            np.maximum(squared, FLOOR, out=squared)
            squared[~self.places.present[rows, modality]] = 1
            squared[:, ~self.places.present[columns, modality]] = 1
            product *= squared
        np.log(product, out=product)
        product[self.patients[rows, None] == self.patients[columns]] = np.inf
        return product

    def _nearness(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """As ``_raw``, less what is usual for both scans with regard to each other's cohort."""
        near = self._raw(rows, columns)
        cohorts = self.places.cohorts
        for cohort in np.unique(cohorts[columns]):
            near[:, cohorts[columns] == cohort] -= self.usual[rows, cohort, None]
        for cohort in np.unique(cohorts[rows]):
            near[cohorts[rows] == cohort] -= self.usual[columns, cohort]
        return near

    def _usual(self, reference: np.ndarray) -> np.ndarray:
        """(n, cohorts) float32: median nearness of each scan to the people of each cohort, less its half of the median
        over both cohorts, so that the sum of two scans' parts is usual for the pair."""
        cohorts = self.places.cohorts
        number = int(cohorts.max()) + 1
        usual = np.zeros((self.count, number), np.float32)
        for at in range(0, self.count, BLOCK):
            rows = np.arange(at, min(at + BLOCK, self.count))
            for cohort in range(number):
                usual[rows, cohort] = np.median(self._raw(rows, reference[cohorts[reference] == cohort]), 1)
        usual[~np.isfinite(usual)] = NOBODY
        level = np.stack([np.median(usual[cohorts == cohort], 0) for cohort in range(number)])
        return usual - ((level + level.T) / 4)[cohorts]

    def _tail(self, reference: np.ndarray) -> Tail | None:
        """The law of near pairs, from the pairs of the reference; None where there are too few, or all are alike."""
        kept = []
        for at in range(0, len(reference), BLOCK):
            rows = reference[at : at + BLOCK]
            near = self._nearness(rows, reference)
            kept.append(near[(rows[:, None] < reference) & np.isfinite(near)].astype(np.float64))
        near = np.concatenate(kept)
        seen, censored = len(near), len(reference) // 2
        used = 3 * censored
        if seen <= used:
            return None
        near = np.sort(np.partition(near, used)[:used])
        start, end = near[censored - 1], near[-1]
        total = (end - near[censored:]).sum() + censored * (end - start)
        if not total > 1e-9 * used:
            return None
        searched = self.count * (self.count - 1) / 2
        slope = (used - censored) / float(total)
        return Tail(float(start), slope, searched * censored / seen, used - censored)


def search(places: Places, patients: np.ndarray, most: float) -> tuple[Search, np.ndarray]:
    """Search again and again, taking each time the pairs found before for one person, until nothing new is found.

    Returns:
        The last search, and rows (first, second) of all pairs of scans of different ``patients`` (n,) that are as near
        as at most ``most`` pairs of different people are expected to be.
    """
    joined = patients
    for number in range(1, PASSES + 1):
        last = Search(places, joined)
        with track(f"comparing {last.count:,} scans, pass {number}", last.blocks) as advance:
            fresh = uncrowded(last.found(most, advance), last.count)
        if not len(fresh):
            break
        joined = _joined(last.patients, fresh)
    pairs = last.known()
    pairs = pairs[patients[pairs[:, 0]] != patients[pairs[:, 1]]]
    return last, uncrowded(pairs[last.expected(pairs) <= most], last.count)


def _joined(patients: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Patients (n,), numbered, after those of each pair were found to be one."""
    number = int(patients.max()) + 1
    ties = coo_array((np.ones(len(pairs)), tuple(patients[pairs].T)), (number, number))
    one: np.ndarray = connected_components(ties, directed=False)[1]
    return one[patients]


def uncrowded(pairs: np.ndarray, count: int) -> np.ndarray:
    """The pairs, of ``count`` scans, both of which are in at most ``MOST_COPIES`` of them."""
    times = np.bincount(pairs.ravel(), minlength=count)
    return pairs[(times[pairs] <= MOST_COPIES).all(1)]


def _spaced(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(np.int64)]
