"""Input of a case: assigns the files of a folder to roles, and checks images as ingest checks a scan."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gliolake.errors import InputError
from gliolake.ingest.cohorts.description import MASK, Cohort, ImageRules, load_cohort, shipped_cohorts
from gliolake.ingest.exclusions import DIFFERENT_GRIDS, TWO_FILES, UNKNOWN_MASK_LABELS
from gliolake.ingest.scans.discovery import found_series
from gliolake.ingest.scans.images import SYNTHETIC, read_scan
from gliolake.ingest.scans.listing import list_folder
from gliolake.ingest.scans.model import FoundFile, FoundScan, GivenBox
from gliolake.paths import absolute
from gliolake.schema.vocabulary import MODALITIES

HINTS = {
    TWO_FILES: "Leave one of them in the folder, or put the others elsewhere.",
    DIFFERENT_GRIDS: "Give images on one grid; or say by --cohort FILE.toml, with [preprocessing] done = [], that they "
    "are raw, for a model that was trained on preprocessed scans.",
    UNKNOWN_MASK_LABELS: "Give --tumour-box, or name the labels in a description: --cohort FILE.toml.",
}
"""What to do about what can be wrong with a case."""

GIVE_BOX = (
    "Give the tumour's mask, --mask FILE, or its box in voxels of the image turned to LPS: "
    "--tumour-box X0 X1 Y0 Y1 Z0 Z1."
)


@dataclass(frozen=True)
class CaseImages:
    """The images of one case, read and found sound.

    Attributes:
        name: the folder's. files: role, uri and sha256 of each file, as in table scans.
        tumour_box: x0 x1 y0 y1 z0 z1, half-open, in LPS voxels.
        warnings: oddities. synthetic: whether the headers say that the scan is made up.
        cohort: whose naming was asked for; None where the shipped ones were tried.
    """

    name: str
    files: tuple[dict[str, Any], ...]
    tumour_box: tuple[int, ...]
    warnings: tuple[str, ...]
    synthetic: bool
    cohort: Cohort | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Modalities that the case does not have."""
        there = {file["role"] for file in self.files}
        return tuple(modality for modality in MODALITIES if modality not in there)


def read_case(
    folder: Path,
    *,
    mask: Path | None = None,
    box: Sequence[int] | None = None,
    cohort: str | None = None,
    linked: bool = False,
) -> CaseImages:
    """The images in a folder, of which each is known by the end of its name.

    Args:
        folder: it holds NIfTI files, or folders of DICOM series, of one case.
        mask: the tumour's mask, in place of one in the folder.
        box: x0 x1 y0 y1 z0 z1, half-open, in LPS voxels of T1wCE or, without it, of the first image; in place of a
            mask.
        cohort: a cohort, or the path of its description, that says how files end; the shipped ones where None.
        linked: whether links may leave the folder.

    Raises:
        InputError: there are no images, two for one modality, neither mask nor box, or one cannot be used: what is
            wrong, and with which file.
    """
    if not folder.is_dir():
        raise InputError(f"The case {folder} is not a folder.", hint="Give the folder that holds its images.")
    if mask and box:
        raise InputError("Both a mask and a box are given.", hint="Give one of the two.")
    described = load_cohort(cohort) if cohort else None
    cohorts = [described] if described else [load_cohort(name) for name in sorted(shipped_cohorts())]
    rules = [one.images for one in cohorts if one.images]
    if not rules:
        raise InputError(f"The description of {cohort} says nothing of images.", hint="Add an [images] section to it.")
    endings = {role: tuple(end for one in rules for end in one.roles.get(role, ())) for role in (*MODALITIES, MASK)}
    if mask is not None or box is not None:
        endings.pop(MASK)
    files = _found(folder, endings, linked=linked) + ([FoundFile(MASK, str(mask), 0, 0)] if mask else [])
    if not any(file.role != MASK for file in files):
        ends = ", ".join(sorted({end for role in MODALITIES for end in endings[role]}, key=str.casefold))
        raise InputError(
            f"{folder} holds no image that can be told by its name.",
            hint=f"Names are expected to end in one of {ends}, before .nii or .nii.gz; --cohort brings other names.",
        )
    if not box and not any(file.role == MASK for file in files):
        raise InputError(f"{folder} holds no mask of the tumour, and no box was given.", hint=GIVE_BOX)
    labels = {label: meaning for one in rules for label, meaning in one.mask_labels.items()}
    names = {file.role: endings.get(file.role, ()) for file in files}
    raw = described is not None and described.raw
    name = absolute(folder).name
    given = _given(box) if box else None
    scan = FoundScan("case", name, name, name, 0, str(folder), tuple(files), "", given)
    read = read_scan(scan, ImageRules(patterns=(), roles=names, mask_labels=labels, several_grids=raw))
    if read.row is None:
        reasons = {row["reason"] for row in read.exclusions}
        hint = next((told for reason, told in HINTS.items() if reason in reasons), "Replace it from its source.")
        raise InputError(" ".join(row["detail"] for row in read.exclusions), hint=hint)
    row = read.row
    told = tuple(warning for warning in row["warnings"] if warning != SYNTHETIC)
    synthetic = SYNTHETIC in row["warnings"]
    return CaseImages(name, tuple(row["files"]), tuple(row["tumour_box"]), told, synthetic, described)


def _found(folder: Path, endings: dict[str, tuple[str, ...]], *, linked: bool) -> list[FoundFile]:
    """The folder's images in the order of their roles and names."""
    inside = None if linked else os.path.realpath(folder)
    listing = list_folder(str(folder.absolute()), inside=inside)
    if listing.error:
        raise InputError(f"{folder} cannot be listed: {listing.error}.")
    found = []
    for role, ends in endings.items():
        for file in listing.files:
            stem = re.sub(r"\.nii(\.gz)?$", "", file.name)
            if stem != file.name and any(_ends(stem, end) for end in ends):
                path = f"{listing.path}/{file.name}"
                found.append(FoundFile(role, path, file.bytes, file.mtime_ns, file.refused))
        for inner in listing.folders:
            path = f"{listing.path}/{inner.name}"
            if inner.refused and any(_ends(inner.name, end) for end in ends):
                found.append(FoundFile(role, f"{path}/", 0, inner.mtime_ns, inner.refused))
            elif any(_ends(inner.name, end) for end in ends):
                found.append(found_series(role, list_folder(path, inside=inside)))
    return found


def _ends(stem: str, end: str) -> bool:
    """Whether a name is ``end``, or ends so after anything that is no letter or digit."""
    return re.search(rf"(?:^|[^a-z0-9]){re.escape(end.casefold())}$", stem.casefold()) is not None


def _given(box: Sequence[int]) -> GivenBox:
    empty = [axis for axis, low, high in zip("xyz", box[::2], box[1::2], strict=True) if low >= high]
    return GivenBox(tuple(box), "--tumour-box", f"--tumour-box: it is empty along {empty[0]}." if empty else "")
