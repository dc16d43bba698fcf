"""The pretrained video networks by name: how each is built, what it wants to see, how its weights are put in.

The seam for whoever makes them faster: ``load_network`` gives the bare torch module, clips (n, 3, frame, row, column)
float32 in and logits (n, 400) out, and ``NETWORKS[name].preprocessing`` says how a clip becomes its input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from features.frames import Preprocessing
from features.gluon_zoo import FILES, build_gluon, gluon_preprocessing
from features.vivit import VIVIT_PREPROCESSING, build_vivit, today_name
from lake.errors import InputError, unknown_name
from lake.tables import FEATURE_LENGTH

if TYPE_CHECKING:
    import torch
    from torch import nn

PRECISIONS = ("fp32", "bf16")
"""bf16: weights and activations of convolutions, matrix products and attention in bfloat16; the scales and shifts of
norms, and the last layer, in float32, since eight bits of mantissa are too few for the numbers that are kept."""

UNUSED = "num_batches_tracked"
"""Counts training steps; of no use in evaluation, and absent from old files."""


@dataclass(frozen=True)
class Network:
    """How to build a network.

    Attributes:
        build: Makes the module; its weights are replaced at once.
        preprocessing: What it wants to see.
        package: Distribution that defines it, "" where this project does.
        today: The name that a tensor of a published file has in today's network.
    """

    build: Callable[[], nn.Module]
    preprocessing: Preprocessing
    package: str
    today: Callable[[str], str] = str


def _build_factorised() -> nn.Module:
    from features.vivit_fe import VivitFactorised

    return VivitFactorised()


NETWORKS: dict[str, Network] = {
    **{name: Network(partial(build_gluon, name), gluon_preprocessing(name), "gluoncv") for name in FILES},
    "vivit_b_16x2": Network(build_vivit, VIVIT_PREPROCESSING, "transformers", today_name),
    "vivit_l_16x2_fe": Network(
        _build_factorised, replace(VIVIT_PREPROCESSING, source="scenic's zero_centering: −1 to 1"), ""
    ),
}


def network_of(name: str) -> Network:
    """The network of this name.

    Raises:
        InputError: there is none; the message suggests the nearest names.
    """
    if name not in NETWORKS:
        raise unknown_name("video network", name, NETWORKS)
    return NETWORKS[name]


def empty_network(name: str) -> nn.Module:
    """The network without memory for its tensors (on torch's device ``meta``): names, shapes and layers only."""
    import torch

    with torch.device("meta"):
        return network_of(name).build()


def expected_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that the network's weights consist of."""
    state = empty_network(name).state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith(UNUSED)}


def load_network(name: str, state: Mapping[str, torch.Tensor], precision: str = "fp32") -> nn.Module:
    """The network with these tensors in it, in evaluation mode, needing no gradient.

    Args:
        name: A network.
        state: Tensors by their names in today's network, float32; they become the network's own, uncopied.
        precision: A name of ``PRECISIONS``.

    Raises:
        InputError: no such network or precision.
    """
    import torch

    check_precision(precision)
    network = empty_network(name)
    counts = {key: torch.zeros((), dtype=torch.int64) for key in network.state_dict() if key.endswith(UNUSED)}
    network.load_state_dict({**counts, **state}, strict=True, assign=True)
    network.eval().requires_grad_(requires_grad=False)
    return network if precision == "fp32" else to_bf16(network)


def check_precision(precision: str) -> None:
    """Raises:
    InputError: no such precision.
    """
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)


def to_bf16(network: nn.Module) -> nn.Module:
    """The same network in bfloat16, as ``PRECISIONS`` describes it; it takes and gives float32."""
    import torch
    from torch import nn

    network.to(torch.bfloat16)
    for module in network.modules():
        if isinstance(module, (nn.LayerNorm, nn.modules.batchnorm._BatchNorm)):
            module.float()
        if isinstance(module, nn.Linear) and module.out_features == FEATURE_LENGTH:
            module.float().register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
        if isinstance(module, nn.Conv3d) and _leaps(module):
            module.float().register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
            module.register_forward_hook(lambda _, inputs, output: output.to(torch.bfloat16))
    network.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(torch.bfloat16),))
    return network


def _leaps(layer: nn.Conv3d) -> bool:
    """Whether its stride leaps over its kernel, as that of SlowFast's lateral connections does (5 frames of every 8).

    torch 2.13's bfloat16 convolution on AMX writes outside its memory for one of those (128 to 256 channels of
    32 × 14 × 14), and the process dies. They are a hundredth of the network's arithmetic and stay in float32.
    """
    return any(stride > kernel > 1 for stride, kernel in zip(layer.stride, layer.kernel_size, strict=True))


def same_tensors(name: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether these are the names and shapes of this network's tensors."""
    try:
        return expected_shapes(name) == dict(shapes)
    except InputError:  # a package is not installed: nothing can be said
        return False
