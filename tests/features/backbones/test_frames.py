"""Frames: which slices a network sees, and how they look to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gliolake.errors import InputError
from gliolake.features.networks.frames import SAMPLINGS, Preprocessing, prepare, resize, sample_frames
from gliolake.features.networks.gluon_zoo import gluon_preprocessing
from gliolake.features.networks.vivit import VIVIT_PREPROCESSING

SMALL = gluon_preprocessing("r2plus1d_v2_resnet152_kinetics400")


@given(st.integers(32, 400), st.integers(0, 399), st.integers(1, 400), st.sampled_from(SAMPLINGS))
def test_frames_are_within_the_clip_in_order_and_evenly_spread(
    slices: int, first: int, length: int, sampling: str
) -> None:
    tumour = (first % slices, min(slices, first % slices + length))
    chosen = sample_frames(slices, 32, sampling, tumour)
    low, high = {"uniform": (0, slices), "tumour": tumour, "released": (0, 32)}[sampling]
    steps = np.diff(chosen)
    assert chosen.shape == (32,)
    assert chosen.min() >= low
    assert chosen.max() < high
    assert steps.min() >= 0
    assert steps.max() - steps.min() <= 1
    if sampling != "released":  # as far from the one end as from the other
        assert abs((chosen[0] - low) - (high - 1 - chosen[-1])) <= 1


def test_the_three_samplings_of_the_studys_clip() -> None:
    assert sample_frames(150, 32).tolist()[:4] == [2, 7, 11, 16]
    assert sample_frames(150, 32, "released").tolist() == list(range(32))
    assert set(sample_frames(150, 32, "tumour", (60, 76)).tolist()) == set(range(60, 76))


def test_a_short_clip_an_unknown_sampling_and_a_tumour_that_is_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="31 slices is too short for a network that takes 32"):
        sample_frames(31, 32)
    with pytest.raises(InputError, match="no frame sampling named 'tumor'") as caught:
        sample_frames(150, 32, "tumor")
    assert "tumour" in caught.value.hint
    with pytest.raises(InputError, match="needs the slices that hold tumour"):
        sample_frames(150, 32, "tumour")
    with pytest.raises(InputError, match="slices 0 to 149, the tumour is in slices 151 to 153"):
        sample_frames(150, 32, "tumour", (151, 154))
    for clip in (np.zeros((40, 8, 8), np.float32), np.zeros((40, 8), np.uint8), np.zeros((40, 0, 8), np.uint8)):
        with pytest.raises(InputError, match="clip"):
            prepare(clip, SMALL)


def test_resizing_agrees_with_pillows_antialiased_bilinear_filter_to_its_rounding() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (32, 128, 128), dtype=np.uint8)
    for size in (112, 224):
        plain = Preprocessing(32, size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "test")
        ours = prepare(clip, plain)[0, 5] * 255
        theirs = np.asarray(Image.fromarray(clip[5]).resize((size, size), Image.Resampling.BILINEAR))
        assert np.abs(ours - theirs).max() <= 1.01


def test_grey_becomes_three_normalised_channels() -> None:
    clip = np.full((32, 112, 112), 51, np.uint8)
    frames = prepare(clip, SMALL)
    assert frames.shape == (3, 32, 112, 112)
    assert frames.dtype == np.float32
    for channel, mean, deviation in zip(frames, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True):
        assert np.allclose(channel, (0.2 - mean) / deviation, rtol=1e-6)
    ends = prepare(np.repeat(np.array([0, 255], np.uint8), 16 * 224 * 224).reshape(32, 224, 224), VIVIT_PREPROCESSING)
    assert (ends.min(), ends.max()) == (-1, 1)


@given(st.integers(1, 300), st.integers(1, 300))
def test_resizing_is_torchs_antialiased_interpolation_to_rounding(length: int, size: int) -> None:
    images = np.random.default_rng(length).random((2, length, 3), np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(images)[:, None], size=(size, 3), mode="bilinear", align_corners=False, antialias=True
    )[:, 0]
    assert np.abs(resize(images, 1, size) - theirs.numpy()).max() < 1e-4  # torch places pixels in float32
