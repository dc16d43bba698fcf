"""The pretrained networks, untrained: each at its real size, once."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from features.backbones import BACKBONES, VIDEO_NETWORKS, BackboneOptions, open_backbone
from features.networks import NETWORKS, empty_network, expected_shapes
from features.untrained import untrained_state
from features.video_backbone import VideoBackbone
from lake.errors import InputError

SLOWFAST = "slowfast_4x16_resnet50_kinetics400"


def head(seed: int = 0) -> np.ndarray:
    """A clip of the study's size: noise in a box on black, with a bright blob low in it."""
    rng = np.random.default_rng(seed)
    clip = np.zeros((150, 128, 128), np.uint8)
    clip[4:146, 10:110, 6:120] = rng.integers(40, 90, (142, 100, 114))
    clip[30:60, 20:60, 20:70] += 120
    return clip


@pytest.fixture(scope="module")
def slowfast() -> VideoBackbone:
    """The quickest of them."""
    return VideoBackbone(SLOWFAST, "untrained:7")


@pytest.mark.parametrize("name", VIDEO_NETWORKS)
def test_every_network_turns_a_clip_of_the_studys_size_into_400_logits(name: str) -> None:
    logits = open_backbone(name, BackboneOptions(weights="untrained:3")).vectors([head()])
    assert logits.shape == (1, 400)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert logits.std() > 0.1
    assert len(np.unique(logits)) > 390


def test_gluoncv_itself_is_neither_imported_nor_changed_and_nothing_is_inflated() -> None:
    for name in VIDEO_NETWORKS[:4]:
        empty_network(name)
    assert "gluoncv" not in sys.modules
    assert "torchvision" not in sys.modules
    assert not any(name.startswith("_gliolake_gluoncv.engine") for name in sys.modules)


def test_the_networks_are_as_large_as_published() -> None:
    """Millions of parameters without buffers: GluonCV's and scenic's tables, to what they print."""
    sizes = {name: sum(p.numel() for p in empty_network(name).parameters()) / 1e6 for name in NETWORKS}
    assert sizes[SLOWFAST] == pytest.approx(34.48, abs=0.01)
    assert sizes["r2plus1d_v2_resnet152_kinetics400"] == pytest.approx(118.2, abs=0.2)
    assert sizes["ircsn_v2_resnet152_f32s2_kinetics400"] == pytest.approx(29.7, abs=0.2)
    assert sizes["vivit_b_16x2"] == pytest.approx(88.95, abs=0.01)
    assert sizes["vivit_l_16x2_fe"] == pytest.approx(606.8, abs=0.1)


def test_weights_of_a_seed_are_the_same_for_ever_and_other_for_another_seed() -> None:
    network = empty_network(SLOWFAST)
    first, again, other = (untrained_state(network, seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fc.weight"], other["fc.weight"])
    i3d = untrained_state(empty_network("i3d_nl10_resnet101_v1_kinetics400"), 1)
    assert i3d["fc.weight"] is i3d["head.1.weight"], "one layer under two names"
    weight = first["slow_conv1.weight"]
    assert weight.flatten()[:3].tolist() == pytest.approx(
        [0.0032479765359312296, -0.08798494189977646, 0.06378838419914246], abs=0
    )
    assert weight.var().item() == pytest.approx(1 / (3 * 49), rel=0.05)
    with pytest.raises(InputError, match="negative"):
        untrained_state(network, -1)


def test_a_clips_vector_depends_on_the_clip_and_not_on_its_company_or_its_turn(slowfast: VideoBackbone) -> None:
    one, two = head(), head()[::-1].copy()
    together = slowfast.vectors([one, two])
    alone = VideoBackbone(SLOWFAST, "untrained:7").vectors([two])
    assert together[1].tobytes() == alone[0].tobytes()
    assert not np.array_equal(together[0], together[1])
    assert slowfast.vectors([]).shape == (0, 400)


def test_the_tumour_sampling_looks_at_the_tumour_alone(slowfast: VideoBackbone) -> None:
    tumour = VideoBackbone(SLOWFAST, "untrained:7", sampling="tumour")
    tumour._module = slowfast.module()
    inside = np.zeros((150, 128, 128), np.uint8)
    inside[30:62] = head()[30:62]
    vectors = [tumour.vectors([clip], (30, 62))[0] for clip in (head(), inside)]
    assert np.array_equal(*vectors)
    with pytest.raises(InputError, match="slices that hold tumour"):
        tumour.vectors([head()])


def test_bfloat16_is_near_float32_and_a_recipe_of_its_own(slowfast: VideoBackbone) -> None:
    narrow = VideoBackbone(SLOWFAST, "untrained:7", precision="bf16")
    exact, rough = slowfast.vectors([head()])[0], narrow.vectors([head()])[0]
    assert not np.array_equal(exact, rough)
    assert np.corrcoef(exact, rough)[0, 1] > 0.999
    assert np.abs(exact - rough).max() < 0.1
    assert narrow.recipe() != slowfast.recipe()


def test_a_recipe_names_all_that_decides_the_numbers_and_loads_no_network() -> None:
    backbone = VideoBackbone("vivit_b_16x2", "untrained:5", sampling="released", precision="bf16")
    recipe = json.loads(json.dumps(backbone.recipe(), allow_nan=False))
    assert backbone.weights == "untrained"
    assert recipe["weights"]["untrained_seed"] == 5
    assert recipe["sampling"] == "released"
    assert recipe["precision"] == "bf16"
    assert recipe["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert "not the −3 to 1 of the image processor" in recipe["preprocessing"]["source"]
    assert recipe["versions"].keys() == {"torch", "transformers"}
    assert backbone._module is None
    assert len(expected_shapes("vivit_b_16x2")) == 200


def test_choices_that_a_backbone_does_not_have_are_refused() -> None:
    assert tuple(NETWORKS) == VIDEO_NETWORKS == tuple(BACKBONES)[1:]
    for name, choice, message in (
        ("random_conv", {"precision": "bf16"}, "random_conv has no choice of precision"),
        ("random_conv", {"weights": "untrained:0"}, "random_conv has no choice of weights"),
        (SLOWFAST, {"seed": 3}, "has no choice of seed"),
        (SLOWFAST, {"weights": "untrained"}, "'untrained' is not a choice of weights"),
        (SLOWFAST, {"weights": "untrained:0", "precision": "fp16"}, "no precision named 'fp16'"),
        (SLOWFAST, {"weights": "untrained:0", "sampling": "middle"}, "no frame sampling named 'middle'"),
    ):
        with pytest.raises(InputError, match=message):
            open_backbone(name, BackboneOptions(**choice))
    with pytest.raises(InputError, match="31 slices"):
        open_backbone(SLOWFAST, BackboneOptions(weights="untrained:0")).vectors([head()[:31]])
