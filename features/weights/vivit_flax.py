"""The original flax checkpoint of ViViT-L/16x2 FE, as tensors of ``gliolake.features.networks.vivit_fe``.

Names and layouts are those of scenic/projects/vivit/model.py (SpaceTimeViViT): a dense kernel is (in, out), torch's is
(out, in); attention kernels have the heads as an axis of their own; the tubelet kernel is (time, row, column, channel,
out). The parameters stand under ``optimizer/target`` (flax.optim, as in the published files) or ``params`` (optax).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gliolake.errors import InputError
from gliolake.features.weights.flax_file import StoredArray, read_flax

if TYPE_CHECKING:
    import torch

    from gliolake.features.networks.vivit_fe import Shape

ROOTS = ("params/", "optimizer/target/params/", "optimizer/target/")
SHOWN = 4
"""Names of wrong tensors that a message lists; the rest are counted."""

Layout = tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Name in flax, shape there, order of its axes that makes it torch's, shape in torch."""


def layouts(shape: Shape) -> dict[str, Layout]:
    """For every tensor of the torch network, where it comes from."""
    width = shape.width
    kernel = (*shape.tubelet, 3, width)
    turned = (4, 3, 0, 1, 2)
    found: dict[str, Layout] = {
        "embedding.weight": ("embedding/kernel", kernel, turned, tuple(kernel[axis] for axis in turned)),
        "embedding.bias": _same("embedding/bias", width),
        "classifier.weight": _dense("output_projection/kernel", width, shape.classes),
        "classifier.bias": _same("output_projection/bias", shape.classes),
    }
    encoders = (
        ("spatial", "SpatialTransformer", shape.spatial_layers, shape.places),
        ("temporal", "TemporalTransformer", shape.temporal_layers, shape.moments),
    )
    for ours, theirs, layers, tokens in encoders:
        found[f"{ours}.class_token"] = _same(f"cls_{theirs}", 1, 1, width)
        found[f"{ours}.positions"] = _same(f"{theirs}/posembed_input/pos_embedding", 1, tokens + 1, width)
        found[f"{ours}.norm.weight"] = _same(f"{theirs}/encoder_norm/scale", width)
        found[f"{ours}.norm.bias"] = _same(f"{theirs}/encoder_norm/bias", width)
        for layer in range(layers):
            for name, layout in _block(shape, f"{theirs}/encoderblock_{layer}"):
                found[f"{ours}.blocks.{layer}.{name}"] = layout
    return found


def _same(name: str, *edges: int) -> Layout:
    return name, edges, tuple(range(len(edges))), edges


def _dense(name: str, wide: int, narrow: int) -> Layout:
    return name, (wide, narrow), (1, 0), (narrow, wide)


def _block(shape: Shape, prefix: str) -> Iterator[tuple[str, Layout]]:
    width, head = shape.width, shape.width // shape.heads
    for ours, theirs in (("norm_attention", "LayerNorm_0"), ("norm_mlp", "LayerNorm_1")):
        yield f"{ours}.weight", _same(f"{prefix}/{theirs}/scale", width)
        yield f"{ours}.bias", _same(f"{prefix}/{theirs}/bias", width)
    attention = f"{prefix}/MultiHeadDotProductAttention_0"
    for name in ("query", "key", "value"):
        split = (width, shape.heads, head)
        yield f"attention.{name}.weight", (f"{attention}/{name}/kernel", split, (1, 2, 0), (width, width))
        yield f"attention.{name}.bias", (f"{attention}/{name}/bias", (shape.heads, head), (0, 1), (width,))
    joined = (shape.heads, head, width)
    yield "attention.out.weight", (f"{attention}/out/kernel", joined, (2, 0, 1), (width, width))
    yield "attention.out.bias", _same(f"{attention}/out/bias", width)
    for ours, theirs, inner, outer in (("widen", "Dense_0", width, shape.mlp), ("narrow", "Dense_1", shape.mlp, width)):
        yield f"{ours}.weight", _dense(f"{prefix}/MlpBlock_0/{theirs}/kernel", inner, outer)
        yield f"{ours}.bias", _same(f"{prefix}/MlpBlock_0/{theirs}/bias", outer)


def convert_flax(path: Path, shape: Shape | None = None) -> dict[str, torch.Tensor]:
    """The tensors of a flax checkpoint by their names in ``VivitFactorised``, float32.

    Raises:
        InputError: the file is no whole flax checkpoint, or its parameters are not this network's; the message names
            those that are missing, unexpected or of another shape.
    """
    import numpy as np
    import torch

    from gliolake.features.networks.vivit_fe import Shape

    wanted = layouts(shape or Shape())
    stored = _parameters(path)
    problems = _differences(wanted, stored)
    if problems:
        raise InputError(
            f"{path.name} does not hold the parameters of ViViT-L/16x2 FE: {'; '.join(problems)}.",
            hint="The checkpoint meant is scenic's kinetics_400/vivit_large_16x2_fe (gliolake weights list).",
        )
    tensors = {}
    for name, (source, _, axes, result) in wanted.items():
        turned = np.ascontiguousarray(stored[source].read().transpose(axes)).reshape(result)
        tensors[name] = torch.from_numpy(turned.copy())
    return tensors


def _parameters(path: Path) -> dict[str, StoredArray]:
    arrays = read_flax(path)
    for root in ROOTS:
        below = {name.removeprefix(root): array for name, array in arrays.items() if name.startswith(root)}
        if below:
            return below
    raise InputError(
        f"{path.name} is a msgpack file, but it has no parameters under params or optimizer/target.",
        hint="The checkpoint meant is scenic's kinetics_400/vivit_large_16x2_fe (gliolake weights list).",
    )


def _differences(wanted: Mapping[str, Layout], stored: Mapping[str, StoredArray]) -> list[str]:
    shapes = {source: shape for source, shape, _, _ in wanted.values()}
    missing = sorted(shapes.keys() - stored.keys())
    unexpected = sorted(stored.keys() - shapes.keys())
    wrong = [
        f"{name} has shape {stored[name].shape}, not {shape}"
        for name, shape in sorted(shapes.items())
        if name in stored and stored[name].shape != shape
    ]
    lists = (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
    return [f"{kind}: {shorten(names)}" for kind, names in lists if names]


def shorten(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
