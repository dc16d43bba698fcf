"""What an image is known by: the same for every way of storing it, another for every other image."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gliolake.ingest.readers.nifti import parse_volume, read_volume
from gliolake.ingest.scans.fingerprint import LENGTH, SAME, content_of, distance, same_content
from gliolake.ingest.synthetic.brain import Anatomy, make_scan
from tests.support.full import examples

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TURNS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))
"""The 48 ways in which axes may be ordered and flipped."""

STORED_AS = ["float32", "float64", "int16", "uint16", "int32", "uint8"]
"""Integer types are given a slope and an intercept that spread the values over all their numbers."""


def image(seed: int, shape: tuple[int, ...] = (24, 20, 18)) -> np.ndarray:
    """Values that are positive inside of a ball, mottled and noisy, and 0 around it: as of a head without its skull."""
    draw = np.random.default_rng(seed)
    radius = np.sqrt(sum(((at + 0.5) / size - 0.5) ** 2 for at, size in zip(np.indices(shape), shape, strict=True)))
    mottled = ndimage.gaussian_filter(draw.normal(size=shape), 1.5) * 4 + 0.3 * draw.normal(size=shape)
    return np.where(radius < 0.45, 400 + 100 * mottled, 0)


def encoded(
    values: np.ndarray, *, turn: Any = TURNS[0], dtype: str = "float32", order: str = "<", qform: bool = False,
    packed: bool = False, gain: float = 1.0, offset: float = 0.0, place: str = "right",
) -> bytes:  # fmt: skip
    """A NIfTI file of an image in LPS, stored in some other way."""
    turned = np.array(turn).T
    stored = nib.orientations.apply_orientation(values * gain + offset, turned)
    affine = LPS @ nib.orientations.inv_ornt_aff(turned, values.shape)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(dtype)
    header["descrip"] = b"stored again"
    affine = {"right": affine, "eye": np.eye(4), "none": affine}[place]
    made = nib.Nifti1Image(stored, affine, header)
    made.set_sform(affine, 0 if qform or place == "none" else 2)
    made.set_qform(affine, 1 if qform and place != "none" else 0)
    data = made.to_bytes()
    return gzip.compress(data, 1) if packed else data


def known_by(data: bytes) -> np.ndarray:
    return np.array(content_of(parse_volume(data, "made.nii").voxels), np.float32)


def are_same(*contents: Any) -> bool:
    return len({*same_content(np.array(contents, np.float32)).tolist()}) == 1


WAYS = st.fixed_dictionaries(
    {
        "turn": st.sampled_from(TURNS),
        "dtype": st.sampled_from(STORED_AS),
        "order": st.sampled_from("<>"),
        "qform": st.booleans(),
        "packed": st.booleans(),
        "gain": st.floats(0.01, 1000),
        "offset": st.floats(-1000, 1000),
        "place": st.sampled_from(["right", "eye", "none"]),
    }
)


@given(seed=st.integers(0, 10**6), shape=st.tuples(*[st.integers(12, 40)] * 3), one=WAYS, other=WAYS)
@settings(max_examples=examples(40), deadline=None)
def test_an_image_stored_in_any_way_is_the_same_and_is_none_that_differs(
    seed: int, shape: tuple[int, ...], one: dict[str, Any], other: dict[str, Any]
) -> None:
    values = image(seed, shape)
    first = known_by(encoded(values, **one))
    assert are_same(first, known_by(encoded(values, **other)))
    noise = np.random.default_rng(seed).normal(0, 0.2 * values.max(), shape)
    for different in (image(seed + 1, shape), values + noise, np.roll(values, 1, seed % 3)):
        assert not are_same(first, known_by(encoded(different, **other)))


def test_a_change_of_programs_changes_nothing(tmp_path: Path) -> None:
    values = image(3)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(encoded(values, dtype="int16", packed=True))
    first = content_of(read_volume(str(path)).voxels)
    nib.as_closest_canonical(nib.load(path)).to_filename(tmp_path / "canonical.nii")
    read = sitk.ReadImage(str(path))
    sitk.WriteImage(sitk.DICOMOrient(sitk.Cast(sitk.RescaleIntensity(read, 0, 4095), sitk.sitkUInt16), "PIR"),
                    str(tmp_path / "rescaled.nii.gz"))  # fmt: skip
    data = nib.load(path).get_fdata()
    nib.save(nib.Nifti1Image(data / data.max(), nib.load(path).affine), tmp_path / "unit.nii.gz")
    for name in ("canonical.nii", "rescaled.nii.gz", "unit.nii.gz"):
        assert are_same(first, content_of(read_volume(str(tmp_path / name)).voxels)), name


def test_what_shows_too_little_is_known_by_nothing() -> None:
    one_voxel, few, tiny = np.zeros((30, 30, 30)), np.zeros((30, 30, 30)), image(1, (9, 10, 11))
    one_voxel[3, 4, 5] = 900
    few[:4, :4, :4] = image(2)[8:12, 8:12, 8:12]
    for nothing in (one_voxel, few, tiny, np.full((30, 30, 30), 7.0)):
        assert content_of(nothing) == []


def test_an_image_that_its_mirror_images_cancel_out_and_a_single_slice_give_sound_numbers_or_none() -> None:
    ramp = np.indices((20, 20, 20)).sum(0).astype(np.float32)
    assert content_of(ramp) == []
    slices = [content_of(image(seed, (40, 1, 40))) for seed in range(2)]
    assert np.isfinite(slices).all()
    assert not are_same(*slices)


def test_a_few_bright_voxels_do_not_make_all_images_one() -> None:
    one, other = image(1), image(2)
    one[5:7, 5:7, 5:7] = other[5:7, 5:7, 5:7] = 1e6
    assert not are_same(content_of(one), content_of(other))


def test_two_patients_of_one_atlas_space_and_two_visits_are_not_one_image() -> None:
    patients = [make_scan(Anatomy((seed,), methylated=True, signal=1.0), (seed, 1))[0] for seed in range(3)]
    patients.append(make_scan(Anatomy((0,), methylated=True, signal=1.0), (0, 2))[0])
    contents = [np.array(content_of(voxels), np.float32) for one in patients for voxels in one.values()]
    assert len({*same_content(np.array(contents)).tolist()}) == len(contents)
    assert min(distance(a, b) for a, b in itertools.combinations(contents, 2)) > 3 * SAME


def test_near_images_are_found_among_any_number_of_others_and_wherever_their_numbers_fall() -> None:
    draw = np.random.default_rng(0)
    spread = np.array([0.1] * 8 + [0.5] * 16)
    others = draw.normal(0, spread, (40_000, LENGTH))
    apart = draw.uniform(-1, 1, (300, LENGTH)) * np.array([0.00199] * 8 + [0.0099] * 16)
    contents = np.concatenate([others, others[:300] + apart]).astype(np.float32)
    groups = same_content(contents)
    assert np.array_equal(groups[:300], groups[40_000:])
    assert len({*groups.tolist()}) == 40_000
    beyond = others[:300] + np.array([0.0021] + [0.0] * 23)
    assert len({*same_content(np.concatenate([others[:300], beyond]).astype(np.float32)).tolist()}) == 600
    assert len({*same_content(np.tile(contents[:1], (5000, 1))).tolist()}) == 1
    assert same_content(contents[:0]).size == 0


def test_real_scans_are_known_again_after_rounding_and_each_is_itself(reference: Path) -> None:
    paths = [path for path in sorted(reference.glob("scans/*/*/*.nii.gz")) if "_seg" not in path.name]
    contents = []
    for path in paths:
        volume = read_volume(str(path))
        contents.append(content_of(volume.voxels))
        stored = volume.voxels.astype(np.float32)
        low, high = stored.min(), stored.max()
        for steps in (65535, 255):
            rounded = np.rint((stored - low) / (high - low) * steps) * 0.37 - 5
            again = nib.as_closest_canonical(nib.Nifti1Image(rounded.astype(np.float32), volume.affine))
            assert are_same(contents[-1], content_of(np.asarray(again.dataobj))), path.name
            without_header = np.asarray(again.dataobj).transpose(2, 1, 0)  # as SimpleITK gives its arrays
            assert are_same(contents[-1], content_of(without_header)), path.name
        noise = np.random.default_rng(0).standard_normal(stored.shape, np.float32) * 0.01 * high
        assert not are_same(contents[-1], content_of(stored + noise))
    assert len(contents) == 12
    assert len({*same_content(np.array(contents, np.float32)).tolist()}) == 12
