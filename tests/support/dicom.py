"""DICOM series, written slice by slice, and the description of a cohort of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

SERIES = "1.2.826.0.1.3680043.2.1125.1"

PATIENT = "Meier^Anna"

COHORT = r"""
name = "clinic"
role = "external"
label_rule = "ucsf"

[ids]
pattern = '(?P<number>S\d{3})'
form = "{number}"

[preprocessing]
done = []

[images]
patterns = ["{scan_id}/{role}/"]

[images.roles]
FLAIR = "flair"
T1 = "t1"
T1wCE = "t1 gad"
T2 = "t2"
"""


def image() -> np.ndarray:
    """(i, j, k) with no symmetry: each voxel tells its own place."""
    i, j, k = np.indices((9, 7, 5))
    voxels: np.ndarray = (100 * k + 10 * j + i).astype(np.int16)
    return voxels


def turned() -> np.ndarray:
    """Orthonormal directions (LPS, in columns) that lie on no axis."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.2, -0.1, 0.3)
    return np.array(turn.GetMatrix()).reshape(3, 3)


def write(
    folder: Path,
    voxels: np.ndarray,
    *,
    series: str = SERIES,
    direction: np.ndarray | None = None,
    gap: float = 5.5,
    prefix: str = "im",
    first: int = 0,
    announced: str = "",
) -> list[Path]:
    """One file a slice, in names that sort against their order in space, with a patient's name in each."""
    folder.mkdir(parents=True, exist_ok=True)
    direction = np.eye(3) if direction is None else direction
    paths = []
    for k in range(voxels.shape[2]):
        plane = sitk.GetImageFromArray(np.ascontiguousarray(voxels[:, :, k : k + 1].transpose(2, 1, 0)))
        position = np.array([-90.0, -70.0, 12.0]) + direction[:, 2] * gap * k
        plane.SetSpacing((0.9, 1.1, gap))
        tags = {
            "0008|0060": "MR", "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0020|000d": "1.2.3.4", "0020|000e": series, "0020|0013": str(first + k),
            "0020|0032": "\\".join(f"{number:.8f}" for number in position),
            "0020|0037": "\\".join(f"{number:.8f}" for number in direction[:, :2].T.ravel()),
            "0010|0010": PATIENT, "0010|0020": "4711", "0010|0030": "19500101",
            "0028|1052": "0", "0028|1053": "1",
        }  # fmt: skip
        tags |= {"0020|1002": announced} if announced else {}
        for tag, value in tags.items():
            plane.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{prefix}{99 - k}.dcm"))
        writer.Execute(plane)
        paths.append(folder / f"{prefix}{99 - k}.dcm")
    return paths
