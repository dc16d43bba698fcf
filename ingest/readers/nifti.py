"""NIfTI volumes: read once, checked, and named by what they hold.

A file's bytes are read once. They are hashed, decompressed no further than their header announces, and looked at
through a view; nothing is widened to float64. Format: https://nifti.nimh.nih.gov/nifti-1 and nifti-2.
"""

from __future__ import annotations

import errno
import hashlib
import math
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from isal import isal_zlib

from gliolake import limits
from gliolake.errors import GliolakeError
from gliolake.ingest.readers.nifti_affine import affine_of

UNREADABLE = "unreadable file"
WRONG_SIZE = "size disagrees with header"
NOT_3D = "not a 3-D image"
NOT_FINITE = "voxels not finite"
TOO_LARGE = "too large"
EMPTY = "empty image"
REASONS = (UNREADABLE, WRONG_SIZE, NOT_3D, NOT_FINITE, TOO_LARGE, EMPTY)
"""Everything that can be wrong with one image file."""

_HEADERS: dict[int, type[nib.Nifti1Header]] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_LONGEST_HEADER = max(_HEADERS)
_GZIP = b"\x1f\x8b"
_WINDOW = 1 << 16


class BadImage(GliolakeError):
    """A file that is no sound 3-D volume. ``reason`` is one of ``REASONS``; the message has the detail."""

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self.reason, str(self), self.hint)


def _rebuild(reason: str, message: str, hint: str) -> BadImage:
    return BadImage(reason, message, hint=hint)


@dataclass(frozen=True)
class Volume:
    """A sound 3-D volume.

    voxels: (i, j, k), read-only, the stored dtype in this machine's byte order; float32 where the header scales.
    affine: (4, 4) float64, voxel index to millimetres, RAS+.
    sha256: of the file's bytes. description: the header's free text (descrip).
    notes: in words, what was repaired or guessed to read it.
    """

    voxels: np.ndarray
    affine: np.ndarray
    sha256: str
    description: str = ""
    notes: tuple[str, ...] = ()


def read_volume(uri: str) -> Volume:
    """Read a ``.nii`` or ``.nii.gz`` file, NIfTI-1 or -2, of either byte order.

    Raises:
        BadImage: with one of ``REASONS``.
    """
    return parse_volume(_file_bytes(uri), uri)


def parse_volume(data: bytes, uri: str) -> Volume:
    """As ``read_volume``, of a file's bytes; ``uri`` names it in messages. Raises BadImage."""
    sha256 = hashlib.sha256(data).hexdigest()
    header = _parse_header(uri, _content(uri, data, _LONGEST_HEADER))
    shape, dtype, offset = _layout(uri, header)
    announced = offset + math.prod(shape) * dtype.itemsize
    _check_size(uri, data, announced)
    content = _content(uri, data, announced + 1)  # one byte more shows what the header leaves out
    if len(content) != announced:
        found = "more" if len(content) > announced else f"{len(content):,}"
        raise _bad(
            WRONG_SIZE, uri, f"its header announces {announced:,} bytes ({times(shape)} of {dtype}), it holds {found}"
        )
    stored = np.frombuffer(content, dtype, offset=offset).reshape(shape, order="F")
    stored = stored.astype(dtype.newbyteorder("="), copy=False)
    _check_range(uri, stored)
    voxels = _scaled(uri, header, stored)
    voxels.flags.writeable = False
    affine, notes = _affine(uri, header)
    return Volume(voxels, affine, sha256, _description(header), notes)


def turn_to_lps(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reorder and flip the axes so that they run to the patient's left, posterior and superior.

    voxels: (i, j, k); affine: (4, 4). Returns a view of the voxels and the affine that goes with it; an oblique volume
    is turned to the nearest axes, nothing is resampled.
    """
    return nib.orientations.apply_orientation(voxels, lps_turn(affine)), lps_grid(voxels.shape, affine)[1]


def lps_grid(shape: tuple[int, ...], affine: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of a volume after ``turn_to_lps``."""
    turn = lps_turn(affine)
    turned = tuple(shape[axis] for axis in np.argsort(turn[:, 0]))
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, shape)


def lps_turn(affine: np.ndarray) -> np.ndarray:
    """(3, 2): for each stored axis the LPS axis it becomes, and -1 where it is flipped, else 1."""
    lps = nib.orientations.axcodes2ornt("LPS")
    turn: np.ndarray = nib.orientations.ornt_transform(nib.orientations.io_orientation(affine), lps)
    return turn


def _bad(reason: str, uri: str, what: str) -> BadImage:
    return BadImage(reason, f"{uri}: {what}.", hint="Replace the file from its source, and ingest the folder again.")


def times(shape: tuple[int, ...]) -> str:
    """A shape as people write it: 240×240×155."""
    return "×".join(map(str, shape))


def _file_bytes(uri: str) -> bytes:
    try:
        return limits.read_whole(uri.removeprefix("file://"), limits.IMAGE)
    except OSError as error:
        what = error.strerror or str(error)
        if error.errno in (errno.EFBIG, errno.EINVAL):  # of the file itself; others may pass
            raise _bad(TOO_LARGE if error.errno == errno.EFBIG else UNREADABLE, uri, what) from None
        raise _bad(UNREADABLE, uri, what) from error


def _check_size(uri: str, data: bytes, announced: int) -> None:
    """Refuse what is too large, and a small file that unpacks to very much, before it is unpacked."""
    most = limits.IMAGE
    if data[:2] == _GZIP:
        most = min(most, max(limits.UNSUSPECTED, limits.INFLATION * len(data)))
    if announced > most:
        raise _bad(
            TOO_LARGE,
            uri,
            f"its header announces {announced:,} bytes; the limit for a file of {len(data):,} bytes is {most:,}",
        )


def _content(uri: str, data: bytes, count: int) -> bytes:
    """The first ``count`` bytes of a file's uncompressed content, fewer where there are no more; unpacks no further.

    It is called twice, for the header and for the whole, because joining the two parts would cost more than
    unpacking the header again.
    """
    if data[:2] != _GZIP:
        return data if len(data) <= count else data[:count]
    pieces: list[bytes] = []
    at, members, member = 0, 0, None
    # gzip files may be concatenated, and padded with zeros. The first look is at all of it, as nearly all have one
    # member; what follows is looked at through a window, since each member copies what it leaves.
    while at < len(data) and count > 0:
        window = data[at : at + _WINDOW] if at else data
        if member is None:
            if not (packed := window.lstrip(b"\0")):
                at += len(window)
                continue
            at += len(window) - len(packed)
            window, members = packed, members + 1
            if members > limits.GZIP_MEMBERS:
                raise _bad(UNREADABLE, uri, f"its gzip data has more than {limits.GZIP_MEMBERS:,} parts")
            member = isal_zlib.decompressobj(wbits=31)
        damage = None
        try:
            pieces.append(piece := member.decompress(window, count))
        except Exception as error:  # isal's own type, which is not importable
            damage = str(error)
        if damage is not None:  # raised out here, as a cause that cannot be pickled would not leave a worker
            raise _bad(UNREADABLE, uri, f"its gzip data is damaged ({damage})")
        count -= len(piece)
        at += len(window) - len(member.unused_data)
        member = None if member.eof else member
    if count > 0 and member is not None:
        raise _bad(UNREADABLE, uri, "its gzip data breaks off")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _parse_header(uri: str, start: bytes) -> nib.Nifti1Header:
    for order, endianness in (("little", "<"), ("big", ">")):
        size = int.from_bytes(start[:4], order)  # type: ignore[arg-type]
        if size in _HEADERS and len(start) >= size:
            header = _HEADERS[size](start[:size], endianness, check=False)
            if header["magic"].item()[:3] not in (b"n+1", b"n+2"):
                kind = "half of a pair (.hdr and .img)" if header["magic"].item()[:2] == b"ni" else "Analyze 7.5"
                raise _bad(UNREADABLE, uri, f"it is {kind}, not a single-file NIfTI image (magic n+1 or n+2)")
            return header
    raise _bad(UNREADABLE, uri, "it does not begin with a NIfTI header")


def _layout(uri: str, header: nib.Nifti1Header) -> tuple[tuple[int, int, int], np.dtype, int]:
    """Shape, voxel type in the file's byte order, and offset of the first voxel."""
    try:
        dtype = header.get_data_dtype()
        offset = int(header["vox_offset"]) or header.single_vox_offset
    except Exception as error:  # nibabel raises many types on a header of random bytes
        raise _bad(UNREADABLE, uri, f"its header cannot be understood ({error})") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise _bad(UNREADABLE, uri, f"its voxels are of type {dtype}, not integers or real numbers of up to 64 bits")
    if offset < header.single_vox_offset:
        raise _bad(UNREADABLE, uri, f"its header places the voxels at byte {offset}, inside the header")
    count = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : 1 + max(count, 0)]]
    if not 3 <= count <= 7 or min(sizes) < 1 or any(size != 1 for size in sizes[3:]):
        raise _bad(NOT_3D, uri, f"its header gives {count} dimensions of sizes {sizes}; three are expected")
    return (sizes[0], sizes[1], sizes[2]), dtype, offset


def _check_range(uri: str, voxels: np.ndarray) -> None:
    """Refuse NaN, infinite and empty volumes: smallest and largest voxel show them without another pass."""
    low, high = voxels.min(), voxels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        count = int(voxels.size - np.isfinite(voxels).sum())
        raise _bad(NOT_FINITE, uri, f"{count:,} of its {voxels.size:,} voxels are NaN or infinite")
    if low == high:
        raise _bad(EMPTY, uri, f"every voxel is {low}")


def _scaled(uri: str, header: nib.Nifti1Header, stored: np.ndarray) -> np.ndarray:
    """The voxels after the header's slope and intercept, float32; as they are where it has none."""
    try:
        slope, intercept = header.get_slope_inter()
    except Exception as error:
        raise _bad(UNREADABLE, uri, f"its scaling cannot be understood ({error})") from error
    if slope is None or (slope, intercept) == (1.0, 0.0):
        return stored.view()
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = stored.astype(np.float32)
        scaled *= np.float32(slope)
        scaled += np.float32(intercept)
    _check_range(uri, scaled)
    return scaled


def _description(header: nib.Nifti1Header) -> str:
    return bytes(header["descrip"].item()).split(b"\0", 1)[0].decode("latin-1").strip()


def _affine(uri: str, header: nib.Nifti1Header) -> tuple[np.ndarray, tuple[str, ...]]:
    try:
        return affine_of(header)
    except Exception as error:  # of the reasons it gives, and of numpy and nibabel on headers of random bytes
        raise _bad(UNREADABLE, uri, str(error)) from error
