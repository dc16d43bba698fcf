"""Volumes: what is read, what names it, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gliolake.ingest.readers import nifti
from gliolake.ingest.readers.nifti import BadImage, read_volume, turn_to_lps
from tests.support.full import examples

VOXELS = np.random.default_rng(0).integers(0, 900, (24, 20, 16), dtype=np.int16)
AFFINE = np.array([[-1.0, 0, 0, 3], [0, -1, 0, 239], [0, 0, 2, -7], [0, 0, 0, 1]])


def saved(path: Path, voxels: np.ndarray = VOXELS, *, kind: Any = nib.Nifti1Image, endianness: str = "<") -> Path:
    header = kind.header_class(endianness=endianness)
    header.set_data_dtype(voxels.dtype)
    kind(voxels, AFFINE, header).to_filename(path)
    return path


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_a_volume_reads_as_nibabel_reads_it(tmp_path: Path, ending: str, kind: Any, endianness: str) -> None:
    path = saved(tmp_path / f"a.{ending}", kind=kind, endianness=endianness)
    volume = read_volume(str(path))
    image = nib.load(path)
    assert np.array_equal(volume.voxels, np.asanyarray(image.dataobj))
    assert volume.voxels.dtype == np.dtype("int16")
    assert np.allclose(volume.affine, image.affine)
    assert not volume.voxels.flags.writeable
    assert volume.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_gzip_of_several_members_that_is_padded_with_zeros_is_read_whole(tmp_path: Path) -> None:
    content = saved(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "members.nii.gz"
    path.write_bytes(gzip.compress(content[:999], 1) + gzip.compress(content[999:], 9) + b"\0" * 64)
    assert np.array_equal(read_volume(str(path)).voxels, VOXELS)


@pytest.mark.parametrize(
    ("slope", "intercept"), [(0.5, -3.0), (-2.0, 10.0), (0.0, 7.0), (np.nan, 7.0), (np.inf, 7.0), (1.0, 0.0)]
)
def test_a_header_scales_as_nibabel_and_itk_understand_it(tmp_path: Path, slope: float, intercept: float) -> None:
    path = saved(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, slope, intercept)
    path.write_bytes(content)
    volume = read_volume(str(path))
    assert np.array_equal(volume.voxels, nib.load(path).get_fdata(dtype=np.float32))
    if np.isfinite(slope) and slope:  # a slope of 0 is none, to the standard; ITK adds the intercept all the same
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose(2, 1, 0)
        assert np.array_equal(volume.voxels, theirs)


def test_a_slope_without_an_intercept_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, 2.0, np.nan)
    path.write_bytes(content)
    with pytest.raises(BadImage, match="its scaling cannot be understood"):
        read_volume(str(path))


def test_one_volume_in_a_fourth_dimension_is_a_volume(tmp_path: Path) -> None:
    assert read_volume(str(saved(tmp_path / "a.nii.gz", VOXELS[..., None]))).voxels.shape == VOXELS.shape


def with_sizes(path: Path, *sizes: int) -> None:
    """Change what the header says of the sizes, and nothing else."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(f"<{len(sizes) + 1}h", content, 40, len(sizes), *sizes)
    path.write_bytes(gzip.compress(bytes(content)))


def with_voxel(path: Path, value: float) -> None:
    voxels = VOXELS.astype(np.float32)
    voxels[3, 4, 5] = value
    saved(path, voxels)


def replaced(path: Path, at: int, data: bytes) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[at : at + len(data)] = data
    path.write_bytes(gzip.compress(bytes(content)))


FAULTS: dict[str, tuple[str, Any]] = {
    "gzip cut in the voxels": (nifti.UNREADABLE, lambda p: p.write_bytes(p.read_bytes()[:5000])),
    "gzip cut in the header": (nifti.UNREADABLE, lambda p: p.write_bytes(p.read_bytes()[:60])),
    "gzip cut before its checksum": (nifti.UNREADABLE, lambda p: p.write_bytes(p.read_bytes()[:-8])),
    "gzip with a wrong checksum": (
        nifti.UNREADABLE,
        lambda p: p.write_bytes(p.read_bytes()[:-8] + b"\1\2\3\4" + p.read_bytes()[-4:]),
    ),
    "not gzip, not NIfTI": (nifti.UNREADABLE, lambda p: p.write_bytes(b"<html>404 Not Found</html>" * 100)),
    "nothing": (nifti.UNREADABLE, lambda p: p.write_bytes(b"")),
    "no such file": (nifti.UNREADABLE, lambda p: p.unlink()),
    "a folder": (nifti.UNREADABLE, lambda p: (p.unlink(), p.mkdir())),
    "half of a pair of files": (nifti.UNREADABLE, lambda p: replaced(p, 344, b"ni1\0")),
    "colours": (nifti.UNREADABLE, lambda p: replaced(p, 70, struct.pack("<hh", 128, 24))),
    "voxels inside the header": (nifti.UNREADABLE, lambda p: replaced(p, 108, struct.pack("<f", 100.0))),
    "no position in space": (nifti.UNREADABLE, lambda p: replaced(p, 280, b"\0" * 48)),
    "header of a larger image": (nifti.WRONG_SIZE, lambda p: with_sizes(p, 24, 20, 17)),
    "header of a smaller image": (nifti.WRONG_SIZE, lambda p: with_sizes(p, 24, 20, 15)),
    "two volumes": (nifti.NOT_3D, lambda p: saved(p, np.stack([VOXELS, VOXELS], 3))),
    "a slice": (nifti.NOT_3D, lambda p: saved(p, VOXELS[:, :, 0])),
    "a negative size": (nifti.NOT_3D, lambda p: with_sizes(p, 24, -20, 16)),
    "NaN": (nifti.NOT_FINITE, lambda p: with_voxel(p, np.nan)),
    "infinity": (nifti.NOT_FINITE, lambda p: with_voxel(p, -np.inf)),
    "a header of gigabytes": (nifti.TOO_LARGE, lambda p: with_sizes(p, 2000, 2000, 2000)),
    "a constant": (nifti.EMPTY, lambda p: saved(p, np.full_like(VOXELS, 7))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_refused_with_its_reason(tmp_path: Path, fault: str) -> None:
    reason, spoil = FAULTS[fault]
    path = saved(tmp_path / "a.nii.gz")
    spoil(path)
    with pytest.raises(BadImage) as caught:
        read_volume(str(path))
    assert caught.value.reason == reason
    assert reason in nifti.REASONS
    assert str(path) in str(caught.value)
    travelled = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - as errors travel from Dask workers
    assert (travelled.reason, str(travelled), travelled.hint) == (reason, str(caught.value), caught.value.hint)


def test_a_gzip_that_holds_far_more_than_its_header_announces_is_not_unpacked(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nii.gz")
    with gzip.open(path, "ab", compresslevel=1) as file:
        for _ in range(200):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(BadImage) as caught:
            read_volume(str(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.reason == nifti.WRONG_SIZE
    assert peak < 20 << 20


@given(data=st.binary(max_size=900), packed=st.booleans())
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_that_are_no_volume_are_only_ever_a_bad_image(tmp_path: Path, data: bytes, packed: bool) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(BadImage):
        read_volume(str(path))


@given(changes=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=12))
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_scrambled_header_gives_a_volume_or_a_bad_image(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(nib.Nifti1Image(VOXELS, AFFINE).to_bytes())
    for at, value in changes:
        content[at] = value
    path = tmp_path / "a.nii"
    path.write_bytes(content)
    try:
        volume = read_volume(str(path))
    except BadImage:
        return
    assert np.isfinite(volume.voxels).all()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_turning_to_lps_moves_no_voxel_in_space(order: tuple[int, ...]) -> None:
    for signs in itertools.product((1.0, -1.0), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = (np.diag([1.0, 2.0, 3.0]) * signs)[:, order]
        affine[:3, 3] = (5, -6, 7)
        turned, new = turn_to_lps(VOXELS, affine)
        assert nib.aff2axcodes(new) == ("L", "P", "S")
        assert np.shares_memory(turned, VOXELS)
        for at in ((0, 0, 0), (3, 1, 2), (turned.shape[0] - 1, 5, turned.shape[2] - 1)):
            back = np.rint(np.linalg.inv(affine) @ new @ [*at, 1])[:3].astype(int)
            assert turned[at] == VOXELS[tuple(back)]


def test_real_scans_read_as_nibabel_reads_them(reference: Path) -> None:
    paths = sorted(reference.glob("scans/*/*/*.nii.gz"))
    assert len(paths) == 14
    for path in paths:
        volume, image = read_volume(str(path)), nib.load(path)
        assert np.array_equal(volume.voxels, np.asanyarray(image.dataobj))
        assert np.allclose(volume.affine, image.affine)
