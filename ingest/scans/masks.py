"""Masks: their labels made whole, and what is measured in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gliolake.ingest.cohorts.description import ImageRules
from gliolake.ingest.exclusions import UNKNOWN_MASK_LABELS
from gliolake.ingest.readers.nifti import EMPTY, BadImage, Volume, lps_turn

LABEL_ROUNDING = 0.008
"""How far from a whole number a mask's label is taken for it. Labels up to 4 that a program saved as 8 bits with a
slope come back up to 0.0079 off; programs that average labels make larger fractions."""

LABELS_ROUNDED = "labels rounded to whole numbers"


def with_whole_labels(mask: Volume) -> Volume:
    """The mask with labels that are whole numbers but for rounding made whole, and a note; others stay as they are."""
    if mask.voxels.dtype.kind != "f":
        return mask
    whole = np.rint(mask.voxels)
    apart = np.abs(mask.voxels - whole)
    if not apart.any():
        return mask
    voxels = np.where(apart <= LABEL_ROUNDING, whole, mask.voxels)
    voxels.flags.writeable = False
    return replace(mask, voxels=voxels, notes=(*mask.notes, LABELS_ROUNDED))


def measure_mask(mask: np.ndarray, affine: np.ndarray) -> tuple[list[int], dict[float, int]]:
    """Bounding box of the voxels that are not zero, and how many there are of each label.

    mask: (i, j, k) as stored, with at least one such voxel; affine: (4, 4).
    Returns x0 x1 y0 y1 z0 z1, half-open, in LPS voxels, and label -> voxels, by label.
    """
    stored = mask.ravel(order="F")  # as it lies in the file: a view
    inside = np.flatnonzero(stored != 0)
    labels, counts = np.unique(stored[inside], return_counts=True)
    box = [0] * 6
    places = np.unravel_index(inside, mask.shape, order="F")
    for indices, size, (axis, direction) in zip(places, mask.shape, lps_turn(affine), strict=True):
        low, high = int(indices.min()), int(indices.max()) + 1
        box[2 * int(axis) : 2 * int(axis) + 2] = (low, high) if direction > 0 else (size - high, size - low)
    return box, dict(zip(labels.tolist(), counts.tolist(), strict=True))


def measured_mask(volume: Volume, rules: ImageRules, uri: str) -> dict[str, Any]:
    """What table scans says of a mask: tumour box, tumour voxels and voxels of each label.

    Raises:
        BadImage: it is empty, or has labels that the cohort's description does not name.
    """
    if not volume.voxels.any():
        raise BadImage(EMPTY, f"{uri}: its labels are all 0 but for rounding.")
    box, counts = measure_mask(volume.voxels, volume.affine)
    strange = [label for label in counts if label not in rules.mask_labels]
    if strange:
        shown = ", ".join(f"{label:.9g}" for label in strange[:5]) + (" …" if len(strange) > 5 else "")
        accepted = ", ".join(map(str, rules.mask_labels))
        raise BadImage(UNKNOWN_MASK_LABELS, f"{uri}: it holds labels {shown}; accepted are {accepted}.")
    counted = [{"label": int(label), "voxels": count} for label, count in counts.items()]
    return {"tumour_box": box, "tumour_voxels": sum(counts.values()), "mask_labels": counted}
