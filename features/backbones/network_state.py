"""The weights of a network by their names in today's torch network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gliolake.features.networks.registry import empty_network
from gliolake.features.weights.selection import ChosenWeights
from gliolake.features.weights.untrained import untrained_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


def network_state(name: str, chosen: ChosenWeights) -> Mapping[str, torch.Tensor]:
    """The chosen weights of the network ``name``, float32.

    Raises:
        InputError: they cannot be read.
    """
    if path := chosen.path():
        from gliolake.features.weights.files import read_weights

        return read_weights(path, name)
    return untrained_state(empty_network(name), chosen.seed)
