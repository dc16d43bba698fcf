"""Registration: another place in the header is found, and what cannot lie on each other is no sound session."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from gliolake.features.preprocessing.grids import isotropic, to_image
from gliolake.features.preprocessing.registration import align, rigid
from gliolake.features.preprocessing.settings import PreprocessSettings, RegistrationFailed
from gliolake.features.preprocessing.steps import preprocess
from gliolake.features.preprocessing.task import SessionTask, preprocess_session
from gliolake.features.preprocessing.volumes import pack
from gliolake.ingest.readers.nifti import Volume
from tests.support.heads import head, volume

ALIGN = PreprocessSettings(steps=("align",))


def placed(
    voxels: np.ndarray, offset: tuple[float, float, float] = (0, 0, 0), turn: np.ndarray | None = None
) -> Volume:
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    affine[:3, :3] = affine[:3, :3] if turn is None else affine[:3, :3] @ turn
    affine[:3, 3] = offset
    return Volume(voxels.astype(np.float32), affine, str(offset))


def other_contrast(seed: int = 1) -> np.ndarray:
    """The same head, brightest where the first is dark, on black."""
    inside = head(seed=seed)
    return np.where(inside > 150, 900 - 0.5 * inside, 0).astype(np.float32)


def aligned(moving: Volume) -> float:
    """Correlation of an aligned image with what it should be."""
    done = preprocess({"T1wCE": placed(head()), "T2": moving}, ALIGN)["T2"].voxels
    return float(np.corrcoef(done.ravel(), other_contrast().ravel())[0, 1])


@pytest.mark.parametrize(
    "offset", [(0, 80, 0), (-80, -80, 80), (1000, 0, 0), (0, 0, 0), (3, -4, 5), (25, 0, 0), (0, -30, 20)]
)
def test_a_header_with_another_origin_costs_nothing(offset: tuple[float, float, float]) -> None:
    assert aligned(placed(other_contrast(), offset)) > 0.95


@pytest.mark.parametrize("axes", [(1, 0, 2), (0, 2, 1), (2, 1, 0)])
def test_an_image_whose_header_turns_it_by_a_right_angle_is_turned_back(axes: tuple[int, ...]) -> None:
    turn = np.eye(3)[list(axes)]
    turn[0] *= np.linalg.det(turn)
    assert aligned(placed(other_contrast(), (10, 0, 0), turn)) > 0.9


def noise() -> np.ndarray:
    return np.random.default_rng(3).normal(300, 50, head().shape)


@pytest.mark.parametrize(
    ("voxels", "why"),
    [
        (np.zeros_like(head()), "fits from no start"),
        (noise(), "fits from no start"),
        (np.eye(44, 32)[None].repeat(40, 0), "fits from no start"),
        (other_contrast()[::-1], "fits better when mirrored"),
    ],
    ids=["empty", "noise", "a plane", "mirrored"],
)
def test_an_image_that_cannot_lie_on_the_other_fails_by_its_name(voxels: np.ndarray, why: str) -> None:
    with pytest.raises(RegistrationFailed, match=f"T2 could not be aligned: it {why}"):
        preprocess({"T1wCE": placed(head()), "T2": placed(voxels)}, ALIGN)


def test_where_the_first_start_was_good_its_result_stays_bit_for_bit() -> None:
    fixed, moving = to_image("T1wCE", volume(head())), to_image("T2", volume(other_contrast()))
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # as sums over threads come out in changing order
    try:
        start = sitk.Euler3DTransform()
        start.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()]))
        alone = rigid(isotropic(fixed, ALIGN.align_grid_mm), moving, start, ALIGN)
        assert align(fixed, moving, ALIGN).GetParameters() == alone.GetParameters()
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_a_session_that_cannot_be_aligned_is_excluded_by_its_reason(tmp_path: Path) -> None:
    files = []
    for role, voxels in (("T1wCE", head()), ("T2", noise()), ("mask", (head() > 900).astype(np.uint8))):
        data = pack(Volume(voxels, placed(head()).affine, ""))
        (tmp_path / f"{role}.nii").write_bytes(data)
        files.append((role, str(tmp_path / f"{role}.nii"), hashlib.sha256(data).hexdigest()))
    outcome = preprocess_session(SessionTask("c", "s", tuple(files), (0, 1, 0, 1, 0, 1), ALIGN, "", ""))
    assert (outcome.reason, outcome.volumes) == ("registration failed", ())
    assert outcome.detail.startswith("T2 could not be aligned")
