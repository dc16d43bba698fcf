"""A head as an image, and a volume of it."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import ndimage

from gliolake.ingest.readers.nifti import Volume


def head(shift: tuple[float, float, float] = (0, 0, 0), seed: int = 0) -> np.ndarray:
    """(40, 44, 32): an ellipsoid with blobs inside, moved by ``shift`` voxels, and a little noise."""
    x, y, z = np.indices((40, 44, 32), float) - np.array([19.5, 21.5, 15.5]).reshape(3, 1, 1, 1)
    x, y, z = (axis - by for axis, by in zip((x, y, z), shift, strict=True))
    image = 500.0 * ((x / 14) ** 2 + (y / 17) ** 2 + (z / 11) ** 2 < 1)
    for centre, gain in (((5, 6, 2), 500), ((-6, -4, -3), -300), ((2, -9, 4), 300)):
        image += gain * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / 12)
    image += np.random.default_rng(seed).normal(0, 5, image.shape)
    return ndimage.gaussian_filter(image, 0.7).astype(np.float32)


def volume(voxels: np.ndarray, spacing: float = 2.0) -> Volume:
    digest = hashlib.sha256(np.ascontiguousarray(voxels)).hexdigest()
    return Volume(voxels, np.diag([-spacing, -spacing, spacing, 1.0]), digest, "gliolake synthetic")
