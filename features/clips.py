"""A scan's volumes become the clips that a video network sees: one grey-scale film of axial slices per branch.

The study (section 2.2 of Chen et al. 2025; REPLICATION.md, steps 3 and 4) clips intensities to the 1st–99th percentile,
scales them to 0–255, and cuts from every slice the same 128 × 128 box, whose upper-left corner is where the left and
the upper boundary of the whole tumour over all slices meet. Every slice is a frame. All arrays here are in LPS order
(index x runs to the patient's left, y to the back, z to the top), so a frame's rows are y and its columns x, shown as
a radiologist sees them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError, check_choice
from gliolake.schema.vocabulary import BRANCHES

Volumes = Mapping[str, npt.NDArray[Any]]
Clip = npt.NDArray[np.uint8]

REVISION = 1
"""Part of every recipe: raised when this module comes to compute other clips from the same settings."""

LARGEST_CLIP = 2**27
"""Voxels of a clip that are still accepted: 128 MiB, fifty times the study's clip."""

SMALLEST_RANGE = 1e-30
"""A narrower range of intensities is taken for a constant image, before 255 / range leaves float32."""

DELTA_KINDS = ("image", "feature")
PERCENTILE_POPULATIONS = ("all", "nonzero")


@dataclass(frozen=True)
class ClipSettings:
    """How clips are cut from a scan. The defaults are the study's; all of it goes into the feature set's recipe.

    Attributes:
        box: Edge of the square cut from every slice, in voxels.
        slices: Frames of a clip. The *first* that many axial slices are taken, counted from the bottom of the head:
            of a BraTS volume's 155 the last five are dropped, which lie above the vertex and are empty in the scans
            we have seen (brain spans slices 4 to 149). A volume with fewer is followed by background.
        low_percentile, high_percentile: Intensities outside these percentiles are clipped.
        percentile_of: Voxels that the percentiles are taken over: ``all`` of the image, background included, as the
            study writes; or those that are not ``nonzero``, the usual choice for skull-stripped images.
        delta: DeltaT1 as the difference of ``image``s before extraction, as the text says, or of ``feature`` vectors
            after it, as the released data show (REPLICATION.md, contradiction 1).

    Raises:
        InputError: on construction, for a setting outside its range.
    """

    box: int = 128
    slices: int = 150
    low_percentile: float = 1.0
    high_percentile: float = 99.0
    percentile_of: str = "all"
    delta: str = "image"

    def __post_init__(self) -> None:
        check_choice("kind of delta", self.delta, DELTA_KINDS)
        check_choice("population of percentiles", self.percentile_of, PERCENTILE_POPULATIONS)
        if not 0 <= self.low_percentile < self.high_percentile <= 100:
            raise InputError(
                f"Percentiles {self.low_percentile} and {self.high_percentile} do not rise within 0 to 100.",
                hint="The study clips at 1 and 99.",
            )
        if self.box < 1 or self.slices < 1 or self.box * self.box * self.slices > LARGEST_CLIP:
            raise InputError(
                f"A clip of {self.slices} slices of {self.box} × {self.box} voxels cannot be made: both numbers must "
                f"be at least 1, and the clip no larger than {LARGEST_CLIP} voxels.",
                hint="The study's clip has 150 slices of 128 × 128.",
            )

    def recipe(self) -> dict[str, Any]:
        """The settings as JSON values, with the revision of this module."""
        return {"revision": REVISION, **asdict(self)}


def build_clips(
    volumes: Volumes, tumour_box: Sequence[int], settings: ClipSettings, branches: Sequence[str] = BRANCHES
) -> dict[str, Clip]:
    """One clip for each of the branches that can be made of the volumes at hand.

    With ``delta="image"`` and both T1 and T1wCE there, the clip of DeltaT1 is cut from their difference; with
    ``delta="feature"`` there is none, since DeltaT1 is then a difference of vectors.

    Args:
        volumes: Images (x, y, z) in LPS by modality, any real dtype, all on one grid.
        tumour_box: x0 x1 y0 y1 z0 z1, half-open, of the whole tumour.
        settings: How to cut.
        branches: The branches wanted.

    Returns:
        Clips (frame, row, column), uint8, in the order of the study's branches.

    Raises:
        InputError: the volumes are not on one grid, or the corner of the box lies outside it.
    """
    shapes = {volume.shape for volume in volumes.values()}
    if len(shapes) != 1:
        raise InputError(f"The images of a scan must share one grid; these have shapes {sorted(shapes)}.")
    shape = shapes.pop()
    if len(shape) != 3 or not (0 <= tumour_box[0] < shape[0] and 0 <= tumour_box[2] < shape[1]):
        raise InputError(
            f"The tumour's corner (x {tumour_box[0]}, y {tumour_box[2]}) lies outside an image of shape {shape}.",
            hint="Run gliolake ingest again: the box in table scans does not belong to these files.",
        )
    ranges: dict[str, tuple[float, float]] = {}

    def grey_range(modality: str) -> tuple[float, float]:
        if modality not in ranges:  # it takes longer than all else, and DeltaT1 asks for two of them again
            ranges[modality] = intensity_range(volumes[modality], settings)
        return ranges[modality]

    clips: dict[str, Clip] = {}
    for branch in BRANCHES:
        if branch not in branches:
            continue
        if branch in volumes:
            clips[branch] = to_grey(cut(volumes[branch], tumour_box, settings), *grey_range(branch))
        elif branch == "DeltaT1" and settings.delta == "image" and "T1" in volumes and "T1wCE" in volumes:
            difference = _scaled(volumes["T1wCE"], *grey_range("T1wCE"))
            difference -= _scaled(volumes["T1"], *grey_range("T1"))
            clips[branch] = _delta_clip(difference, tumour_box, settings)
    return clips


def intensity_range(image: npt.NDArray[Any], settings: ClipSettings) -> tuple[float, float]:
    """The two percentiles that become black and white, over all voxels of the image or those that are not zero.

    Linear interpolation between order statistics, as ``numpy.percentile`` does by default, written out because order
    statistics are exact: the same bits under every numpy. An image without such voxels has the range (0, 0).
    """
    voxels = image.reshape(-1, order="A") if settings.percentile_of == "all" else image[image != 0]
    if voxels.size == 0:
        return 0.0, 0.0
    positions = [(voxels.size - 1) * percent / 100.0 for percent in (settings.low_percentile, settings.high_percentile)]
    ranks = sorted({rank for at in positions for rank in (int(at), min(int(at) + 1, voxels.size - 1))})
    ordered = np.partition(voxels, ranks)

    def between(at: float) -> float:
        below, above = float(ordered[int(at)]), float(ordered[min(int(at) + 1, voxels.size - 1)])
        return below + (above - below) * (at - int(at))

    return between(positions[0]), between(positions[1])


def to_grey(image: npt.NDArray[Any], low: float, high: float) -> Clip:
    """Intensities from ``low`` to ``high`` become 0 to 255, what lies outside is clipped, all rounded to uint8.

    Eight bits, because a film's pixel has no more: the study wrote videos. A range without width (a constant image)
    gives zeros.
    """
    grey: Clip = np.rint(_scaled(image, low, high)).astype(np.uint8)
    return grey


def cut(image: npt.NDArray[Any], tumour_box: Sequence[int], settings: ClipSettings) -> npt.NDArray[Any]:
    """The box of every slice as (frame, row, column), dtype kept.

    What lies outside the image is background 0, as the study's corner rule implies: near the left or the back of the
    head the box reaches beyond the image, and it is not moved back in.
    """
    x, y = int(tumour_box[0]), int(tumour_box[2])
    inside = image[x : x + settings.box, y : y + settings.box, : settings.slices].transpose(2, 1, 0)
    clip = np.zeros((settings.slices, settings.box, settings.box), image.dtype)
    clip[tuple(slice(0, length) for length in inside.shape)] = inside
    return clip


def _delta_clip(difference: npt.NDArray[np.float32], box: Sequence[int], settings: ClipSettings) -> Clip:
    """T1wCE − T1, of images scaled to 0–255 each, as a clip, scaled by the difference's own percentiles.

    Scaled before subtraction, since raw MR intensities have no unit and the two acquisitions no common gain. Outside
    the image both are background, so their difference is 0 there, which after rescaling is the same grey as the
    background inside: the box's edge leaves no step that is not in the scan.
    """
    return to_grey(cut(difference, box, settings), *intensity_range(difference, settings))


def _scaled(image: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
    """Intensities clipped to the range and scaled to 0–255, float32; a range without width gives zeros.

    Computed in float32 where that holds every stored value, in float64 where it does not.
    """
    if not high - low > SMALLEST_RANGE:
        return np.zeros(image.shape, np.float32)
    number = np.dtype(np.float32 if image.dtype == np.float32 or image.dtype.itemsize <= 2 else np.float64).type
    scaled: npt.NDArray[Any] = image.astype(number)
    np.clip(scaled, number(low), number(high), out=scaled)
    np.subtract(scaled, number(low), out=scaled)
    np.multiply(scaled, number(255.0 / (high - low)), out=scaled)
    np.minimum(scaled, number(255), out=scaled)
    return scaled.astype(np.float32, copy=False)
