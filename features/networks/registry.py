"""The pretrained video networks by name: definition, input format, and loading of weights.

``load_network`` gives the bare torch module, clips (n, 3, frame, row, column) float32 in and logits (n, 400) out, and
``NETWORKS[name].preprocessing`` says how a clip becomes its input. torch defines the networks and reads their weights;
``gliolake.features.backbones.inference`` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from gliolake.errors import InputError, check_choice
from gliolake.features.networks.frames import Preprocessing
from gliolake.features.networks.gluon_zoo import FILES, build_gluon, gluon_preprocessing
from gliolake.features.networks.vivit import VIVIT_PREPROCESSING, build_vivit, today_name

if TYPE_CHECKING:
    import torch
    from torch import nn

PRECISIONS = ("fp32", "bf16")
"""Of the arithmetic. fp32 is the reference. bf16: layers compute on numbers of eight bits' mantissa and add up in
float32; input, output and what is kept are float32."""

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
    from gliolake.features.networks.vivit_fe import VivitFactorised

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
    return NETWORKS[check_choice("video network", name, NETWORKS)]


def empty_network(name: str) -> nn.Module:
    """The network without memory for its tensors (on torch's device ``meta``): names, shapes and layers only."""
    import torch

    with torch.device("meta"):
        return network_of(name).build()


def expected_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that the network's weights consist of."""
    state = empty_network(name).state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith(UNUSED)}


def load_network(name: str, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """The network with these tensors in it, in evaluation mode, needing no gradient.

    Args:
        name: A network.
        state: Tensors by their names in today's network, float32; they become the network's own, uncopied.

    Raises:
        InputError: no such network.
    """
    import torch

    network = empty_network(name)
    counts = {key: torch.zeros((), dtype=torch.int64) for key in network.state_dict() if key.endswith(UNUSED)}
    network.load_state_dict({**counts, **state}, strict=True, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def check_precision(precision: str) -> None:
    """Raises:
    InputError: no such precision.
    """
    check_choice("precision", precision, PRECISIONS)


def same_tensors(name: str, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether these are the names and shapes of this network's tensors."""
    try:
        return expected_shapes(name) == dict(shapes)
    except InputError:  # a package is not installed: nothing can be said
        return False
