"""Small scans on disk, made without gliolake's own readers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (24, 20, 16)

BRATS_SUFFIXES = {"FLAIR": "flair", "T1": "t1", "T1wCE": "t1ce", "T2": "t2", "mask": "seg"}

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class ScanWriter:
    """Writes scans of small volumes. Each scan's voxels follow from its seed, so equal seeds are equal content."""

    shape = SHAPE
    suffixes = BRATS_SUFFIXES
    affine = LPS

    def image(self, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(1, 900, SHAPE, dtype=np.int16)

    def mask(self) -> np.ndarray:
        """Labels 1, 2 and 4 in the box x 3–9, y 5–12, z 2–8."""
        mask = np.zeros(SHAPE, np.uint8)
        mask[3:9, 5:12, 2:8] = 2
        mask[4:8, 6:10, 3:7] = 1
        mask[5, 7, 4] = 4
        return mask

    def save(self, path: Path, voxels: np.ndarray, affine: np.ndarray = LPS) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.Nifti1Image(voxels, affine).to_filename(path)
        return path

    def scan(
        self,
        root: Path,
        scan_id: str,
        seed: int = 0,
        *,
        pattern: str = "{scan_id}/{scan_id}_{suffix}.nii.gz",
        suffixes: Mapping[str, str] = BRATS_SUFFIXES,
    ) -> dict[str, Path]:
        """A sound scan; returns its files by role."""
        return {
            role: self.save(
                root / pattern.format(scan_id=scan_id, suffix=suffix),
                self.mask() if role == "mask" else self.image(10 * seed + number),
            )
            for number, (role, suffix) in enumerate(suffixes.items())
        }
