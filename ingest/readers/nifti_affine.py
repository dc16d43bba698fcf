"""Where a NIfTI header places its image, with the repairs that the standard and its readers make.

The standard is nifti1.h (https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h, "3D IMAGE (VOLUME) ORIENTATION AND
LOCATION IN SPACE"). Of several answers that a header gives, nibabel's is taken: the sform before the qform.
"""

from __future__ import annotations

from itertools import product

import nibabel as nib
import numpy as np

FARTHEST = 1e6
"""Millimetres beyond which nothing of an image lies."""

DISAGREE = 0.1
"""Share of a voxel by which sform and qform may place a corner apart without a word."""

_TOO_LONG = 1.01
"""Square of a quaternion that is no longer one of length 1 with rounded numbers."""

_HALF_TURN = 3 * float(np.finfo(np.float32).eps)
"""Square of a quaternion's real part that is rounding of its other parts, as nibabel has it."""

_UNITS = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}
"""Codes of xyzt_units that are not millimetres, and the millimetres that they stand for. 0 is taken for millimetres."""

_VOXELS = (1e-2, 100.0)
"""Millimetres between which a voxel's edges lie, where the header gives another unit."""


def affine_of(header: nib.Nifti1Header) -> tuple[np.ndarray, tuple[str, ...]]:
    """The affine (4, 4), voxel index to millimetres, RAS+, and in words what was repaired or guessed.

    Raises:
        ValueError: the header gives no position, or an impossible one; says why.
    """
    notes: list[str] = []
    unit, factor = _UNITS.get(int(header["xyzt_units"]) & 7, ("millimetres", 1.0))
    to_mm = np.array([[factor], [factor], [factor], [1.0]])
    sform = to_mm * _sform(header) if header["sform_code"] > 0 else None
    qform = to_mm * _qform(header) if header["qform_code"] > 0 else None
    if sform is None and qform is None:
        affine = to_mm * _guess(header)
        notes.append(
            "position guessed: its header gives none, so its axes are taken to run left, front and up, as nibabel "
            "does (ITK: left, back and up)"
        )
    elif sform is not None and is_place(sform):
        affine = sform
        if qform is not None and is_place(qform) and (apart := _apart(header, sform, qform)):
            notes.append(f"sform and qform disagree by up to {apart:.3g} mm: the sform is used")
    elif qform is not None and is_place(qform):
        affine = qform
        if sform is not None:
            notes.append("sform unusable (singular or not finite): the qform is used")
    else:
        raise ValueError("its header gives no position in space (its affine is singular or not finite)")
    if affine is not sform and (header["pixdim"][1:4] < 0).any():
        notes.append("negative voxel sizes: their absolute values are used")
    if factor != 1:
        sizes = nib.affines.voxel_sizes(affine)
        if not (_VOXELS[0] <= sizes.min() and sizes.max() <= _VOXELS[1]):
            raise ValueError(f"its voxel sizes are given in {unit}, which makes them {sizes.max():g} mm")
        notes.append(f"sizes given in {unit}: turned into millimetres")
    if not is_place(affine):
        raise ValueError("its header gives no position in space (its affine is singular or not finite)")
    return affine, tuple(notes)


def is_place(affine: np.ndarray) -> bool:
    """Whether an affine puts the axes of an image somewhere: near enough, apart, and in a direction each."""
    if not np.abs(affine).max() <= FARTHEST:  # where it is NaN, too
        return False
    with np.errstate(all="ignore"):
        if not abs(np.linalg.det(affine[:3, :3])) >= 1e-9:
            return False
        # A column that is nothing beside the others has no direction, whatever the determinant.
        return not np.isnan(nib.orientations.io_orientation(affine)).any()


def _sform(header: nib.Nifti1Header) -> np.ndarray:
    return np.array([header["srow_x"], header["srow_y"], header["srow_z"], [0, 0, 0, 1]], np.float64)


def _qform(header: nib.Nifti1Header) -> np.ndarray:
    """The affine of the quaternion; NaN where it is none."""
    quaternion = np.array([header[f"quatern_{part}"] for part in "bcd"], np.float64)
    square = float(quaternion @ quaternion)
    if not square <= _TOO_LONG:
        return np.full((4, 4), np.nan)
    real = np.sqrt(1.0 - square) if 1.0 - square > _HALF_TURN else 0.0
    rotation = nib.quaternions.quat2mat([real, *quaternion])  # which has it be of length 1
    affine = np.eye(4)
    affine[:3, :3] = rotation * _sizes(header) * [1, 1, -1 if header["pixdim"][0] < 0 else 1]
    affine[:3, 3] = [header[f"qoffset_{axis}"] for axis in "xyz"]
    return affine


def _guess(header: nib.Nifti1Header) -> np.ndarray:
    """The first axis to the left, the second to the front, the third up, the middle of the image at 0."""
    affine = np.diag([*(_sizes(header) * [-1, 1, 1]), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((header["dim"][1:4] - 1) / 2)
    return affine


def _sizes(header: nib.Nifti1Header) -> np.ndarray:
    return np.abs(header["pixdim"][1:4].astype(np.float64))


def _apart(header: nib.Nifti1Header, one: np.ndarray, other: np.ndarray) -> float:
    """Largest distance between the same corner under two affines, mm; 0 where it is no more than a share of a voxel."""
    apart = corner_distance(tuple(header["dim"][1:4]), one, other)
    return apart if apart > DISAGREE * nib.affines.voxel_sizes(one).min() else 0.0


def corner_distance(shape: tuple[int, ...], one: np.ndarray, other: np.ndarray) -> float:
    """Largest distance, in millimetres, between the same corner of two grids of one shape."""
    corners = np.array([(*corner, 1) for corner in product(*((0, int(size)) for size in shape))])
    return float(np.linalg.norm(corners @ (one - other)[:3].T, axis=1).max())
