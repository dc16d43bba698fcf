"""Clips: where the box lies, what is outside it, how intensities become grey, and the two kinds of delta."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gliolake.errors import InputError
from gliolake.features.clips import ClipSettings, build_clips, cut, intensity_range, to_grey

sizes = st.integers(1, 12)


@st.composite
def images_and_boxes(draw: st.DrawFn) -> tuple[np.ndarray, list[int], ClipSettings]:
    """An image in which every voxel tells its own position, a corner inside it, and a clip of any size."""
    shape = (draw(sizes), draw(sizes), draw(sizes))
    image = np.arange(1, np.prod(shape) + 1, dtype=np.int32).reshape(shape)
    x, y = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
    return image, [x, shape[0], y, shape[1], 0, shape[2]], ClipSettings(box=draw(sizes), slices=draw(sizes))


@given(images_and_boxes())
def test_a_clip_shows_the_voxels_from_the_corner_on_and_background_where_there_is_no_image(
    case: tuple[np.ndarray, list[int], ClipSettings],
) -> None:
    image, box, settings = case
    clip = cut(image, box, settings)
    assert clip.shape == (settings.slices, settings.box, settings.box)
    for t, row, column in np.ndindex(clip.shape):
        x, y = box[0] + column, box[2] + row
        inside = x < image.shape[0] and y < image.shape[1] and t < image.shape[2]
        assert clip[t, row, column] == (image[x, y, t] if inside else 0)


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=60), st.floats(0, 49), st.floats(51, 100))
def test_percentiles_are_those_of_numpy(values: list[int], low: float, high: float) -> None:
    image = np.array(values, np.int16).reshape(1, 1, -1)
    settings = ClipSettings(low_percentile=low, high_percentile=high)
    assert intensity_range(image, settings) == pytest.approx(np.percentile(values, [low, high]).tolist())
    seen = image[image != 0]
    expected = np.percentile(seen, [low, high]).tolist() if seen.size else [0, 0]
    assert intensity_range(image, ClipSettings(128, 150, low, high, "nonzero")) == pytest.approx(expected)


def test_intensities_between_the_percentiles_are_spread_over_0_to_255_and_the_rest_is_clipped() -> None:
    image = np.array([-50, 0, 100, 150, 200, 900], np.int16)
    assert to_grey(image, 0, 200).tolist() == [0, 0, 128, 191, 255, 255]
    wide = np.array([0.0, 0.5, 1.0]) * 1e200
    assert to_grey(wide, 0.0, 1e200).tolist() == [0, 128, 255]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_a_constant_image_gives_black_clips_and_no_numbers_that_are_not_finite(dtype: type) -> None:
    volumes = {name: np.full((20, 20, 9), 77, dtype) for name in ("FLAIR", "T1", "T1wCE", "T2")}
    clips = build_clips(volumes, [3, 9, 4, 9, 0, 5], ClipSettings(box=16, slices=12))
    assert list(clips) == ["FLAIR", "T1", "T1wCE", "T2", "DeltaT1"]
    assert all(clip.dtype == np.uint8 and not clip.any() for clip in clips.values())


def test_in_the_delta_image_enhancing_tissue_is_brighter_than_all_other_tissue_and_no_gain_shows() -> None:
    rng = np.random.default_rng(3)
    t1 = np.zeros((30, 30, 10), np.int16)
    t1[5:25, 5:25, 1:9] = rng.integers(450, 550, (20, 20, 8))
    t1wce = t1.copy()
    t1wce[10:16, 12:18, 3:7] += 600
    box, settings = [8, 20, 8, 20, 0, 10], ClipSettings(box=16, slices=8)
    delta = build_clips({"T1": t1, "T1wCE": t1wce}, box, settings)["DeltaT1"].astype(int)
    rim = np.zeros(delta.shape, bool)
    rim[3:7, 4:10, 2:8] = True
    assert delta[rim].min() > delta[1:][~rim[1:]].max()
    amplified = build_clips({"T1": t1 * 3, "T1wCE": t1wce * 7}, box, settings)["DeltaT1"]
    assert np.abs(amplified - delta).max() <= 1


def test_the_delta_image_has_one_grey_for_background_inside_and_outside_the_image() -> None:
    t1, t1wce = np.zeros((2, 24, 24, 8), np.int16)
    t1[4:14, 4:14, 2:6], t1wce[4:14, 4:14, 2:6] = 500, np.arange(400, 800).reshape(10, 10, 4)
    clip = build_clips({"T1": t1, "T1wCE": t1wce}, [4, 14, 4, 14, 2, 6], ClipSettings(box=32, slices=20))["DeltaT1"]
    assert clip[19, 31, 31] == clip[0, 19, 19] > 0


def test_feature_delta_leaves_the_delta_clip_out_and_only_the_branches_asked_for_are_cut() -> None:
    volumes = {name: np.zeros((9, 9, 9), np.int16) for name in ("T1", "T1wCE")}
    box = [0, 9, 0, 9, 0, 9]
    assert list(build_clips(volumes, box, ClipSettings(delta="feature"))) == ["T1", "T1wCE"]
    assert list(build_clips(volumes, box, ClipSettings(), ("DeltaT1", "T2"))) == ["DeltaT1"]


def test_the_first_150_of_155_slices_are_taken() -> None:
    image = np.broadcast_to(np.arange(155, dtype=np.int16), (4, 4, 155))
    assert cut(image, [0, 4, 0, 4, 0, 155], ClipSettings())[:, 0, 0].tolist() == list(range(150))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"delta": "picture"}, "no kind of delta named 'picture'"),
        ({"percentile_of": "brain"}, "no population of percentiles"),
        ({"low_percentile": 99.0, "high_percentile": 1.0}, "do not rise"),
        ({"high_percentile": float("nan")}, "do not rise"),
        ({"box": 0}, "cannot be made"),
        ({"box": 100_000}, "cannot be made"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ClipSettings(**wrong)  # type: ignore[arg-type]


def test_images_on_two_grids_and_a_box_from_another_image_are_refused() -> None:
    small, large = np.zeros((9, 9, 9)), np.zeros((9, 9, 8))
    with pytest.raises(InputError, match="share one grid"):
        build_clips({"T1": small, "T2": large}, [0, 1, 0, 1, 0, 1], ClipSettings())
    with pytest.raises(InputError, match="lies outside"):
        build_clips({"T1": small}, [9, 12, 0, 1, 0, 1], ClipSettings())
