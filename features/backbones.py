"""Backbones by name: what turns clips into vectors of 400 numbers.

A backbone is entered in ``BACKBONES`` with a function that makes it; nothing else in this room knows any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lake.errors import unknown_name


class Backbone(Protocol):
    """A network, or what stands in for one.

    Attributes:
        name: as the registry knows it, e.g. ``random_conv``.
        weights: what its numbers rest on: trained, untrained or random (column ``weights`` of table feature_sets).
    """

    name: str
    weights: str

    def recipe(self) -> dict[str, Any]:
        """All that decides its numbers, as JSON values: seed, weights and their sha256, sampling, precision, and the
        versions of those libraries that can change them."""
        ...

    def vectors(self, clips: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """The vectors (n, 400) float32 of n clips (frame, row, column) uint8. A clip's vector does not depend on
        the clips it comes with.

        Raises:
            InputError: a clip is of a kind or size it cannot take.
        """
        ...


def _random_conv(seed: int) -> Backbone:
    from features.random_conv import RandomConv

    return RandomConv(seed)


BACKBONES: dict[str, Callable[[int], Backbone]] = {"random_conv": _random_conv}
"""A function of the seed for each name; it imports what it needs when it is called. What needs no seed ignores it."""


def open_backbone(name: str, seed: int = 0) -> Backbone:
    """The backbone of this name, ready to use.

    Raises:
        InputError: there is none of that name (the message suggests the nearest), or the seed is not usable.
    """
    if name not in BACKBONES:
        raise unknown_name("backbone", name, BACKBONES)
    return BACKBONES[name](seed)
