"""The header of one DICOM slice: where the slice lies in space, and which series it belongs to.

pydicom is asked for ``READ_TAGS`` alone, in the first ``HEADER`` bytes of a file. The size and type of voxels are asked
of SimpleITK, which reads them. No other text of a header is kept, so nothing that names a patient can reach the lake.
Format: DICOM PS3.3, C.7.6.2 (Image Plane Module); PS3.10, 7.1 (File Meta Information).
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from pydicom.filereader import read_dataset

from gliolake import limits
from gliolake.ingest.litter import is_half

SYNTAX = 0x00020010
READ_TAGS = SERIES, INSTANCE, POSITION, ORIENTATION, ACQUIRED = (
    0x0020000E, 0x00200013, 0x00200032, 0x00200037, 0x00201002,
)  # fmt: skip
"""Series instance UID, instance number, image position, image orientation, images in acquisition. A slice has all of
them but the numbers, which it may have. No other texts are kept."""

PLAIN = "1.2.840.10008.1.2"
"""The transfer syntax of a file that does not say any (PS3.5, 10.1)."""

BIG_ENDIAN = f"{PLAIN}.2"
TRANSFER_SYNTAXES = {
    PLAIN, f"{PLAIN}.1", BIG_ENDIAN, f"{PLAIN}.5",
    *(f"{PLAIN}.4.{name}" for name in (50, 51, 57, 70, 80, 81, 90, 91)),
}  # fmt: skip
"""Voxels as they are, run lengths, JPEG, JPEG-LS and JPEG 2000. A deflated file is one that could unpack to anything
before its header is known, and no scanner writes any."""

HEADER = 1 << 18
"""Bytes at the beginning of a file in which all of ``READ_TAGS`` must lie; a scanner's take some thousand. To read as
many of empty items, the slowest there are, takes a second."""

DOCUMENTS = re.compile(
    r".*\.(txt|md|rtf|pdf|docx?|xlsx?|csv|tsv|json|xml|ya?ml|toml|ini|log|html?|jpe?g|png|gif|bval|bvec|nii(\.gz)?|md5|sha\d*)"
    r"|dicomdir|readme|licen[cs]e|version|\w+sums",
    re.IGNORECASE,
)
"""Names of files that lie beside slices and are none. Any other file that is no DICOM is a slice that was damaged."""

FRAMES = "it holds several frames (enhanced DICOM), and one slice a file is expected: convert it to NIfTI"

DAMAGED = "it is damaged, or no image"

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its messages quote values


class BadSlice(Exception):
    """What is wrong with one file, without its name."""


@dataclass(frozen=True)
class Header:
    """What is kept of a header; positions in millimetres, LPS."""

    series: str
    position: np.ndarray
    orientation: np.ndarray
    number: int | None
    acquired: int | None


@dataclass(frozen=True)
class Slice(Header):
    """A slice's file and header, and what slices of one series have in common."""

    path: Path
    size: tuple[int, int]
    kind: tuple[object, ...]


def read_slice(path: Path) -> Slice | None:
    """A slice's header; None for a document that lies beside slices.

    Raises:
        BadSlice: what should be a slice cannot be read: passed over, it would leave a hole, or shorten the series.
    """
    if is_half(path.name):
        raise BadSlice("its name says that it is half of a download or of a copy")
    try:
        with limits.open_regular(path) as file:
            start = file.read(HEADER)
    except OSError as error:
        raise BadSlice(error.strerror or "it cannot be opened") from error
    if not is_dicom(start):
        if DOCUMENTS.fullmatch(path.name):
            return None
        raise BadSlice("it is no DICOM, or cut off at its beginning" if start else "it is empty")
    texts = read_texts(start)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise BadSlice(DAMAGED) from None
    size = reader.GetSize()
    if len(size) > 2 and size[2] != 1:
        raise BadSlice(FRAMES)
    spacing = tuple(round(length, 6) for length in reader.GetSpacing()[:2])
    kind = (reader.GetNumberOfComponents(), size[:2], spacing, reader.GetPixelIDValue())
    return Slice(**vars(place_of(texts)), path=path, size=(size[0], size[1]), kind=kind)


def is_dicom(start: bytes) -> bool:
    """Whether a file begins as DICOM does. The preamble may be missing, and with it the meta information (as before
    DICOM 3, and from some exports)."""
    return start[128:132] == b"DICM" or bool(re.match(rb"\x02\0|\x08\0[\0-\xff]\0", start))


def read_texts(start: bytes) -> dict[int, str]:
    """The values of ``READ_TAGS``, as far as they are there, from the first bytes of a DICOM file.

    Raises:
        BadSlice: they are damaged, or of a transfer syntax that is not read.
    """
    preamble = start[128:132] == b"DICM"
    file = BytesIO(start)
    file.seek(132 if preamble else 0)
    syntax = PLAIN
    if preamble or start.startswith(b"\x02"):
        syntax = _texts(file, last=0x0002FFFF, implicit=False, little=True).get(SYNTAX, "")
    if syntax not in TRANSFER_SYNTAXES:
        what = "deflated, or of a transfer syntax that is not read" if syntax else "damaged: it says no transfer syntax"
        raise BadSlice(f"it is {what}")
    return _texts(file, last=max(READ_TAGS), implicit=syntax == PLAIN, little=syntax != BIG_ENDIAN)


def place_of(texts: Mapping[int, str]) -> Header:
    """What the values of ``READ_TAGS`` say of a slice.

    Raises:
        BadSlice: they give no place in space.
    """
    try:
        position, orientation = _numbers(texts[POSITION], 3), _numbers(texts[ORIENTATION], 6).reshape(2, 3)
        return Header(texts[SERIES], position, orientation, _whole(texts.get(INSTANCE)), _whole(texts.get(ACQUIRED)))
    except (KeyError, ValueError):
        raise BadSlice("it gives no place in space") from None


def _texts(file: BytesIO, *, last: int, implicit: bool, little: bool) -> dict[int, str]:
    """The values of ``SYNTAX`` and ``READ_TAGS`` in the elements up to the tag ``last``.

    Not by ``pydicom.dcmread``: it would inflate a deflated file.
    """
    wanted = [SYNTAX, *READ_TAGS]
    try:
        with warnings.catch_warnings(action="ignore"):
            read = read_dataset(file, implicit, little, stop_when=lambda tag, *_: tag > last, specific_tags=wanted)
            values = {int(item.tag): item.value for item in read.elements()}
    except Exception:  # damaged bytes make pydicom raise errors of many kinds
        raise BadSlice(DAMAGED) from None
    return {
        tag: value.decode("ascii", "replace").strip("\0 ") for tag, value in values.items() if isinstance(value, bytes)
    }


def _numbers(text: str, count: int) -> np.ndarray:
    numbers = np.array([float(number) for number in text.split("\\")])
    if numbers.size != count or not np.isfinite(numbers).all():
        raise ValueError("not a place")
    return numbers


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[+-]?\d{1,12}", text, re.ASCII) else None
