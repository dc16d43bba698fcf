"""A clip becomes what a video network takes: some of its slices, resized, in three channels, normalised.

A clip has one frame per slice (150 of 128 × 128 in the study), a network of Kinetics-400 takes 32 frames of 112 × 112
or 224 × 224. Everything here is a pure function of the clip.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError, check_choice

Frames = npt.NDArray[np.float32]

SAMPLINGS = ("uniform", "tumour", "released")
"""``uniform``: evenly over the clip. ``tumour``: evenly over the slices that hold tumour. ``released``: the first
slices, as the study's script takes them from any film longer than its 32 frames (REPLICATION.md, contradiction 11)."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network wants to see. All of it goes into the recipe.

    Attributes:
        frames: Number of frames.
        size: Height and width, pixels.
        mean, deviation: Per channel (red, green, blue), in grey levels divided by 255: a pixel g of 0–255 becomes
            (g / 255 − mean) / deviation.
        source: Where these numbers come from.
    """

    frames: int
    size: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    source: str

    def recipe(self) -> dict[str, Any]:
        """The settings as JSON values, with the way of resizing, which is the same for all networks."""
        return {**asdict(self), "mean": list(self.mean), "deviation": list(self.deviation), "resize": RESIZE}


RESIZE = "whole frame, bilinear, antialiased, no crop"
"""The published transforms resize a film's shorter side to 256 (or 128) and cut the centre of 224 (or 112) out of it.
A clip's box begins at the tumour's left and upper boundary, so such a crop would cut the tumour: the box is resized
whole instead. Antialiasing matters only where a frame shrinks (128 to 112)."""


def sample_frames(
    slices: int, frames: int, sampling: str = "uniform", tumour_slices: tuple[int, int] | None = None
) -> npt.NDArray[np.int64]:
    """Indices of the slices that become frames, (frames,) int64, never falling.

    An even choice divides the slices into as many equal parts as there are frames and takes the middle of each. A
    tumour that is shorter than the film (in slices) is shown in slow motion: some of its slices come twice or more.

    Args:
        slices: Length of the clip.
        frames: How many are wanted.
        sampling: A name of ``SAMPLINGS``.
        tumour_slices: First and last-plus-one slice that hold tumour; used and required by ``tumour`` alone. The part
            outside the clip does not count.

    Raises:
        InputError: no such sampling, fewer slices than frames, or no tumour within the clip.
    """
    check_choice("frame sampling", sampling, SAMPLINGS)
    if slices < frames:
        raise InputError(
            f"A clip of {slices} slices is too short for a network that takes {frames} frames.",
            hint="Cut longer clips (--slices), or use random_conv, which takes any length.",
        )
    if sampling == "released":
        return np.arange(frames)
    first, last = 0, slices
    if sampling == "tumour":
        if tumour_slices is None:
            raise InputError(
                "The frame sampling 'tumour' needs the slices that hold tumour, and none were given.",
                hint="Use the sampling 'uniform' for scans without a mask.",
            )
        first, last = max(0, int(tumour_slices[0])), min(slices, int(tumour_slices[1]))
        if first >= last:
            raise InputError(
                f"No tumour lies within the clip: it holds slices 0 to {slices - 1}, the tumour is in slices "
                f"{tumour_slices[0]} to {tumour_slices[1] - 1}.",
                hint="Cut longer clips (--slices), or use the sampling 'uniform'.",
            )
    parts = np.arange(frames, dtype=np.int64)
    return first + (2 * parts + 1) * (last - first) // (2 * frames)


def prepare(
    clip: npt.NDArray[np.uint8],
    preprocessing: Preprocessing,
    sampling: str = "uniform",
    tumour_slices: tuple[int, int] | None = None,
    out: Frames | None = None,
) -> Frames:
    """The clip (slice, row, column) uint8 as a network's input (3, frame, row, column) float32.

    Args:
        clip: The clip.
        preprocessing: What the network wants to see.
        sampling: A name of ``SAMPLINGS``.
        tumour_slices: First and last-plus-one slice that hold tumour, for the sampling ``tumour``.
        out: Where to write it. Fresh memory of this size takes longer to get than to fill.

    Raises:
        InputError: the clip is of another kind, or too short; see ``sample_frames``.
    """
    if clip.ndim != 3 or clip.dtype != np.uint8:
        raise InputError(f"A clip must be a 3-dimensional array of uint8, not {clip.ndim}-dimensional {clip.dtype}.")
    if min(clip.shape) < 1:
        raise InputError(f"A clip of {' × '.join(map(str, clip.shape))} holds nothing.")
    chosen = sample_frames(clip.shape[0], preprocessing.frames, sampling, tumour_slices)
    grey: Frames = clip[chosen].astype(np.float32)
    for axis in (1, 2):
        grey = resize(grey, axis, preprocessing.size)
    grey /= np.float32(255)
    frames = np.empty((3, *grey.shape), np.float32) if out is None else out
    for channel, mean, deviation in zip(frames, preprocessing.mean, preprocessing.deviation, strict=True):
        np.subtract(grey, np.float32(mean), out=channel)
        np.divide(channel, np.float32(deviation), out=channel)
    return frames


def resize(images: Frames, axis: int, size: int) -> Frames:
    """Images with one of their axes made ``size`` pixels long, as torch's antialiased bilinear interpolation does it.

    A new pixel is the mean of the old ones around its centre, weighted by a triangle that reaches to the next old
    centre, or to the next new one where the image shrinks. The few products are added one after the other, which gives
    the same bits on every processor; a matrix product would not.
    """
    length = images.shape[axis]
    if length == size:
        return images
    scale = length / size
    reach = max(scale, 1.0)
    centres = scale * (np.arange(size) + 0.5) - 0.5
    nearby = np.ceil(centres - reach).astype(np.int64)[:, None] + np.arange(int(2 * reach) + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(nearby - centres[:, None]) / reach) * ((nearby >= 0) & (nearby < length))
    weights /= weights.sum(axis=1, keepdims=True)
    nearby = nearby.clip(0, length - 1)
    shape = [size if each == axis else 1 for each in range(images.ndim)]
    resized = np.zeros([size if each == axis else old for each, old in enumerate(images.shape)], np.float32)
    for tap in np.flatnonzero(weights.any(axis=0)):
        resized += images.take(nearby[:, tap], axis) * weights[:, tap].astype(np.float32).reshape(shape)
    return resized
