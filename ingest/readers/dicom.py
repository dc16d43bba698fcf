"""DICOM series: a folder of slices becomes one volume, checked, and named by what it holds.

Slices are put in order by what their headers say (``dicom_header``), and their voxels are read by SimpleITK (GDCM). No
text of a header leaves this module, nor does a file's name that could be a person's or a UID, so nothing that names a
patient can reach the lake.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from gliolake import limits
from gliolake.ingest.litter import is_half, is_litter
from gliolake.ingest.readers.dicom_header import FRAMES, BadSlice, Slice, read_slice
from gliolake.ingest.readers.nifti import EMPTY, NOT_3D, NOT_FINITE, TOO_LARGE, UNREADABLE, BadImage, Volume, times

NO_SERIES = "no DICOM series"
SEVERAL_SERIES = "several DICOM series"
MIXED_SLICES = "slices of different kinds"
MISSING_SLICES = "slices missing or doubled"
MANY_FRAMES = "several frames in one file"
DICOM_REASONS = (
    UNREADABLE,
    NOT_3D,
    NOT_FINITE,
    TOO_LARGE,
    EMPTY,
    NO_SERIES,
    SEVERAL_SERIES,
    MIXED_SLICES,
    MISSING_SLICES,
    MANY_FRAMES,
)
"""Everything that can be wrong with one DICOM series."""

UNEVEN = 0.02
"""Share of the slice distance by which single distances may differ from it, since positions are rounded decimals."""

_WIDEST = 8
"""Bytes of the widest voxel that a series may come to hold once its values are rescaled."""

_HARMLESS_NAME = re.compile(r"[A-Za-z]{0,4}[-_]?\d{1,6}(\.[A-Za-z]{2,4})?", re.ASCII)
"""Names that a scanner or an archive counts with, such as IM00012.dcm; any other may be a patient's, or a UID."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_dicom_series(folder: str | Path) -> Volume:
    """Read the one DICOM series that a folder holds. Files named as documents are passed over
    (``dicom_header.DOCUMENTS``); any other that cannot be read is a slice that is lost, and the series is refused.

    Voxels are indexed (column, row, slice), with the slices in rising order along their normal, and hold rescaled
    values: the stored integer type where slope and intercept keep them whole, else a floating type.
    ``sha256`` is that of the sorted sha256 of the slices' files, so it depends neither on names nor on their order.
    The volume's description is empty: DICOM's texts may name the patient.

    Raises:
        BadImage: with one of ``DICOM_REASONS``.
    """
    folder = Path(str(folder).removeprefix("file://"))
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # ITK's warnings quote tags
    slices = _headers(folder)
    if not slices:
        raise _bad(NO_SERIES, folder, "none of its files is a DICOM image with a place in space")
    _one_series(folder, slices)
    ordered, gap = _in_order(folder, slices)
    image = _voxels(folder, ordered)
    voxels = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    if not np.isfinite(voxels).all():
        raise _bad(NOT_FINITE, folder, "some of its voxels are NaN or infinite")
    if voxels.min() == voxels.max():
        raise _bad(EMPTY, folder, f"every voxel is {voxels.min()}")
    voxels.flags.writeable = False
    digests = sorted(hashlib.sha256(one.path.read_bytes()).hexdigest() for one in ordered)
    sha256 = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return Volume(voxels, _affine(ordered, image, gap), sha256, notes=tuple(_perhaps_missing(ordered)))


def _bad(reason: str, folder: Path, what: str) -> BadImage:
    hint = "Each folder must hold the slices of one series, all of them and nothing else that is DICOM."
    return BadImage(reason, f"{folder}: {what}.", hint=hint)


def _files(folder: Path) -> list[Path]:
    try:
        names = (path for path in folder.iterdir() if path.name != "DICOMDIR")
        paths = sorted(path for path in names if path.is_file() and (_is_lost(path) or not is_litter(path.name)))
        size = sum(path.stat().st_size for path in paths)
    except OSError as error:
        raise _bad(UNREADABLE, folder, error.strerror or str(error)) from error
    if len(paths) > limits.SLICES or size > limits.IMAGE:
        most = f"the limits are {limits.SLICES:,} and {limits.IMAGE:,}"
        raise _bad(TOO_LARGE, folder, f"it holds {len(paths):,} files of {size:,} bytes in all; {most}")
    return paths


def _is_lost(path: Path) -> bool:
    """Whether it is half of a file whose whole does not lie beside it."""
    return is_half(path.name) and not path.with_suffix("").exists()


def _headers(folder: Path) -> list[Slice]:
    """The headers of all slices. Raises BadImage that names every file which should be one and cannot be read."""
    found: list[Slice] = []
    faults: dict[str, list[Path]] = {}
    for path in _files(folder):
        try:
            if (header := read_slice(path)) is not None:
                found.append(header)
        except BadSlice as error:
            faults.setdefault(str(error), []).append(path)
    if faults:
        parts = []
        for fault, paths in faults.items():
            named = ", ".join(_named(path) for path in paths[:3]) + (f" and {len(paths) - 3} more" * (len(paths) > 3))
            parts.append(f"{named}: {fault}")
        raise _bad(MANY_FRAMES if [*faults] == [FRAMES] else UNREADABLE, folder, "; ".join(parts))
    return found


def _perhaps_missing(slices: list[Slice]) -> Iterator[str]:
    """What numbers in headers say of slices that may be missing at an end, where positions show no gap."""
    numbers = [one.number for one in slices if one.number is not None]
    acquired = max((one.acquired or 0 for one in slices), default=0)
    if len(numbers) == len(slices) and (min(numbers) > 1 or max(numbers) - min(numbers) >= len(slices)):
        yield f"its {len(slices)} slices are numbered from {min(numbers)} to {max(numbers)}: some may be missing"
    elif acquired > len(slices):
        yield f"its headers speak of {acquired} images, and {len(slices)} are here: some may be missing"


def _named(path: Path) -> str:
    """A file by its name, or by its place among the names of its folder where the name may say who it shows."""
    if _HARMLESS_NAME.fullmatch(path.name):
        return path.name
    return f"file {sorted(path.parent.iterdir()).index(path) + 1} by name"


def _plain(error: Exception) -> Exception:
    """A cause that travels between processes, without the text of ITK, which may quote the file."""
    return ValueError(type(error).__name__)


def _one_series(folder: Path, slices: list[Slice]) -> None:
    series: dict[str, list[Path]] = {}
    for one in slices:
        series.setdefault(one.series, []).append(one.path)
    if len(series) > 1:
        paths = sorted(series.values(), key=lambda same: same[0].name)[:6]
        named = ", ".join(f"that of {_named(same[0])} ({len(same)} slices)" for same in paths)
        raise _bad(SEVERAL_SERIES, folder, f"it holds {len(series)} series: {named}")
    first = slices[0]
    for one in slices[1:]:
        if one.kind != first.kind:
            raise _bad(
                MIXED_SLICES, folder, f"{_named(one.path)} and {_named(first.path)} differ in size, spacing or type"
            )
        if np.abs(one.orientation - first.orientation).max() > 1e-3:
            raise _bad(MIXED_SLICES, folder, f"{_named(one.path)} and {_named(first.path)} are not parallel")
    if first.kind[0] != 1:
        raise _bad(NOT_3D, folder, f"its voxels have {first.kind[0]} components each, as colours have")
    if len(slices) < 2:
        raise _bad(NOT_3D, folder, "it holds a single slice")


def _in_order(folder: Path, slices: list[Slice]) -> tuple[list[Slice], np.ndarray]:
    """The slices along their normal, and the step (3,) in millimetres, LPS, from each to the next.

    Raises BadImage where the steps are not all alike: a slice is missing or there twice.
    """
    along = np.cross(*slices[0].orientation)
    ordered = sorted(slices, key=lambda one: (float(one.position @ along), one.path.name))
    places = np.array([one.position for one in ordered])
    steps = np.diff(places, axis=0)
    usual = np.median(steps, axis=0)
    far = np.linalg.norm(steps - usual, axis=1)
    length = float(np.linalg.norm(usual))
    if length == 0 or far.max() > UNEVEN * length:
        at = int(far.argmax()) if length else 0
        raise _bad(
            MISSING_SLICES,
            folder,
            f"between {_named(ordered[at].path)} and {_named(ordered[at + 1].path)} lie "
            f"{np.linalg.norm(steps[at]):.4g} mm, between most of its {len(ordered)} slices {length:.4g} mm",
        )
    return ordered, (places[-1] - places[0]) / (len(ordered) - 1)


def _voxels(folder: Path, ordered: list[Slice]) -> sitk.Image:
    announced = math.prod(ordered[0].size) * len(ordered) * _WIDEST
    if announced > limits.IMAGE:  # a slice may be compressed: its file's size says little
        raise _bad(TOO_LARGE, folder, f"its headers announce {announced:,} bytes; the limit is {limits.IMAGE:,}")
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.MetaDataDictionaryArrayUpdateOff()
    reader.SetFileNames([os.fspath(one.path) for one in ordered])
    failed = None
    try:
        image = reader.Execute()
    except RuntimeError as error:
        failed = _plain(error)
    if failed is not None:
        lost = ", ".join(_named(one.path) for one in ordered if not _can_be_read(one.path))
        raise _bad(UNREADABLE, folder, f"the voxels of {lost or 'its slices'} cannot be read") from failed
    if image.GetSize()[2] != len(ordered):
        raise _bad(NOT_3D, folder, f"its {len(ordered)} slices became {times(image.GetSize())} voxels")
    return image


def _can_be_read(path: Path) -> bool:
    try:
        sitk.ReadImage(os.fspath(path), imageIO="GDCMImageIO")
    except RuntimeError:
        return False
    return True


def _affine(ordered: list[Slice], image: sitk.Image, gap: np.ndarray) -> np.ndarray:
    """Voxel index to millimetres, RAS+; the slices' step is measured between the outermost, gantry tilt included."""
    spacing = image.GetSpacing()
    affine = np.eye(4)
    affine[:3, 0] = ordered[0].orientation[0] * spacing[0]
    affine[:3, 1] = ordered[0].orientation[1] * spacing[1]
    affine[:3, 2] = gap
    affine[:3, 3] = ordered[0].position
    return _LPS_TO_RAS @ affine
