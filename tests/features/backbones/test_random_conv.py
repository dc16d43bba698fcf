"""The random-convolution backbone: what it computes, and that it computes the same everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate

from gliolake.errors import InputError
from gliolake.features.backbones.random_conv import KERNELS, RandomConv, draw_kernels, pool_sums
from gliolake.features.backbones.registry import BACKBONES, BackboneOptions, open_backbone


def made_clip(seed: int, shape: tuple[int, int, int] = (60, 50, 54)) -> np.ndarray:
    """A clip of noise in a box on black."""
    rng = np.random.default_rng(seed)
    clip = np.zeros(shape, np.uint8)
    clip[9:40, 5:44, 12:50] = rng.integers(0, 256, (31, 39, 38))
    return clip


def test_a_vector_is_what_an_independent_convolution_gives() -> None:
    clip, backbone = made_clip(1), RandomConv(5)
    vector = backbone.vectors([clip])[0]
    whole = clip.astype(np.float64)
    pooled = sum(whole[a::2, b::2, c::2] for a in (0, 1) for b in (0, 1) for c in (0, 1))
    bank = backbone.kernels
    for k in range(0, KERNELS, 9):
        d = int(bank.dilations[k])
        kernel = np.zeros((2 * d + 1,) * 3)
        kernel[::d, ::d, ::d] = bank.weights[k].reshape(3, 3, 3)
        response = correlate(pooled, kernel, mode="constant")[d:-d, d:-d, d:-d] - bank.biases[k]
        assert vector[2 * k] == np.float32(np.mean(response > 0))
        assert vector[2 * k + 1] == pytest.approx(np.maximum(response, 0).mean() / bank.norms[k], rel=1e-6)


def test_the_kernels_of_a_seed_are_sorted_zero_mean_and_small_enough_for_exact_sums() -> None:
    bank = draw_kernels(0)
    assert bank.weights.shape == (200, 27)
    assert not bank.weights.sum(axis=1).any()
    assert np.array_equal(bank.weights, np.rint(bank.weights))
    assert (np.diff(bank.dilations) >= 0).all()
    assert (np.abs(bank.weights).sum(axis=1) * 2040 + bank.biases).max() < 2**23
    assert not np.array_equal(bank.weights, draw_kernels(1).weights)


def test_the_kernels_of_seed_0_are_the_same_as_ever() -> None:
    bank = draw_kernels(0)
    parts = (bank.weights.astype(np.int16), bank.biases.astype(np.int32), bank.dilations.astype(np.int8))
    assert hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16] == "b7d332327e34a63c"


SCRIPT = """
import hashlib, sys, numpy as np
from gliolake.features.backbones.random_conv import RandomConv
clip = np.random.default_rng(7).integers(0, 256, (40, 40, 40), dtype=np.uint8)
print(hashlib.sha256(RandomConv(0).vectors([clip]).tobytes()).hexdigest())
"""


def test_the_bits_are_the_same_in_other_processes_with_other_thread_counts_and_vector_units() -> None:
    clip = np.random.default_rng(7).integers(0, 256, (40, 40, 40), dtype=np.uint8)
    here = hashlib.sha256(RandomConv(0).vectors([clip]).tobytes()).hexdigest()
    layouts = [{"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}, {"NUMBA_CPU_NAME": "generic"}]
    for layout in layouts:
        environment = {**os.environ, **layout}
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, encoding="utf-8", check=True
        )
        assert answer.stdout.strip() == here


def test_many_threads_at_once_and_the_company_of_other_clips_change_nothing() -> None:
    clips = [made_clip(seed) for seed in range(6)]
    backbone = RandomConv(0)
    together = backbone.vectors(clips)
    with ThreadPoolExecutor(4) as pool:
        alone = np.concatenate(list(pool.map(lambda clip: backbone.vectors([clip]), clips)))
    assert together.tobytes() == alone.tobytes()
    assert together.dtype == np.float32
    assert together.shape == (6, 400)


@given(st.integers(0, 99), st.integers(0, 60))
def test_a_constant_added_to_the_whole_clip_is_not_seen(seed: int, constant: int) -> None:
    clip = np.random.default_rng(seed).integers(0, 190, (40, 36, 38), dtype=np.uint8)
    vectors = RandomConv(0).vectors([clip, clip + np.uint8(constant)])
    assert vectors[0].tobytes() == vectors[1].tobytes()


def test_a_constant_clip_gives_zeros_and_no_clips_give_no_rows() -> None:
    backbone = RandomConv(0)
    assert not backbone.vectors([np.full((40, 40, 40), 9, np.uint8)]).any()
    assert backbone.vectors([]).shape == (0, 400)


@pytest.mark.parametrize(
    "clip", [np.zeros((33, 40, 40), np.uint8), np.zeros((40, 40), np.uint8), np.zeros((40, 40, 40), np.float32)]
)
def test_clips_of_another_kind_are_refused(clip: np.ndarray) -> None:
    with pytest.raises(InputError, match="clip"):
        RandomConv(0).vectors([clip])


def test_pooling_leaves_an_odd_last_row_out() -> None:
    assert pool_sums(np.ones((35, 37, 39), np.uint8)).shape == (17, 18, 19)


def test_a_misspelt_backbone_and_a_negative_seed_are_refused() -> None:
    with pytest.raises(InputError, match="no backbone named 'random_cov'") as caught:
        open_backbone("random_cov")
    assert "random_conv" in caught.value.hint
    with pytest.raises(InputError, match="negative"):
        open_backbone("random_conv", BackboneOptions(seed=-1))
    assert "random_conv" in BACKBONES
