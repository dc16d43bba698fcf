"""DICOM series: a folder of slices becomes one volume, checked, and named by what it holds.

Slices are read and put in order by SimpleITK (GDCM). Of each slice's header only ``READ_TAGS`` are asked for, which
place it in space and tell one series from another. None of their texts leaves this module, nor does a file's name that
could be a person's or a UID, so nothing that names a patient can reach the lake.
Format: DICOM PS3.3, C.7.6.2 (Image Plane Module); PS3.10, 7.1 (File Meta Information).
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from gliolake import limits
from gliolake.ingest.litter import is_half, is_litter
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

READ_TAGS = _POSITION, _ORIENTATION, _SERIES = "0020|0032", "0020|0037", "0020|000e"
"""Image position, image orientation, series instance UID: a slice has all of them."""

NUMBER_TAGS = _INSTANCE, _ACQUIRED = "0020|0013", "0020|1002"
"""Instance number and images in acquisition, which a slice may have. No texts of other tags are asked for."""

TRANSFER_SYNTAXES = {
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.5",
    *(b"1.2.840.10008.1.2.4." + name for name in b"50 51 57 70 80 81 90 91".split()),
}  # fmt: skip
"""Voxels as they are, run lengths, JPEG, JPEG-LS and JPEG 2000. A deflated file is one that could unpack to anything
before its header is known, and no scanner writes any."""

PLAIN = b"1.2.840.10008.1.2"
"""The transfer syntax of a file that does not say any (PS3.5, 10.1)."""

DOCUMENTS = re.compile(
    r".*\.(txt|md|rtf|pdf|docx?|xlsx?|csv|tsv|json|xml|ya?ml|toml|ini|log|html?|jpe?g|png|gif|bval|bvec|nii(\.gz)?|md5|sha\d*)"
    r"|dicomdir|readme|licen[cs]e|version|\w+sums",
    re.IGNORECASE,
)
"""Names of files that lie beside slices and are none. Any other file that is no DICOM is a slice that was damaged."""

_META = 1 << 16
"""Bytes in which a file has to say its transfer syntax."""

_HARMLESS_NAME = re.compile(r"[A-Za-z]{0,4}[-_]?\d{1,6}(\.[A-Za-z]{2,4})?", re.ASCII)
"""Names that a scanner or an archive counts with, such as IM00012.dcm; any other may be a patient's, or a UID."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class _Slice:
    """What is kept of one file's header: where the slice lies, and what slices of one series have in common."""

    path: Path
    series: str
    position: np.ndarray
    orientation: np.ndarray
    size: tuple[int, int]
    kind: tuple[object, ...]
    number: int | None
    acquired: int | None


class _BadSlice(Exception):
    """What is wrong with one file, without its name."""


def read_dicom_series(folder: str | Path) -> Volume:
    """Read the one DICOM series that a folder holds. Files named as documents are passed over (``DOCUMENTS``); any
    other that cannot be read is a slice that is lost, and the series is refused.

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


def _headers(folder: Path) -> list[_Slice]:
    """The headers of all slices. Raises BadImage that names every file which should be one and cannot be read."""
    found: list[_Slice] = []
    faults: dict[str, list[Path]] = {}
    for path in _files(folder):
        try:
            if (header := _header(path)) is not None:
                found.append(header)
        except _BadSlice as error:
            faults.setdefault(str(error), []).append(path)
    if faults:
        parts = []
        for fault, paths in faults.items():
            named = ", ".join(_named(path) for path in paths[:3]) + (f" and {len(paths) - 3} more" * (len(paths) > 3))
            parts.append(f"{named}: {fault}")
        raise _bad(MANY_FRAMES if [*faults] == [_FRAMES] else UNREADABLE, folder, "; ".join(parts))
    return found


_FRAMES = "it holds several frames (enhanced DICOM), and one slice a file is expected: convert it to NIfTI"


def _header(path: Path) -> _Slice | None:
    """A slice's header; None for a document that lies beside slices. Raises _BadSlice.

    What should be a slice and cannot be read is an error: passed over, it would leave a hole, or shorten the series.
    """
    if is_half(path.name):
        raise _BadSlice("its name says that it is half of a download or of a copy")
    try:
        with limits.open_regular(path) as file:
            start = file.read(_META)
    except OSError as error:
        raise _BadSlice(error.strerror or "it cannot be opened") from error
    syntax = transfer_syntax(start)
    if syntax is None:
        if DOCUMENTS.fullmatch(path.name):
            return None
        raise _BadSlice("it is empty" if not start else "it is no DICOM, or cut off at its beginning")
    if syntax not in TRANSFER_SYNTAXES:
        what = "deflated, or of a transfer syntax that is not read" if syntax else "damaged: it says no transfer syntax"
        raise _BadSlice(f"it is {what}")
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
        size = reader.GetSize()
    except RuntimeError:
        raise _BadSlice("it is damaged, or no image") from None
    if len(size) > 2 and size[2] != 1:
        raise _BadSlice(_FRAMES)
    try:
        tags = {tag: reader.GetMetaData(tag) for tag in READ_TAGS}
        position, orientation = (_numbers(tags[tag]) for tag in (_POSITION, _ORIENTATION))
    except (RuntimeError, ValueError):
        raise _BadSlice("it gives no place in space") from None
    if position.size != 3 or orientation.size != 6:
        raise _BadSlice("it gives no place in space")
    spacing = tuple(round(length, 6) for length in reader.GetSpacing()[:2])
    kind = (reader.GetNumberOfComponents(), size[:2], spacing, reader.GetPixelIDValue())
    number, acquired = (_whole(reader, tag) for tag in NUMBER_TAGS)
    return _Slice(
        path,
        tags[_SERIES].strip("\0 "),
        position,
        orientation.reshape(2, 3),
        (size[0], size[1]),
        kind,
        number,
        acquired,
    )


def _whole(reader: sitk.ImageFileReader, tag: str) -> int | None:
    try:
        return int(reader.GetMetaData(tag).strip("\0 "))
    except (RuntimeError, ValueError):
        return None


def _perhaps_missing(slices: list[_Slice]) -> Iterator[str]:
    """What numbers in headers say of slices that may be missing at an end, where positions show no gap."""
    numbers = [one.number for one in slices if one.number is not None]
    acquired = max((one.acquired or 0 for one in slices), default=0)
    if len(numbers) == len(slices) and (min(numbers) > 1 or max(numbers) - min(numbers) >= len(slices)):
        yield f"its {len(slices)} slices are numbered from {min(numbers)} to {max(numbers)}: some may be missing"
    elif acquired > len(slices):
        yield f"its headers speak of {acquired} images, and {len(slices)} are here: some may be missing"


def transfer_syntax(start: bytes) -> bytes | None:
    """The UID in element (0002,0010) of a file's meta information, whose encoding is fixed; None where it is no DICOM.

    The preamble may be missing, and with it the meta information (as before DICOM 3, and from some exports).
    """
    if start[128:132] != b"DICM":
        if re.match(rb"\x08\0[\0-\xff]\0", start, re.DOTALL):
            return PLAIN
        if not start.startswith(b"\x02\0"):
            return None
    at = 132 if start[128:132] == b"DICM" else 0
    while start[at : at + 2] == b"\x02\x00":
        long = start[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"UT", b"SQ", b"OF", b"UC", b"UR")
        value = at + (12 if long else 8)
        size = int.from_bytes(start[value - 4 if long else value - 2 : value], "little")
        if start[at + 2 : at + 4] == b"\x10\x00":
            return start[value : value + size].rstrip(b"\0 ")
        at = value + size
    return b""


def _named(path: Path) -> str:
    """A file by its name, or by its place among the names of its folder where the name may say who it shows."""
    if _HARMLESS_NAME.fullmatch(path.name):
        return path.name
    return f"file {sorted(path.parent.iterdir()).index(path) + 1} by name"


def _numbers(text: str) -> np.ndarray:
    numbers = np.array([float(number) for number in text.strip("\0 ").split("\\")])
    if not np.isfinite(numbers).all():
        raise ValueError("not finite")
    return numbers


def _plain(error: Exception) -> Exception:
    """A cause that travels between processes, without the text of ITK, which may quote the file."""
    return ValueError(type(error).__name__)


def _one_series(folder: Path, slices: list[_Slice]) -> None:
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


def _in_order(folder: Path, slices: list[_Slice]) -> tuple[list[_Slice], np.ndarray]:
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


def _voxels(folder: Path, ordered: list[_Slice]) -> sitk.Image:
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


def _affine(ordered: list[_Slice], image: sitk.Image, gap: np.ndarray) -> np.ndarray:
    """Voxel index to millimetres, RAS+; the slices' step is measured between the outermost, gantry tilt included."""
    spacing = image.GetSpacing()
    affine = np.eye(4)
    affine[:3, 0] = ordered[0].orientation[0] * spacing[0]
    affine[:3, 1] = ordered[0].orientation[1] * spacing[1]
    affine[:3, 2] = gap
    affine[:3, 3] = ordered[0].position
    return _LPS_TO_RAS @ affine
