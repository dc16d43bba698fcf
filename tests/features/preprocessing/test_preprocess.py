"""Preprocessing: a session's volumes come to lie on one grid and on each other, and no step does what it must not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from gliolake.errors import InputError
from gliolake.features.preprocessing.grids import to_image
from gliolake.features.preprocessing.intensity import correct_bias, head_mask, normalise
from gliolake.features.preprocessing.registration import mutual_information
from gliolake.features.preprocessing.settings import PreprocessSettings, settings_of
from gliolake.features.preprocessing.steps import preprocess
from gliolake.ingest.cohorts.description import STEPS
from gliolake.ingest.readers.nifti import Volume
from tests.support.heads import head, volume


def only(*steps: str, **values: object) -> PreprocessSettings:
    return PreprocessSettings(steps=steps, **values)  # type: ignore[arg-type]


def dice(one: sitk.Image, other: sitk.Image) -> float:
    a, b = (sitk.GetArrayFromImage(head_mask(image)) > 0 for image in (one, other))
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_a_known_shift_is_found_and_the_same_bits_come_out_again() -> None:
    session = {"T1wCE": volume(head()), "T1": volume(1000 - head((2, -1.5, 1), 1) * 0.5)}
    done = preprocess(session, only("align"))
    np.testing.assert_array_equal(done["T1wCE"].voxels, session["T1wCE"].voxels)
    inside = (slice(8, -8),) * 3
    expected = 1000 - head(seed=1) * 0.5
    error = np.abs(done["T1"].voxels - expected)[inside]
    assert error.mean() < 0.3 * np.abs(session["T1"].voxels - expected)[inside].mean()
    again = preprocess(session, only("align"))
    assert {name: one.voxels.tobytes() for name, one in again.items()} == {
        name: one.voxels.tobytes() for name, one in done.items()
    }
    assert [one.sha256 for one in again.values()] == [one.sha256 for one in done.values()]
    assert done["T1"].description == "gliolake synthetic"
    other = preprocess(session, only("align", seed=5))
    assert other["T1"].sha256 != done["T1"].sha256


def test_without_steps_nothing_but_the_order_of_axes_changes() -> None:
    voxels = head()
    flipped = Volume(voxels[::-1, ::-1], np.diag([1.0, 1.0, 1.0, 1.0]), "a")
    done = preprocess({"T1": flipped}, only())["T1"]
    np.testing.assert_array_equal(done.voxels, voxels)


def test_a_mask_keeps_its_labels_and_stays_on_its_tumour() -> None:
    image = head()
    mask = np.zeros(image.shape, np.uint8)
    mask[22:28, 25:31, 15:20], mask[24:26, 27:29, 16:18] = 2, 4
    image[mask > 0] = 3000
    done = preprocess({"T1wCE": volume(image), "mask": volume(mask)}, only("resample", "fit", size=(96, 100, 70)))
    assert done["mask"].voxels.dtype == np.uint8
    assert done["mask"].voxels.shape == (96, 100, 70)
    assert set(np.unique(done["mask"].voxels)) == {0, 2, 4}
    assert (done["mask"].voxels > 0).sum() == pytest.approx(8 * (mask > 0).sum(), rel=0.05)
    assert ((done["mask"].voxels > 0) & (done["T1wCE"].voxels > 1500)).sum() > 0.95 * (done["mask"].voxels > 0).sum()


def test_fit_moves_by_whole_voxels_and_a_tall_head_keeps_its_top() -> None:
    image = head()
    done = preprocess({"T1": volume(image)}, only("fit", size=(60, 30, 12)))["T1"].voxels
    assert done.shape == (60, 30, 12)
    held = np.flatnonzero((image > 250).any(axis=(0, 1)))
    top = held[-1] + 1
    assert np.isin(done[10:50, :, :], image[:, :, top - 13 : top + 1]).all()
    assert done[:, :, -2:].max() > 250
    assert not done[:5].any()


def test_bias_is_evened_out_and_the_head_of_every_image_has_median_1() -> None:
    ramp = np.linspace(0.5, 1.5, 40, dtype=np.float32).reshape(40, 1, 1)
    flat = np.where(head() > 250, np.float32(400), np.float32(0))
    biased = to_image("T1", volume(flat * ramp))
    before, after = (
        sitk.GetArrayFromImage(one)[np.moveaxis(flat, (0, 2), (2, 0)) > 0]
        for one in (biased, correct_bias(biased, PreprocessSettings()))
    )
    assert after.std() / after.mean() < 0.4 * before.std() / before.mean()
    normal = normalise(biased)
    inside = sitk.GetArrayFromImage(normal)[sitk.GetArrayFromImage(head_mask(normal)) > 0]
    assert np.median(inside) == pytest.approx(1, abs=0.02)
    assert sitk.GetArrayFromImage(normal).min() == 0
    with pytest.raises(InputError, match="T2 shows no head"):
        preprocess({"T2": volume(np.zeros((20, 20, 20), np.float32))}, only("normalise"))


def test_a_deformed_session_is_brought_to_the_template_and_onto_its_grid(tmp_path: Path) -> None:
    template = to_image("template", volume(head()))
    sitk.WriteImage(template, str(tmp_path / "template.nii.gz"))
    stretched = ndimage.affine_transform(head(seed=2), [0.9, 1.1, 1.0], offset=[2.5, -2.5, 0.0])
    settings = only("coregister", template=str(tmp_path / "template.nii.gz"))
    done = to_image("T1", preprocess({"T1": volume(stretched)}, settings)["T1"])
    assert done.GetSize() == template.GetSize()
    raw = to_image("T1", volume(stretched))
    assert mutual_information(template, done) > 1.2 * mutual_information(template, raw)
    assert dice(template, done) > max(dice(template, raw), 0.95)
    assert "template_sha256" in settings.recipe()
    assert str(tmp_path) not in str(settings.recipe())


def test_steps_are_done_once_in_one_order_and_what_makes_no_sense_is_refused() -> None:
    settings = PreprocessSettings(steps=STEPS[::-1], template="t.nii.gz")
    assert settings.steps == STEPS
    assert settings.without(["coregister", "bias"]).steps == ("denoise", "align", "resample", "fit", "normalise")
    assert settings.without(["coregister"]).template == ""
    assert settings_of().steps == PreprocessSettings().steps
    assert settings_of(["bias", "coregister"]).steps == ("denoise", "align", "resample", "fit", "normalise")
    assert settings_of(["bias"], "t.nii.gz").steps == STEPS[1:]
    with pytest.raises(InputError, match="no preprocessing step named 'biass'") as refused_step:
        settings_of(["biass"])
    assert "Did you mean bias?" in refused_step.value.hint
    for refused, fact in (
        ({"steps": ("allign",)}, "no preprocessing step named 'allign'"),
        ({"steps": ("coregister",)}, "coregister and a template belong together"),
        ({"template": "t.nii.gz"}, "coregister and a template belong together"),
        ({"spacing_mm": 0.0}, "out of range"),
        ({"size": (240, 240, 0)}, "out of range"),
        ({"denoise_time_step": 0.5}, "out of range"),
    ):
        with pytest.raises(InputError, match=fact):
            PreprocessSettings(**refused)  # type: ignore[arg-type]
    sheared = Volume(head(), np.array([[-1, 0.3, 0, 0], [0, -1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "a")
    with pytest.raises(InputError, match="axes of T1 are not at right angles"):
        preprocess({"T1": sheared}, only())
