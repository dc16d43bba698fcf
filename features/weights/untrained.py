"""Weights of a network that was never trained, from a seed: for tests, demonstrations and controls.

A tensor's numbers depend on the seed and the tensor's name alone, and are made by exact steps (24 random bits, one
subtraction, one multiplication), so they are the same bits under any version of torch and on any processor; the
initialisers of the networks' own libraries promise neither, and one of them leaves the classifier at zero.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

from gliolake.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

REVISION = 1
"""Part of the recipe: raised when this module comes to draw other numbers from the same seed."""

EMBEDDING_DEVIATION = 0.02
"""Of positions and class tokens, as vision transformers begin with."""


def untrained_state(network: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """A value for every tensor of the network's state (which may lie on torch's device ``meta``), float32.

    Weights are uniform with mean 0 and variance 1 / fan-in, which neither blows up nor dies out over 152 layers;
    norms scale by 1 and shift by 0, biases are 0, running means 0 and variances 1.

    Raises:
        InputError: the seed is negative.
    """
    if seed < 0:
        raise InputError(f"Seed {seed} is negative.", hint="Any whole number from 0 on will do.")
    drawn: dict[int, torch.Tensor] = {}
    state = {}
    for name, like in network.state_dict(keep_vars=True).items():
        # I3D knows some layers under two names; they get one value, that of the first.
        if id(like) not in drawn:
            drawn[id(like)] = _tensor(name, like, seed)
        state[name] = drawn[id(like)]
    return state


def _tensor(name: str, like: torch.Tensor, seed: int) -> torch.Tensor:
    import torch

    if like.ndim < 2:
        one = like.is_floating_point() and name.endswith((".weight", "running_var"))
        return torch.full(like.shape, 1 if one else 0, dtype=like.dtype)
    word = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8]
    generator = torch.Generator().manual_seed(int.from_bytes(word, "little") >> 1)
    is_embedding = like.shape[0] == 1
    deviation = EMBEDDING_DEVIATION if is_embedding else 1 / math.sqrt(like[0].numel())
    numbers = torch.rand(like.shape, generator=generator)
    return numbers.sub_(0.5).mul_(2 * math.sqrt(3) * deviation)
