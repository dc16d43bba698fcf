"""400 numbers of a clip from 200 fixed random convolutions: the study's control, with nothing to download.

After ROCKET (Dempster et al. 2020, random convolutional kernels for time series), for films: if networks trained on
Kinetics-400 beat this, they bring something to MRI that any filter bank would not.

Everything is done in integers. Pooled voxels are sums of eight uint8 and stay below 2¹¹, a kernel's absolute weights
sum to 2912 at most, so a response, a bias and every partial sum of them is an integer below 2²³, which float32 holds
exactly whatever the order of summation, the width of the vector unit, or the use of fused multiply-add. Hence a clip
has one vector, to the bit, on every machine, with any number of threads or workers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError
from gliolake.process.compiled import njit
from gliolake.schema.vocabulary import FEATURE_LENGTH

REVISION = 1
"""Part of every recipe: raised when this module comes to compute other numbers from the same seed."""

KERNELS = FEATURE_LENGTH // 2
POOL = 2
DILATIONS = (1, 2, 4, 8)
"""Steps between the taps of a kernel, in pooled voxels: a kernel spans 3 to 17 of them, 6 to 34 voxels of the scan."""

LARGEST_RAW_WEIGHT = 4
THRESHOLDS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
"""Grey levels that a response must exceed; the larger ones answer to edges and tumour, the smaller ones to texture."""

SMALLEST_POOLED_EDGE = 2 * max(DILATIONS) + 1


@dataclass(frozen=True)
class Kernels:
    """The filter bank, sorted by dilation, then threshold, so that neighbours in a vector are of one kind.

    Attributes:
        weights: (200, 27) float32 of integers, each row summing to 0; the taps in order frame, row, column.
        biases: (200,) float32 of integers, never negative.
        dilations: (200,) int64.
        norms: (200,) float64, what a response is divided by to be in grey levels.
    """

    weights: npt.NDArray[np.float32]
    biases: npt.NDArray[np.float32]
    dilations: npt.NDArray[np.int64]
    norms: npt.NDArray[np.float64]


def draw_kernels(seed: int) -> Kernels:
    """The 200 kernels of a seed.

    They are made from the raw 64-bit stream of PCG64, which numpy promises not to change, and not from the methods
    of ``Generator``, which it may.

    Raises:
        InputError: the seed is negative.
    """
    if seed < 0:
        raise InputError(f"Seed {seed} is negative.", hint="Any whole number from 0 on will do.")
    words = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(KERNELS * 29)
    stream = words.reshape(KERNELS, 29) >> np.uint64(33)
    choices = 2 * LARGEST_RAW_WEIGHT + 1
    raw = (stream[:, :27] % np.uint64(choices)).astype(np.int64) - LARGEST_RAW_WEIGHT
    raw[np.ptp(raw, axis=1) == 0, 13] += 1  # a kernel of equal taps would be no kernel once its mean is taken off
    weights = 27 * raw - raw.sum(axis=1, keepdims=True)  # zero mean without leaving the integers
    dilations = np.array(DILATIONS)[(stream[:, 27] % np.uint64(len(DILATIONS))).astype(np.int64)]
    thresholds = np.array(THRESHOLDS)[(stream[:, 28] % np.uint64(len(THRESHOLDS))).astype(np.int64)]
    norms = np.array([POOL**3 * math.isqrt(int(total)) for total in (weights**2).sum(axis=1)])
    order = np.lexsort((thresholds, dilations))  # stable: equal kinds keep the order of the stream
    biases = (thresholds * norms)[order]
    return Kernels(
        weights[order].astype(np.float32), biases.astype(np.float32), dilations[order], norms[order].astype(np.float64)
    )


class RandomConv:
    """The backbone. Frozen by its seed; holds 22 kB of kernels and, while it works, twice the pooled clip."""

    name = "random_conv"
    weights = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.kernels = draw_kernels(seed)
        self._loaded = False

    def recipe(self) -> dict[str, Any]:
        """What the numbers rest on. No library versions: none of them can change an exact integer."""
        return {
            "revision": REVISION,
            "seed": self.seed,
            "kernels": KERNELS,
            "pool": POOL,
            "dilations": list(DILATIONS),
            "thresholds": list(THRESHOLDS),
            "largest_raw_weight": LARGEST_RAW_WEIGHT,
            "statistics": ["share of responses above threshold", "mean excess over threshold"],
            "precision": "exact integers, vectors float32",
            "versions": {},
        }

    def load(self) -> None:
        """Have the loop compiled, and see that it runs here, before a scan could be blamed that it does not."""
        if not self._loaded:
            clip = np.zeros((POOL * SMALLEST_POOLED_EDGE,) * 3, np.uint8)
            clip[1:-1, 1:-1, 1:-1] = 200
            self.vectors([clip])
            self._loaded = True

    def vectors(
        self,
        clips: list[npt.NDArray[np.uint8]],
        tumour_slices: tuple[int, int] | None = None,
    ) -> npt.NDArray[np.float32]:
        """The vectors (n, 400) float32 of clips (frame, row, column) uint8; where the tumour lies does not matter.

        Entry 2k is the share (0–1) of kernel k's responses that exceed its threshold, entry 2k + 1 their mean excess in
        grey levels, over all places where the whole kernel lies within the clip (so the clip's edge is no edge).

        Raises:
            InputError: a clip is not three-dimensional uint8 or shorter than the widest kernel along an axis.
        """
        vectors = np.empty((len(clips), FEATURE_LENGTH), np.float32)
        for row, clip in zip(vectors, clips, strict=True):
            row[:] = self._vector(clip)
        return vectors

    def _vector(self, clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        pooled = pool_sums(clip)
        bank = self.kernels
        above, excess = np.zeros(KERNELS, np.int64), np.zeros(KERNELS, np.int64)
        places = np.empty(KERNELS, np.int64)
        first, last = _content(pooled)
        for dilation in DILATIONS:
            mine = bank.dilations == dilation
            places[mine] = math.prod(edge - 2 * dilation for edge in pooled.shape)
            # Weights sum to 0 and biases are not negative, so a response whose taps all see the same grey counts
            # for nothing: only the surroundings of what differs from the corner need be visited.
            lower = np.maximum(first - 2 * dilation, 0)
            upper = np.minimum(last + 2 * dilation, pooled.shape)
            window = tuple(slice(low, high) for low, high in zip(lower, upper, strict=True))
            part = np.ascontiguousarray(pooled[window])
            above[mine], excess[mine] = _responses(part, bank.weights[mine], bank.biases[mine], dilation)
        vector = np.empty(FEATURE_LENGTH, np.float32)
        vector[0::2] = above / places
        vector[1::2] = excess / (places * bank.norms)
        return vector


def pool_sums(clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Sums of 2 × 2 × 2 voxels, float32 of integers up to 2040; an odd last frame, row or column is left out.

    The value in the first corner is taken off, which no zero-mean kernel can tell, and leaves background as 0.
    """
    if clip.ndim != 3 or clip.dtype != np.uint8:
        raise InputError(f"A clip must be a 3-dimensional array of uint8, not {clip.ndim}-dimensional {clip.dtype}.")
    if min(clip.shape) // POOL < SMALLEST_POOLED_EDGE:
        raise InputError(
            f"A clip of {' × '.join(map(str, clip.shape))} is too small for random_conv, whose widest kernel needs "
            f"{POOL * SMALLEST_POOLED_EDGE} frames, rows and columns.",
            hint="Choose a larger box and more slices.",
        )
    frames, rows, columns = (edge // POOL * POOL for edge in clip.shape)
    even = clip[:frames, :rows, :columns].astype(np.uint16)
    pooled = even[0::2] + even[1::2]
    pooled = pooled[:, 0::2] + pooled[:, 1::2]
    pooled = pooled[:, :, 0::2] + pooled[:, :, 1::2]
    sums: npt.NDArray[np.float32] = pooled.astype(np.float32)
    sums -= sums[0, 0, 0]
    return sums


def _content(pooled: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First and last-plus-one index, per axis, of what is not 0; an empty box where all is."""
    filled = pooled != 0
    bounds = [np.flatnonzero(filled.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    if any(at.size == 0 for at in bounds):
        return np.zeros(3, np.int64), np.zeros(3, np.int64)
    return np.array([at[0] for at in bounds]), np.array([at[-1] + 1 for at in bounds])


@njit(nogil=True, fastmath={"contract"})
def _responses(
    pooled: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], biases: npt.NDArray[np.float32], dilation: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:  # pragma: no cover - compiled
    """Per kernel, how many responses exceed the bias and the sum of their excess, over the whole of ``pooled``.

    A frame's responses are computed as one long line of voxels, nine taps at a time, which the compiler vectorises four
    times better than short rows. At the end of every row the line holds responses that reach around the edge; they are
    never looked at. An excess is summed in int32, which vectorises, over 256 columns at most, and 256 × 2²³ just fits.
    """
    frames, rows, columns = pooled.shape
    above = np.zeros(weights.shape[0], np.int64)
    excess = np.zeros(weights.shape[0], np.int64)
    width = columns - 2 * dilation
    if frames <= 2 * dilation or rows <= 2 * dilation or width <= 0:
        return above, excess
    down, length = dilation * columns, (rows - 2 * dilation) * columns - 2 * dilation
    lines = pooled.reshape(frames, rows * columns)
    response = np.empty(length, np.float32)
    for k in range(weights.shape[0]):
        for t in range(frames - 2 * dilation):
            response[:] = -biases[k]
            for i in range(3):
                a, b, c, d, e, f, g, h, m = weights[k, 9 * i : 9 * i + 9]
                upper = lines[t + i * dilation]
                middle, lower = upper[down:], upper[2 * down :]
                a0, b0, c0 = upper[:length], upper[dilation:][:length], upper[2 * dilation :][:length]
                d0, e0, f0 = middle[:length], middle[dilation:][:length], middle[2 * dilation :][:length]
                g0, h0, m0 = lower[:length], lower[dilation:][:length], lower[2 * dilation :][:length]
                for x in range(length):
                    response[x] += (
                        (a * a0[x] + b * b0[x] + c * c0[x])
                        + (d * d0[x] + e * e0[x] + f * f0[x])
                        + (g * g0[x] + h * h0[x] + m * m0[x])
                    )
            for y in range(rows - 2 * dilation):
                for start in range(0, width, 256):
                    count, total = np.int32(0), np.int32(0)
                    for value in response[y * columns + start : y * columns + min(start + 256, width)]:
                        count += np.int32(value > 0)
                        total += np.int32(max(value, np.float32(0)))
                    above[k] += count
                    excess[k] += total
    return above, excess
