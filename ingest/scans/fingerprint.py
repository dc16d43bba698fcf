"""Fingerprints of images: a few numbers of the voxel values, independent of storage, and images that share them.

A scan that is released again is turned, packed, stored in another type or rescaled to it, and may have lost its header:
then nothing says which way its axes run. A digest of its bytes, or of its values, breaks at the first voxel that is
rounded the other way, so images are compared by numbers that rounding hardly moves. They are taken after the header's
scaling, from the image laid upon its mirror images along all axes; no gain or offset changes them, and no turn.

Their distance estimates how far two images lie apart, in standard deviations of their values, since sums over random
signs keep distances (Johnson and Lindenstrauss 1984). On real scans it is 0.00004 after rounding to 16 bits, up to
0.006 after rounding to 8 bits; 0.02 or more with noise of a hundredth of the brightest voxel, 0.04 or more for the
image moved by a voxel, 0.07 or more for two modalities of one patient, 0.2 or more for two patients in one atlas space.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

MEANS, SUMS = 8, 16
LENGTH = MEANS + SUMS
"""Numbers that an image is known by: the mean of each octant once it is folded, and sums with random signs."""

SAME = 0.01
"""Distance, in standard deviations, up to which two images are the same one, saved with other rounding."""

SAME_MEANS = 0.002
"""How far their octants' means may lie apart: rounding to 8 bits moves them by up to 0.0008."""

_PLACES = 32
"""Places that are looked at along each axis, at most."""

_FEWEST = 1000
"""Places of the smallest image that is known by its values: two smaller ones may be equal by chance."""

_TAIL = 0.005
"""Share of the values at either end that are clipped, lest a few bright voxels hide all others."""

_FLAT = 1e-3
"""Standard deviation, in shares of the values' range, of an image that its own mirror images cancel out."""

_KEYED = 5
"""Means that near images are looked up by."""

Floats = npt.NDArray[np.floating]


def content_of(voxels: npt.NDArray[np.generic]) -> list[float]:
    """The ``LENGTH`` numbers that an image (i, j, k) is known by, exact as float32; none where it shows too little.

    That is an image of fewer than 10 × 10 × 10 voxels, or with nothing but a ground in 99.5 % of it.
    """
    voxels = voxels.transpose(np.argsort(voxels.shape, kind="stable"))
    values: Floats = voxels[np.ix_(*map(_places, voxels.shape))].astype(np.float64)
    tail = int(_TAIL * values.size)
    ordered = np.partition(values.ravel(), [tail, values.size - 1 - tail])
    low, high = ordered[tail], ordered[values.size - 1 - tail]
    if values.size < _FEWEST or not low < high:
        return []
    values = _folded(np.clip((values - low) / (high - low), 0, 1), voxels.shape)
    if not values.std() > _FLAT:
        return []
    values = (values - values.mean()) / values.std()
    halves = [(slice(size // 2), slice(size // 2, None)) for size in values.shape]
    octants = [values[octant] for octant in product(*halves)]
    means = [octant.mean() if octant.size else 0.0 for octant in octants]
    signs, sums = _random(values.size)
    signed = np.bincount(sums, signs * values.ravel(), minlength=SUMS) / np.sqrt(values.size / SUMS)
    return [float(number) for number in np.array([*means, *signed], np.float32)]


def _places(size: int) -> npt.NDArray[np.intp]:
    """The places that are looked at along an axis: spread evenly, and the same from either end."""
    count = min(size, _PLACES)
    lower = (2 * np.arange((count + 1) // 2) + 1) * size // (2 * count)
    return np.concatenate([lower, size - 1 - lower[: count // 2][::-1]])


def _folded(values: Floats, sizes: tuple[int, ...]) -> Floats:
    """An eighth of an image, with the means of all places that mirrors and swaps of equally long axes bring there."""
    for axis in range(3):
        values = values + np.flip(values, axis)
    eighth = values[tuple(slice((size + 1) // 2) for size in values.shape)]
    swaps = [order for order in permutations(range(3)) if [sizes[axis] for axis in order] == [*sizes]]
    folded: Floats = np.mean([eighth.transpose(order) for order in swaps], axis=0) / 8
    return folded


def distance(one: Floats, other: Floats) -> float:
    """About the root mean square of the difference of two images, each with mean 0 and standard deviation 1."""
    return float(np.sqrt(np.mean(np.square(np.subtract(one, other)[MEANS:], dtype=np.float64))))


def same_content(contents: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """(n, ``LENGTH``) -> (n,): a number for each image; those of the same content, over any others, have the same."""
    packed = np.ascontiguousarray(contents, "<f4").reshape(-1, LENGTH)
    numbers: dict[bytes, int] = {}  # what is equal to the last bit is compared once
    indices = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in packed], np.intp)
    distinct = np.frombuffer(b"".join(numbers), "<f4").reshape(-1, LENGTH)
    pairs = np.concatenate([_near(distinct, shift) for shift in range(_KEYED + 1)], axis=1)
    if not pairs.size:
        return indices
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components  # a fifth of a second, where it is needed

    graph = coo_array((np.ones(pairs.shape[1], bool), tuple(pairs)), shape=(len(distinct), len(distinct)))
    groups: npt.NDArray[np.intp] = connected_components(graph, directed=False)[1][indices].astype(np.intp)
    return groups


def _near(contents: npt.NDArray[np.float32], shift: int) -> npt.NDArray[np.intp]:
    """(2, pairs): images of the same content whose first means fall into the same cell of one of ``_KEYED`` + 1 grids.

    The grids are shifted against each other by more than ``SAME_MEANS``, so an edge of at most one of them lies between
    any two such means: two images of the same content share a cell in at least one grid.
    """
    cells = np.floor(contents[:, :_KEYED] / ((_KEYED + 2) * SAME_MEANS) + shift / (_KEYED + 1)).astype(np.int64)
    keys = (cells + 512) @ (1 << 10 * np.arange(_KEYED, dtype=np.int64))  # a mean of such values is no larger than 3
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    found = [np.empty((2, 0), np.intp)]
    at, step = np.arange(len(keys)), 1
    while (at := at[at + step < len(keys)]).size and (at := at[keys[at] == keys[at + step]]).size:
        pair = np.stack([order[at], order[at + step]])
        apart = contents[pair[0]] - contents[pair[1]]
        close = np.abs(apart[:, :MEANS]).max(axis=1) <= SAME_MEANS
        close &= np.square(apart[:, MEANS:]).mean(axis=1) <= SAME**2
        found.append(pair[:, close])
        step += 1
    return np.concatenate(found, axis=1)


@lru_cache(maxsize=4)
def _random(size: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    """For each of ``size`` places the sign of its value, and the sum that it goes to; never other ones."""
    raw = np.random.PCG64(1984).random_raw(size)  # a stream that numpy promises to keep, unlike its distributions
    return np.where(raw & 1, 1.0, -1.0), (raw >> np.uint64(1) & np.uint64(SUMS - 1)).astype(np.intp)
