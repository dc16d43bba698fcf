"""The flax checkpoint of ViViT-L/16x2 FE: read, converted, computed, refused."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch

from gliolake.errors import InputError
from gliolake.features.networks.vivit_fe import Shape, VivitFactorised
from gliolake.features.weights.files import read_weights
from gliolake.features.weights.flax_file import read_flax
from gliolake.features.weights.folder import add_weights
from gliolake.features.weights.vivit_flax import convert_flax, layouts

TINY = Shape(width=24, mlp=40, heads=3, spatial_layers=2, temporal_layers=3, frames=8, size=48, classes=7)


def flax_array(array: np.ndarray, kind: int = 1) -> msgpack.ExtType:
    """As flax/serialization.py packs it."""
    return msgpack.ExtType(kind, msgpack.packb((array.shape, array.dtype.name, array.tobytes()), use_bin_type=True))


def drawn(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters of an untrained network, by their flax names."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 0.3, edges).astype(np.float32) for name, edges, _, _ in layouts(shape).values()}


def written(path: Path, parameters: dict[str, np.ndarray], root: tuple[str, ...] = ("optimizer", "target")) -> Path:
    """A checkpoint as scenic writes it: the parameters, the optimiser's state, a step and a random key."""
    tree: dict[str, Any] = {}
    for name, array in parameters.items():
        branch = tree
        for key in name.split("/")[:-1]:
            branch = branch.setdefault(key, {})
        branch[name.split("/")[-1]] = flax_array(array)
    tree.setdefault("pre_logits", {})
    momentum = {"step": 70000, "param_states": {"cls": {"momentum": flax_array(np.ones((1, 1, 4), np.float32))}}}
    for key in reversed(root):
        tree = {key: tree}
    whole = {
        **tree,
        "global_step": flax_array(np.array(70000), 3),
        "rng": flax_array(np.zeros(2, np.uint32)),
        "accum_train_time": 1.5,
        "model_state": {},
        "metadata": None,
        "done": True,
        "names": ["a", -3],
    }
    if "optimizer" in whole:
        whole["optimizer"]["state"] = momentum
    path.write_bytes(msgpack.packb(whole, strict_types=True))
    return path


def norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * scale + bias


def encoder(tokens: np.ndarray, weights: dict[str, np.ndarray], name: str, layers: int) -> np.ndarray:
    """scenic's Encoder and its class token, with parameters in flax's layout: (n, tokens, width) to (n, width)."""
    first = np.repeat(weights[f"cls_{name}"], len(tokens), axis=0)
    x = np.concatenate([first, tokens], axis=1) + weights[f"{name}/posembed_input/pos_embedding"]
    for layer in range(layers):
        block = f"{name}/encoderblock_{layer}"
        get = lambda key, block=block: weights[f"{block}/{key}"]  # noqa: E731
        y = norm(x, get("LayerNorm_0/scale"), get("LayerNorm_0/bias"))
        heads = {}
        for part in ("query", "key", "value"):
            kernel = get(f"MultiHeadDotProductAttention_0/{part}/kernel")
            bias = get(f"MultiHeadDotProductAttention_0/{part}/bias")
            heads[part] = np.einsum("ntd,dhk->nthk", y, kernel) + bias
        scores = np.einsum("nthk,nshk->nhts", heads["query"], heads["key"]) / math.sqrt(heads["key"].shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        mixed = np.einsum("nhts,nshk->nthk", scores, heads["value"])
        out = np.einsum("nthk,hkd->ntd", mixed, get("MultiHeadDotProductAttention_0/out/kernel"))
        x = x + out + get("MultiHeadDotProductAttention_0/out/bias")
        y = norm(x, get("LayerNorm_1/scale"), get("LayerNorm_1/bias"))
        y = y @ get("MlpBlock_0/Dense_0/kernel") + get("MlpBlock_0/Dense_0/bias")
        y = 0.5 * y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
        x = x + y @ get("MlpBlock_0/Dense_1/kernel") + get("MlpBlock_0/Dense_1/bias")
    return norm(x, weights[f"{name}/encoder_norm/scale"], weights[f"{name}/encoder_norm/bias"])[:, 0]


def space_time_vivit(film: np.ndarray, weights: dict[str, np.ndarray], shape: Shape) -> np.ndarray:
    """scenic's SpaceTimeViViT in numpy: a film (frame, row, column, channel) to logits (classes,)."""
    frames, rows, columns = shape.tubelet
    split = film.reshape(shape.moments, frames, shape.size // rows, rows, shape.size // columns, columns, 3)
    tubelets = np.einsum("tfhrwcx,frcxd->thwd", split, weights["embedding/kernel"]) + weights["embedding/bias"]
    tokens = tubelets.reshape(shape.moments, shape.places, shape.width)
    moments = encoder(tokens, weights, "SpatialTransformer", shape.spatial_layers)
    vector = encoder(moments[None], weights, "TemporalTransformer", shape.temporal_layers)
    return (vector @ weights["output_projection/kernel"] + weights["output_projection/bias"])[0]


@pytest.mark.parametrize("root", [("optimizer", "target"), ("params",), ("optimizer", "target", "params")])
def test_a_converted_checkpoint_computes_what_the_original_computes(tmp_path: Path, root: tuple[str, ...]) -> None:
    weights = drawn(TINY)
    network = VivitFactorised(TINY)
    network.load_state_dict(convert_flax(written(tmp_path / "checkpoint", weights, root), TINY), strict=True)
    film = np.random.default_rng(1).normal(size=(8, 48, 48, 3)).astype(np.float32)
    with torch.inference_mode():
        ours = network(torch.from_numpy(film).permute(3, 0, 1, 2)[None])[0].numpy()
    theirs = space_time_vivit(film.astype(np.float64), {k: v.astype(np.float64) for k, v in weights.items()}, TINY)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert np.ptp(theirs) > 0.1


def test_the_real_network_has_scenics_names_and_shapes() -> None:
    with torch.device("meta"):
        network = VivitFactorised()
    found = layouts(Shape())
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == {
        name: result for name, (_, _, _, result) in found.items()
    }
    sources = {source: edges for source, edges, _, _ in found.values()}
    assert len(sources) == len(found) == 780
    attention = "TemporalTransformer/encoderblock_23/MultiHeadDotProductAttention_0"
    assert sources["embedding/kernel"] == (2, 16, 16, 3, 1024)
    assert sources["SpatialTransformer/posembed_input/pos_embedding"] == (1, 197, 1024)
    assert sources["TemporalTransformer/posembed_input/pos_embedding"] == (1, 17, 1024)
    assert sources[f"{attention}/query/kernel"] == (1024, 16, 64)
    assert sources[f"{attention}/out/kernel"] == (16, 64, 1024)


def test_every_kind_of_number_is_read_and_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    exact = np.array([1.5, -0.0078125, 3e38], np.float32)
    upper = (exact.view(np.uint32) >> 16).astype("<u2")
    bfloat = msgpack.ExtType(1, msgpack.packb(((3,), "bfloat16", upper.tobytes()), use_bin_type=True))
    path.write_bytes(msgpack.packb({"params": {"a": bfloat, "b": flax_array(exact.astype(np.float64)), "c": 2**40}}))
    arrays = read_flax(path)
    assert arrays.keys() == {"params/a", "params/b"}
    assert np.array_equal(arrays["params/a"].read(), (upper.astype(np.uint32) << 16).view(np.float32))
    assert np.array_equal(arrays["params/b"].read(), exact)


def test_wrong_checkpoints_are_refused_by_the_names_of_what_is_wrong(tmp_path: Path) -> None:
    weights = drawn(TINY)
    kernel = "SpatialTransformer/encoderblock_1/MlpBlock_0/Dense_0/kernel"
    weights[kernel] = weights[kernel].T
    del weights["TemporalTransformer/encoder_norm/bias"]
    weights["pre_logits/kernel"] = np.zeros((2, 2), np.float32)
    with pytest.raises(InputError) as caught:
        convert_flax(written(tmp_path / "checkpoint", weights), TINY)
    message = str(caught.value)
    assert f"{kernel} has shape (40, 24), not (24, 40)" in message
    assert "missing: TemporalTransformer/encoder_norm/bias" in message
    assert "unexpected: pre_logits/kernel" in message
    with pytest.raises(InputError, match="no parameters under params"):
        convert_flax(written(tmp_path / "other", drawn(TINY), ("elsewhere",)), TINY)


def test_a_truncated_a_hostile_and_an_empty_checkpoint_are_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", drawn(TINY)).read_bytes()
    path = tmp_path / "checkpoint"
    deep = b"\x81\xa1a" * 10_000
    endless, odd, cut_array = b"\xdf\xff\xff\xff\xff", b"\x81\x01\x02", b"\x81\xa1a\xc7\x05\x01\x93\x91\x02\xa7f"
    for content in (whole[: len(whole) // 2], whole[:-1], whole + b"\xc0", endless, deep, odd, cut_array, b"\xc1"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="checkpoint is not"):
            read_flax(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read_flax(path)


def test_an_added_checkpoint_is_kept_converted_and_only_for_its_own_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gliolake.features.networks.vivit_fe.Shape", lambda: TINY)
    path = written(tmp_path / "checkpoint", drawn(TINY))
    kept = add_weights(path, "vivit_l_16x2_fe", tmp_path / "kept")
    assert kept.file == "vivit_l_16x2_fe.safetensors"
    assert kept.origin == "no checksum is published"
    assert kept.added_sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != kept.sha256
    state = read_weights(tmp_path / "kept" / kept.file, "vivit_l_16x2_fe")
    converted = convert_flax(path, TINY)
    assert state.keys() == converted.keys()
    assert all(torch.equal(state[name], converted[name]) for name in state)
    with pytest.raises(InputError, match="flax checkpoint, and vivit_b_16x2 cannot be read from one"):
        add_weights(path, "vivit_b_16x2", tmp_path / "kept")
