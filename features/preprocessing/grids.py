"""Volumes as SimpleITK's images and back, and the grids that images are moved to. All in LPS order and millimetres."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from gliolake.errors import InputError
from gliolake.features.preprocessing.intensity import head_mask
from gliolake.ingest.cohorts.description import MASK
from gliolake.ingest.readers.nifti import Volume, turn_to_lps
from gliolake.ingest.scans.images import SYNTHETIC

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def to_image(name: str, volume: Volume) -> sitk.Image:
    """A volume as a SimpleITK image in LPS order, float32; a mask keeps its type.

    Raises:
        InputError: the affine is sheared, which an image of SimpleITK cannot say.
    """
    voxels, affine = turn_to_lps(volume.voxels, volume.affine)
    lps = _FLIP @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-3:
        raise InputError(f"The axes of {name} are not at right angles.", hint="Resample it to a grid without shear.")
    u, _, v = np.linalg.svd(direction)
    values = voxels.transpose(2, 1, 0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values if name == MASK else values.astype(np.float32)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((u @ v).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def to_volume(image: sitk.Image, source: Volume, key: str) -> Volume:
    voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    voxels.flags.writeable = False
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    described = f"gliolake {SYNTHETIC}" if SYNTHETIC in source.description else ""
    return Volume(voxels, _FLIP @ affine, key, described)


def isotropic(image: sitk.Image, spacing: float) -> sitk.Image:
    """The image on cubic voxels along the patient's axes, on a grid that holds all of it."""
    return move(image, isotropic_grid(image, spacing), sitk.Transform(3, sitk.sitkIdentity))


def isotropic_grid(image: sitk.Image, spacing: float) -> sitk.Image:
    """An empty image of cubic voxels along the patient's axes that holds all of ``image``, edges of voxels included."""
    size = np.array(image.GetSize(), float)
    ends = np.array(np.meshgrid(*[(-0.5, length - 0.5) for length in size])).reshape(3, -1).T
    points = np.array([image.TransformContinuousIndexToPhysicalPoint(end.tolist()) for end in ends])
    low, high = points.min(0), points.max(0)
    voxels = np.maximum(np.ceil((high - low) / spacing - 1e-3), 1)
    origin = (low + high) / 2 - (voxels - 1) / 2 * spacing
    return _empty([int(count) for count in voxels], origin, [spacing] * 3, np.eye(3).ravel())


def fitted_grid(grid: sitk.Image, image: sitk.Image, size: tuple[int, int, int]) -> sitk.Image:
    """A grid of ``size`` voxels, whole voxels away from ``grid``, centred on the head that ``image`` shows.

    A head that is too tall keeps its top and loses its neck.
    """
    head = move(head_mask(image), grid, sitk.Transform(3, sitk.sitkIdentity), sitk.sitkNearestNeighbor)
    inside = np.argwhere(sitk.GetArrayViewFromImage(head) > 0)[:, ::-1]
    if len(inside):
        low, high = inside.min(0), inside.max(0) + 1
    else:
        low, high = np.zeros(3, int), np.array(grid.GetSize())
    first = [int((low[axis] + high[axis] - size[axis]) // 2) for axis in range(3)]
    if high[2] - low[2] > size[2]:
        first[2] = int(high[2] - size[2])
    return _empty(list(size), grid.TransformIndexToPhysicalPoint(first), grid.GetSpacing(), grid.GetDirection())


def move(
    image: sitk.Image, grid: sitk.Image, transform: sitk.Transform, interpolator: int = sitk.sitkLinear
) -> sitk.Image:
    """The image on another grid, 0 outside of it. ``transform`` leads from the grid's points to the image's."""
    return sitk.Resample(image, grid, transform, interpolator, 0.0, image.GetPixelID())


def _empty(size: list[int], origin: Any, spacing: Any, direction: Any) -> sitk.Image:
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetOrigin([float(number) for number in origin])
    grid.SetSpacing([float(number) for number in spacing])
    grid.SetDirection([float(number) for number in direction])
    return grid
