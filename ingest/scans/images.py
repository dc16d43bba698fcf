"""One scan: its files read one at a time, checked, and measured. Pure but for the reading, so that it runs anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import is_normalized

import nibabel as nib
import numpy as np

from gliolake.ingest.cohorts.description import MASK, ImageRules
from gliolake.ingest.exclusions import (
    ALIKE_IDS,
    BAD_BOX,
    DIFFERENT_GRIDS,
    EMPTY_MASK,
    MISSING_MASK,
    MISSING_MODALITY,
    READING_FAILED,
    TWO_FILES,
    Row,
    exclusion,
)
from gliolake.ingest.readers import nifti
from gliolake.ingest.readers.nifti import BadImage, Volume, lps_grid, read_volume
from gliolake.ingest.readers.nifti_affine import corner_distance
from gliolake.ingest.scans.boxes import BOUNDS, BY_HAND
from gliolake.ingest.scans.discovery import STEP, WHAT
from gliolake.ingest.scans.fingerprint import LENGTH, content_of, same_content
from gliolake.ingest.scans.masks import measured_mask, with_whole_labels
from gliolake.ingest.scans.model import FoundFile, FoundScan, GivenBox

GRID_TOLERANCE = 0.1
"""Share of a voxel by which the corners of two modalities' grids may lie apart."""

REFERENCE = "T1wCE"
"""The image whose grid masks, boxes and the geometry in table scans are given on."""

SYNTHETIC = "synthetic"
"""Stands in the header's description of made-up images, and then among the scan's warnings, so that whatever is
computed from them can say so."""


@dataclass(frozen=True)
class ReadScan:
    """What reading a scan gave: its row of ``scans``, or the rows of ``exclusions`` that say why it has none."""

    row: Row | None
    exclusions: tuple[Row, ...] = ()


@dataclass(frozen=True)
class _Grid:
    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def lps(self) -> _Grid:
        """The same grid after the volume was turned to LPS."""
        return _Grid(*lps_grid(self.shape, self.affine))


def read_image(uri: str, role: str = "") -> Volume:
    """The volume in a NIfTI file, or in a DICOM series, whose folder's URI ends in /; of a mask with whole labels.

    Raises:
        BadImage: it is no sound volume.
    """
    if not uri.endswith("/"):
        volume = read_volume(uri)
    else:
        # SimpleITK sets its process's locale: only where there is DICOM.
        from gliolake.ingest.readers.dicom import read_dicom_series

        volume = read_dicom_series(uri)
    return with_whole_labels(volume) if role == MASK else volume


def read_scan(scan: FoundScan, rules: ImageRules) -> ReadScan:
    """Read all files of a scan, one volume in memory at a time.

    Everything that is wrong with the scan is found in one go, so that a person need not mend it piece by piece.
    """
    faults = _incomplete(scan, rules)
    if faults:
        return ReadScan(None, tuple(faults))
    grids: dict[str, _Grid] = {}
    files: list[dict[str, Any]] = []
    mask: dict[str, Any] = {}
    roles_of: dict[str, list[str]] = {}
    synthetic = False
    for file in scan.files:
        try:
            volume = read_image(file.uri, file.role)
            if file.role == MASK:
                mask = measured_mask(volume, rules, file.uri)
        except BadImage as error:
            faults.append(_fault_of_file(scan, file, error))
            continue
        grids[file.role] = _Grid(volume.voxels.shape, volume.affine)
        synthetic |= SYNTHETIC in volume.description
        for note in volume.notes:
            roles_of.setdefault(note, []).append(file.role)
        files.append(_file_entry(file, volume))
    faults += _different_grids(scan, grids, rules)
    if scan.box and grids and (outside := _leaves(scan.box, _reference(grids))):
        faults.append(_fault(scan, BAD_BOX, outside, scan.folder))
    if faults:
        return ReadScan(None, tuple(faults))
    if scan.box:
        mask = {"tumour_box": list(scan.box.bounds), "tumour_voxels": 0, "mask_labels": []}
    row = _row(scan, rules, files, _reference(grids), mask)
    row["warnings"] += [f"{', '.join(roles)}: {note}" for note, roles in roles_of.items()]
    if synthetic:
        row["warnings"].append(SYNTHETIC)
    return ReadScan(row)


def reading_failed(scan: FoundScan, error: Exception) -> Row:
    """The row for a scan whose reading ended in something unforeseen, which must not stop the others.

    It bears no fingerprint: what failed once without a reason in the files is tried again next time.
    """
    detail = f"{type(error).__name__}: {error}"[:500]
    return exclusion(scan.cohort, scan.scan_id, STEP, READING_FAILED, detail, source=scan.folder)


def _incomplete(scan: FoundScan, rules: ImageRules) -> list[Row]:
    """Faults that show before a file is opened: one is refused, absent, or there twice, or mask and box are absent."""
    of_role = {role: [file for file in scan.files if file.role == role] for role in rules.roles}
    faults = [
        (file.refused, f"{file.role or 'its folder'}: {WHAT[file.refused]}", file.uri)
        for file in scan.files
        if file.refused
    ]
    absent = [role for role, files in of_role.items() if not files and role != MASK]
    if absent:
        faults.append((MISSING_MODALITY, f"No file for {', '.join(absent)}.", scan.folder))
    if scan.box and scan.box.fault:
        faults.append((BAD_BOX, scan.box.fault, scan.folder))
    elif not of_role.get(MASK) and not scan.box:
        endings = f"No file ending in {' or '.join(rules.roles[MASK])}" if MASK in rules.roles else "No mask"
        faults.append((MISSING_MASK, f"{endings}, and no box: give one with gliolake ingest --boxes.", scan.folder))
    for role, files in of_role.items():
        if len(files) > 1:
            named = ", ".join(_spelt(file.uri) for file in files)
            faults.append((TWO_FILES, f"{role} has {len(files)}: {named}.", files[0].uri))
    if scan.alike:
        alike = f"The ids {' and '.join(scan.alike)} differ in capital and small letters alone. Rename one of them."
        faults.append((ALIKE_IDS, alike, scan.folder))
    return [_fault(scan, *fault) for fault in faults]


def _spelt(uri: str) -> str:
    """The path so that two that look the same are told apart: accents may be letters of their own."""
    return uri if is_normalized("NFC", uri) else ascii(uri).strip("'\"")


def _fault(scan: FoundScan, reason: str, detail: str, source: str, fingerprint: str | None = None) -> Row:
    fingerprint = scan.fingerprint if fingerprint is None else fingerprint
    return exclusion(scan.cohort, scan.scan_id, STEP, reason, detail, source=source, fingerprint=fingerprint)


def _fault_of_file(scan: FoundScan, file: FoundFile, error: BadImage) -> Row:
    reason = EMPTY_MASK if file.role == MASK and error.reason == nifti.EMPTY else error.reason
    # A file that the system would not open may open next time, without any change to it.
    fingerprint = "" if isinstance(error.__cause__, OSError) else None
    return _fault(scan, reason, f"{file.role}: {error}", file.uri, fingerprint)


def _file_entry(file: FoundFile, volume: Volume) -> dict[str, Any]:
    return {
        "role": file.role,
        "uri": file.uri,
        "bytes": file.bytes,
        "mtime_ns": file.mtime_ns,
        "sha256": volume.sha256,
        "dtype": volume.voxels.dtype.name,
        "content": content_of(volume.voxels),
    }


def _different_grids(scan: FoundScan, grids: dict[str, _Grid], rules: ImageRules) -> list[Row]:
    """A fault if the files do not lie on one grid, i.e. if any differs from the first in shape or place.

    They are compared as all that reads them turns them, to LPS: in which order axes are stored makes no difference.
    Where modalities may have grids of their own, the mask still has to lie on the reference's.
    """
    roles = [role for role in (REFERENCE, MASK) if role in grids] if rules.several_grids else list(grids)
    faults = []
    for role in roles[1:]:
        first, other = grids[roles[0]].lps, grids[role].lps
        apart = corner_distance(first.shape, first.affine, other.affine)
        if other.shape != first.shape:
            faults.append(f"{role} has {nifti.times(other.shape)} voxels, {roles[0]} {nifti.times(first.shape)}.")
        elif apart > GRID_TOLERANCE * min(_spacing(first.affine)):
            faults.append(f"{role} lies {apart:.3g} mm from {roles[0]}.")
    if faults and not rules.several_grids:
        faults.append("If the cohort is not aligned yet, its description has to say so ([preprocessing], done).")
    return [_fault(scan, DIFFERENT_GRIDS, " ".join(faults), scan.folder)] if faults else []


def _reference(grids: dict[str, _Grid]) -> _Grid:
    """The grid of ``REFERENCE``, or of the first image where there is none, as in a case of fewer modalities."""
    return grids.get(REFERENCE) or next(iter(grids.values()))


def _leaves(box: GivenBox, grid: _Grid) -> str:
    """In words, by how much a box leaves the image turned to LPS; "" where it does not."""
    turn = nifti.lps_turn(grid.affine)
    length = {int(axis): size for size, (axis, _) in zip(grid.shape, turn, strict=True)}
    limits = [(0, length[bound // 2]) for bound in range(6)]
    beyond = [
        f"{name} {bound}"
        for name, bound, (low, high) in zip(BOUNDS, box.bounds, limits, strict=True)
        if not low <= bound <= high
    ]
    size = nifti.times(tuple(length[axis] for axis in range(3)))
    return f"{box.place}: the box leaves the image of {size} voxels at {', '.join(beyond)}." if beyond else ""


def _spacing(affine: np.ndarray) -> list[float]:
    return [float(size) for size in nib.affines.voxel_sizes(affine)]


def _row(scan: FoundScan, rules: ImageRules, files: Sequence[Row], grid: _Grid, mask: dict[str, Any]) -> Row:
    return {
        "cohort": scan.cohort,
        "scan_id": scan.scan_id,
        "source_id": scan.source_id,
        "subject_id": scan.subject_id,
        "visit_day": scan.visit_day,
        "files": list(files),
        "shape": list(grid.shape),
        "spacing_mm": _spacing(grid.affine),
        "affine": [float(number) for number in (grid.affine + 0.0).ravel()],
        "orientation": "".join(nib.aff2axcodes(grid.affine)),
        "warnings": _warnings(scan, rules, files, mask),
        "fingerprint": scan.fingerprint,
        **mask,
    }


def _warnings(scan: FoundScan, rules: ImageRules, files: Sequence[Row], mask: dict[str, Any]) -> list[str]:
    present = {count["label"] for count in mask["mask_labels"]}
    meanings = {} if scan.box else rules.mask_labels
    warnings = [f"no voxel of label {n} ({meaning})" for n, meaning in meanings.items() if n not in present]
    warnings += [BY_HAND] if scan.box else []
    known = [file for file in files if len(file["content"]) == LENGTH]
    contents = same_content(np.array([file["content"] for file in known], np.float32))
    role_of: dict[int, str] = {}
    for file, content in zip(known, contents, strict=True):
        twin = role_of.setdefault(int(content), file["role"])
        if twin != file["role"]:
            warnings.append(f"{file['role']} holds the same voxels as {twin}")
    return warnings
