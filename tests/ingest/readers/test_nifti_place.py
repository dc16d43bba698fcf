"""Where a header places its image: what nibabel and ITK say, the standard's repairs, and a word on what was guessed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from gliolake.ingest.readers import nifti
from gliolake.ingest.readers.nifti import BadImage, Volume, parse_volume, read_volume
from tests.support.full import examples

VOXELS = np.random.default_rng(0).integers(0, 900, (14, 12, 10), dtype=np.int16)
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ANGLE = 0.3
PLACE = np.array(
    [[-0.9 * np.cos(ANGLE), 1.1 * np.sin(ANGLE), 0, 80], [-0.9 * np.sin(ANGLE), -1.1 * np.cos(ANGLE), 0, 95],
     [0, 0, 5.5, -20], [0, 0, 0, 1]]
)  # fmt: skip
"""Oblique, with voxels of 0.9 × 1.1 × 5.5 mm."""


def header(**fields: Any) -> nib.Nifti1Header:
    """One whose sform (code 1) and qform (code 1) both say ``PLACE``, with some fields changed."""
    made = nib.Nifti1Header()
    made.set_data_dtype(np.int16)
    made.set_data_shape(VOXELS.shape)
    made.set_sform(PLACE, 1)
    made.set_qform(PLACE, 1)
    made["magic"], made["vox_offset"], made["scl_slope"] = b"n+1", 352, 1
    for name, value in fields.items():
        if isinstance(value, dict):
            for place, number in value.items():
                made[name][place] = number
        else:
            made[name] = value
    return made


def data(**fields: Any) -> bytes:
    return bytes(header(**fields).binaryblock) + bytes(4) + VOXELS.tobytes(order="F")


def read(**fields: Any) -> Volume:
    return parse_volume(data(**fields), "made.nii")


def of_itk(path: Path) -> np.ndarray:
    """The affine that ITK gives, RAS+."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return RAS @ affine


def of_nibabel(path: Path) -> np.ndarray:
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)
    return np.asarray(nib.load(path).affine)


NO_ROWS = {f"srow_{axis}": 0 for axis in "xyz"}
NAN_ROWS = {f"srow_{axis}": np.nan for axis in "xyz"}
NO_SFORM = {"sform_code": 0, **NO_ROWS}
USED = "the qform is used"

SAME_PLACE: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "as it should be": ({}, "", ("nibabel", "ITK")),
    "sform alone": ({"qform_code": 0}, "", ("nibabel", "ITK")),
    "qform alone": (NO_SFORM, "", ("nibabel", "ITK")),
    "qfac 0": (NO_SFORM | {"pixdim": {0: 0}}, "", ("nibabel", "ITK")),
    "qfac 0.5": (NO_SFORM | {"pixdim": {0: 0.5}}, "", ("nibabel", "ITK")),
    "qfac NaN": (NO_SFORM | {"pixdim": {0: np.nan}}, "", ("ITK",)),
    "sform of zeros beside a qform": (NO_ROWS, USED, ()),
    "sform of NaN beside a qform": (NAN_ROWS, USED, ()),
    "sform with a row of zeros": ({"srow_z": 0}, USED, ()),
    "sform with an infinite offset": ({"srow_x": {3: np.inf}}, USED, ()),
    "negative voxel size beside an sform": ({"pixdim": {1: -0.9}}, "", ("nibabel",)),
    "negative voxel sizes in a qform": (NO_SFORM | {"pixdim": {1: -0.9}}, "negative voxel sizes", ("nibabel",)),
    "qform of NaN beside an sform": ({"quatern_b": np.nan}, "", ("nibabel",)),
    "quaternion longer than 1 beside an sform": ({"quatern_b": 2.0}, "", ("nibabel",)),
    "unknown units": ({"xyzt_units": 0}, "", ("nibabel", "ITK")),
    "seconds in the units": ({"xyzt_units": 2 | 8}, "", ("nibabel", "ITK")),
    "an intent": ({"intent_code": 1002, "intent_name": b"labels"}, "", ("nibabel", "ITK")),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME_PLACE)
def test_a_header_that_can_be_understood_gives_the_place_and_a_word_on_every_repair(tmp_path: Path, case: str) -> None:
    fields, told, agreeing = SAME_PLACE[case]
    volume = read(**fields)
    np.testing.assert_allclose(volume.affine, PLACE, atol=2e-5)
    assert np.array_equal(volume.voxels, VOXELS)
    assert len(volume.notes) == bool(told)
    assert told in "".join(volume.notes)
    path = tmp_path / "a.nii"
    path.write_bytes(data(**fields))
    for name, affine in (("nibabel", of_nibabel), ("ITK", of_itk)):
        if name in agreeing:
            np.testing.assert_allclose(volume.affine, affine(path), atol=1e-4)


REFUSED: dict[str, dict[str, Any]] = {
    "sform of zeros alone": {"qform_code": 0, **NO_ROWS},
    "sform of NaN alone": {"qform_code": 0, **NAN_ROWS},
    "both useless": NO_ROWS | {"quatern_c": np.inf},
    "a quaternion far too long": NO_SFORM | {"quatern_b": 1.5},
    "voxels of no size": NO_SFORM | {"pixdim": {2: 0}},
    "voxels of NaN": NO_SFORM | {"pixdim": {2: np.nan}},
    "an offset of NaN": NO_SFORM | {"qoffset_y": np.nan},
    "an offset of light years": {"qform_code": 0, "srow_x": {3: 1e30}},
    "no size and no place": NO_SFORM | {"qform_code": 0, "pixdim": {1: 0}},
    "metres that are millimetres": {"xyzt_units": 1},
    "micrometres that are millimetres": {"xyzt_units": 3},
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_header_that_gives_no_possible_place_is_refused(case: str) -> None:
    with pytest.raises(BadImage, match=r"no position in space|voxel sizes are given in") as caught:
        read(**REFUSED[case])
    assert caught.value.reason == nifti.UNREADABLE


def test_a_quaternion_that_rounding_made_longer_than_1_is_shortened_as_itk_does(tmp_path: Path) -> None:
    half_turn = np.diag([-1.0, -1.0, 1.0, 1.0]) @ PLACE
    made = header(**NO_SFORM)
    made.set_qform(half_turn, 1)
    quaternion = np.array([made["quatern_b"], made["quatern_c"], made["quatern_d"]])
    quaternion *= 1.0005 / np.linalg.norm(quaternion)
    for name, number in zip("bcd", quaternion, strict=True):
        made[f"quatern_{name}"] = number
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(made.binaryblock) + bytes(4) + VOXELS.tobytes(order="F"))
    volume = read_volume(str(path))
    np.testing.assert_allclose(volume.affine, of_itk(path), atol=1e-4)
    np.testing.assert_allclose(nib.affines.voxel_sizes(volume.affine), [0.9, 1.1, 5.5], atol=1e-5)


def test_sform_before_qform_and_a_word_where_they_disagree() -> None:
    volume = read(qoffset_x=77.0)
    np.testing.assert_allclose(volume.affine, PLACE, atol=1e-6)
    assert volume.notes == ("sform and qform disagree by up to 3 mm: the sform is used",)
    assert read(qoffset_x=79.95).notes == ()


@pytest.mark.parametrize("sizes", [(0.9, 1.1, 5.5), (-0.9, 1.1, 5.5), (-0.9, -1.1, -5.5)])
def test_a_header_without_a_place_is_read_as_nibabel_guesses_and_says_so(
    tmp_path: Path, sizes: tuple[float, ...]
) -> None:
    fields = NO_SFORM | {"qform_code": 0, "pixdim": dict(enumerate(sizes, 1))}
    volume = read(**fields)
    path = tmp_path / "a.nii"
    path.write_bytes(data(**fields))
    np.testing.assert_allclose(volume.affine, of_nibabel(path), atol=1e-5)
    assert nib.aff2axcodes(volume.affine) == ("L", "A", "S")
    assert "position guessed" in volume.notes[0]
    assert len(volume.notes) == 1 + (min(sizes) < 0)
    if min(sizes) > 0:
        assert nib.aff2axcodes(of_itk(path)) == ("L", "P", "S"), "what the warning says of ITK"


@pytest.mark.parametrize("unit", [(1, 1e-3, "metres"), (3, 1e3, "micrometres")])
@pytest.mark.parametrize(("form", "size"), [("sform", 1.0), ("qform", 1.0), ("sform", 0.3), ("qform", 0.3)])
def test_sizes_in_metres_and_micrometres_become_millimetres(
    tmp_path: Path, unit: tuple[int, float, str], form: str, size: float
) -> None:
    code, factor, named = unit
    made = header(xyzt_units=code)
    place = PLACE @ np.diag([size, size, size, 1])
    scaled = np.diag([factor, factor, factor, 1]) @ place
    made.set_sform(scaled, int(form == "sform"))
    made.set_qform(scaled, int(form == "qform"))
    volume = parse_volume(bytes(made.binaryblock) + bytes(4) + VOXELS.tobytes(order="F"), "made.nii")
    np.testing.assert_allclose(volume.affine, place, rtol=1e-5, atol=1e-4)
    assert volume.notes == (f"sizes given in {named}: turned into millimetres",)
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(made.binaryblock) + bytes(4) + VOXELS.tobytes(order="F"))
    np.testing.assert_allclose(of_itk(path)[:3, :3], place[:3, :3], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("edge", [0.5, 1.0, 6.0])
def test_millimetres_that_are_called_micrometres_are_refused_whatever_their_size(edge: float) -> None:
    made = header(xyzt_units=3)
    made.set_sform(np.diag([edge, edge, edge, 1]), 1)
    with pytest.raises(BadImage, match="voxel sizes are given in micrometres"):
        parse_volume(bytes(made.binaryblock) + bytes(4) + VOXELS.tobytes(order="F"), "made.nii")


@given(
    turn=st.tuples(*[st.floats(-1, 1)] * 3),
    sizes=st.tuples(*[st.floats(0.3, 8)] * 3),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    offset=st.tuples(*[st.floats(-300, 300)] * 3),
    qform=st.booleans(),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    order=st.sampled_from("<>"),
)
@settings(max_examples=examples(60), deadline=None)
def test_any_rotation_is_placed_as_nibabel_places_it(**drawn: Any) -> None:
    affine = np.eye(4)
    rotation = nib.quaternions.quat2mat([1.0, *drawn["turn"]]) * drawn["flips"]
    affine[:3, :3], affine[:3, 3] = rotation * drawn["sizes"], drawn["offset"]
    image = drawn["kind"](VOXELS, affine, drawn["kind"].header_class(endianness=drawn["order"]))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"an extension" * 9))
    image.set_sform(affine, 0 if drawn["qform"] else 1)
    image.set_qform(affine, 1 if drawn["qform"] else 0)
    content = image.to_bytes()
    volume = parse_volume(content, "made.nii")
    np.testing.assert_allclose(volume.affine, drawn["kind"].from_bytes(content).affine, atol=1e-3)
    assert np.array_equal(volume.voxels, VOXELS)
    assert volume.notes == ()


@pytest.mark.parametrize(("count", "sizes"), [(4, (14, 12, 10, 1)), (5, (14, 12, 10, 1, 1)), (3, (14, 120, 1))])
def test_further_dimensions_of_size_1_and_a_single_slice_are_read(count: int, sizes: tuple[int, ...]) -> None:
    volume = read(dim=dict(enumerate((count, *sizes))))
    assert volume.voxels.shape == sizes[:3]
    assert np.array_equal(volume.voxels.ravel(order="F"), VOXELS.ravel(order="F"))


@pytest.mark.parametrize("sizes", [(14, 12, 5, 1, 2), (14, 12, 5, 2), (14, 120), (14, 12, 10, 0)])
def test_what_is_no_single_volume_is_refused_with_its_sizes(sizes: tuple[int, ...]) -> None:
    with pytest.raises(BadImage, match=str(list(sizes)).replace("[", r"\[")) as caught:
        read(dim=dict(enumerate((len(sizes), *sizes))))
    assert caught.value.reason == nifti.NOT_3D


def test_half_of_a_pair_and_analyze_are_refused_by_name(tmp_path: Path) -> None:
    nib.Nifti1Pair(VOXELS, PLACE).to_filename(tmp_path / "pair.hdr")
    nib.AnalyzeImage(VOXELS, np.diag([-1.0, 1, 1, 1])).to_filename(tmp_path / "analyze.hdr")
    for name, kind in (("pair.hdr", "half of a pair"), ("analyze.hdr", "Analyze 7.5")):
        with pytest.raises(BadImage, match=kind):
            read_volume(str(tmp_path / name))
    with pytest.raises(BadImage, match="does not begin with a NIfTI header"):
        read_volume(str(tmp_path / "pair.img"))
