"""Slices through the tumour of a scan in each modality, if the image files are unchanged since the ingest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import DamagedFile, InputError
from gliolake.features.clips import ClipSettings, intensity_range, to_grey
from gliolake.features.preprocessing.volumes import choose_volume_set, read_unchanged, ready_scans
from gliolake.ingest.cohorts.description import MASK
from gliolake.ingest.readers.nifti import BadImage, turn_to_lps
from gliolake.schema.vocabulary import MODALITIES

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake


@dataclass(frozen=True)
class Slices:
    """The middle slice of a scan's tumour, as a radiologist sees it: rows run to the back, columns to the left.

    Attributes:
        grey: By modality, (rows, columns) uint8, in the grey of the clips.
        mask: (rows, columns) bool; None where there is none.
        box: x, y of the upper-left corner and side of the box that networks see, in voxels.
        slice: Which axial slice it is.
    """

    grey: dict[str, npt.NDArray[np.uint8]]
    mask: npt.NDArray[np.bool_] | None
    box: tuple[int, int, int]
    slice: int


def slices(lake: Lake, cohort: str, scan_id: str) -> Slices | None:
    """The slices of a scan; None where its files are gone or changed, or were not preprocessed."""
    found = lake.read("scans", {"cohort": cohort, "scan_id": scan_id}).to_pylist()
    try:
        ready, _ = ready_scans(lake, found, choose_volume_set(lake, [cohort])) if found else ([], [])
        return _read(ready[0]) if ready else None
    except (BadImage, DamagedFile, InputError):
        return None


def _read(scan: dict[str, Any]) -> Slices:
    settings = ClipSettings()
    x0, _, y0, _, z0, z1 = scan["tumour_box"]
    middle = (z0 + z1) // 2
    grey, mask = {}, None
    for file in scan["files"]:
        if file["role"] not in (*MODALITIES, MASK):
            continue
        volume = read_unchanged(file["uri"], file["sha256"], "gliolake figure", file["role"])
        voxels, _ = turn_to_lps(volume.voxels, volume.affine)
        if file["role"] == MASK:
            mask = voxels[:, :, middle].T != 0
        else:
            low, high = intensity_range(voxels, settings)
            grey[file["role"]] = to_grey(np.ascontiguousarray(voxels[:, :, middle].T), low, high)
    return Slices(grey, mask, (x0, y0, settings.box), middle)
