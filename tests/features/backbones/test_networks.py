"""The pretrained networks, untrained: each at its real size, once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import VivitForVideoClassification

from gliolake.errors import InputError, StorageFull
from gliolake.features.backbones import inference
from gliolake.features.backbones import openvino_cache as kept_networks
from gliolake.features.backbones import openvino_export as conversion
from gliolake.features.backbones import video as video_backbone
from gliolake.features.backbones.inference import CompiledNetwork, has_bf16
from gliolake.features.backbones.openvino_cache import is_whole, kept_network
from gliolake.features.backbones.openvino_model import Order
from gliolake.features.backbones.registry import BACKBONES, VIDEO_NETWORKS, BackboneOptions, open_backbone
from gliolake.features.backbones.video import VideoBackbone
from gliolake.features.networks.frames import prepare
from gliolake.features.networks.registry import NETWORKS, empty_network, expected_shapes, load_network
from gliolake.features.networks.vivit import build_vivit
from gliolake.features.weights.untrained import untrained_state

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
    return VideoBackbone(SLOWFAST, "untrained:3")


MINUTES = {"r2plus1d_v2_resnet152_kinetics400", "vivit_l_16x2_fe"}
"""Minutes of computing: left to `make test-backbones`."""

QUICK = {SLOWFAST}
"""The quickest, for `make test`."""

ROUNDING = {"i3d_nl10_resnet101_v1_kinetics400": 5e-4}
"""Its logits and plain torch's are each up to 0.8e-4 of their deviation from float64's; of the others a twentieth."""


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in VIDEO_NETWORKS]
)
def test_every_network_turns_a_clip_of_the_studys_size_into_the_400_logits_that_plain_torch_gives(name: str) -> None:
    if name in MINUTES and os.environ.get("GLIOLAKE_BACKBONES") != "full":
        pytest.skip("make test-backbones takes the two largest networks as well")
    backbone = VideoBackbone(name, "untrained:3")
    logits = backbone.vectors([head()])
    assert logits.shape == (1, 400)
    assert logits.dtype == np.float32
    assert logits.std() > 0.1
    assert len(np.unique(logits)) > 390
    network = load_network(name, untrained_state(empty_network(name), 3))
    with torch.inference_mode():
        plain = network(torch.from_numpy(prepare(head(), backbone.preprocessing))[None]).numpy()
    assert np.abs(logits - plain).max() < ROUNDING.get(name, 1e-4) * plain.std()
    if has_bf16():  # what other processors do is tested below
        rough = VideoBackbone(name, "untrained:3", precision="bf16").vectors([head()])
        assert not np.array_equal(rough, logits)
        assert np.corrcoef(rough, logits)[0, 1] > 0.99


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


def test_a_vivit_that_computes_no_more_than_the_class_token_at_last_gives_the_logits_of_transformers_own() -> None:
    small = {"image_size": 64, "num_frames": 8, "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    ours = build_vivit(**small, intermediate_size=200).eval()
    theirs = VivitForVideoClassification(ours.config).eval()
    state = untrained_state(theirs, 0)
    for network in (ours, theirs):
        network.load_state_dict(state, strict=True)
    clip = torch.randn(2, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(pixel_values=clip.transpose(1, 2)).logits
        assert torch.allclose(ours(clip), expected, atol=1e-5 * float(expected.std()))


def test_a_clips_vector_depends_on_the_clip_and_not_on_its_company_or_its_turn_or_the_number_of_streams(
    slowfast: VideoBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = head(), head()[::-1].copy()
    found = []
    for streams in (1, 2):
        monkeypatch.setattr(video_backbone, "calls_at_once", lambda streams=streams: streams)
        backbone = VideoBackbone(SLOWFAST, "untrained:3")
        found.append(backbone.vectors([one, two, one]))
        assert backbone.module().streams == streams
        assert found[-1][0].tobytes() == found[-1][2].tobytes()
    assert found[0].tobytes() == found[1].tobytes()
    assert slowfast.vectors([two])[0].tobytes() == found[0][1].tobytes()
    assert not np.array_equal(found[0][0], found[0][1])
    assert slowfast.vectors([]).shape == (0, 400)


def test_the_kept_network_is_made_once_and_again_if_it_was_damaged(
    slowfast: VideoBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = slowfast.vectors([head()])
    order, weights = Order(SLOWFAST, "untrained:3"), slowfast.chosen.recipe()
    made_already = kept_network(order, weights)
    monkeypatch.setenv("GLIOLAKE_NETWORKS", str(tmp_path))
    place = shutil.copytree(made_already, tmp_path / made_already.name)
    made = place.stat().st_mtime_ns
    assert kept_network(order, weights) == place
    assert place.stat().st_mtime_ns == made
    with (place / "network.bin").open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    assert not is_whole(place)
    assert kept_network(order, weights) == place
    assert place.stat().st_mtime_ns != made
    assert is_whole(place)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ["", ".lock"]
    again = VideoBackbone(SLOWFAST, "untrained:3")
    again._compiled = CompiledNetwork(place, "fp32", 1)
    assert again.vectors([head()]).tobytes() == before.tobytes(), "whoever made the file, the bits are the same"


def test_a_lock_that_is_a_link_to_my_file_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "thesis.docx"
    mine.write_text("years of work")
    monkeypatch.setattr(kept_networks, "_make", lambda order, place: None)
    monkeypatch.setenv("GLIOLAKE_NETWORKS", str(tmp_path / "networks"))
    place = kept_network(Order(SLOWFAST, "untrained:3"), {})
    lock = place.with_name(f"{place.name}.lock")
    lock.unlink()
    lock.symlink_to(mine)
    with pytest.raises(OSError, match="symbolic links"):
        kept_network(Order(SLOWFAST, "untrained:3"), {})
    assert mine.read_text() == "years of work"


def test_a_conversion_that_cannot_be_says_why_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIOLAKE_NETWORKS", str(tmp_path / "networks"))
    with pytest.raises(InputError, match="weights of slowfast_4x16_resnet50_kinetics400 are not in") as caught:
        kept_network(Order(SLOWFAST, None, str(tmp_path)), {"sha256": "0"})
    assert "gliolake weights add" in caught.value.hint
    with pytest.raises(RuntimeError, match="ended with code 1: FileNotFoundError"):
        kept_networks.run_conversion(Order(SLOWFAST, "untrained:0"), tmp_path / "nowhere")


def test_no_room_for_a_network_and_a_processor_without_bf16_are_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(conversion.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
        with pytest.raises(StorageFull, match=r"no room for slowfast.*145 MB") as caught:
            conversion.make(Order(SLOWFAST, "untrained:3"), tmp_path)
    assert "GLIOLAKE_NETWORKS" in caught.value.hint
    assert not list(tmp_path.iterdir())

    class Core:
        get_property = staticmethod(lambda *_: ["FP32"])

    monkeypatch.setattr(inference, "openvino", lambda: SimpleNamespace(Core=Core))
    with pytest.raises(InputError, match="no bf16 arithmetic") as refused:
        CompiledNetwork(tmp_path, "bf16", 1)
    assert "fp32" in refused.value.hint


def test_openvino_reports_nothing_home() -> None:
    code = "from gliolake.features.backbones.openvino_model import openvino; import sys; openvino()"
    code += "; from openvino.tools.ovc import telemetry_utils"
    code += "; assert telemetry_utils.tm.__name__.endswith('telemetry_stub')"
    code += "; assert not any(name.startswith('openvino_telemetry.') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_tumour_sampling_looks_at_the_tumour_alone(slowfast: VideoBackbone) -> None:
    tumour = VideoBackbone(SLOWFAST, "untrained:3", sampling="tumour")
    tumour._compiled = slowfast.module()
    inside = np.zeros((150, 128, 128), np.uint8)
    inside[30:62] = head()[30:62]
    vectors = [tumour.vectors([clip], (30, 62))[0] for clip in (head(), inside)]
    assert np.array_equal(*vectors)
    with pytest.raises(InputError, match="slices that hold tumour"):
        tumour.vectors([head()])


def test_a_recipe_names_all_that_decides_the_numbers_and_loads_no_network() -> None:
    backbone = VideoBackbone("vivit_b_16x2", "untrained:5", sampling="released", precision="bf16")
    recipe = json.loads(json.dumps(backbone.recipe(), allow_nan=False))
    assert backbone.weights == "untrained"
    assert recipe["weights"]["untrained_seed"] == 5
    assert recipe["sampling"] == "released"
    assert recipe["precision"] == "bf16"
    assert recipe["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert "not the −3 to 1 of the image processor" in recipe["preprocessing"]["source"]
    assert recipe["versions"].keys() == {"openvino", "torch", "transformers"}
    assert backbone._compiled is None
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
        open_backbone(SLOWFAST, BackboneOptions(weights="untrained:3")).vectors([head()[:31]])
