"""Backbones by name: what turns clips into vectors of 400 numbers.

A backbone is registered in ``BACKBONES`` with a function that makes it; no other module of features names a backbone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError, check_choice


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

    def load(self) -> None:
        """Make ready for the first clip, once however often it is asked.

        Raises:
            InputError: the weights cannot be read, or this machine cannot compute it.
        """
        ...

    def vectors(
        self, clips: list[npt.NDArray[np.uint8]], tumour_slices: tuple[int, int] | None = None
    ) -> npt.NDArray[np.float32]:
        """The vectors (n, 400) float32 of n clips (frame, row, column) uint8. A clip's vector does not depend on
        the clips it comes with.

        Args:
            clips: Clips of one scan.
            tumour_slices: First and last-plus-one frame that hold tumour, for backbones that choose frames by it.

        Raises:
            InputError: a clip is of a kind or size it cannot take.
        """
        ...


@dataclass(frozen=True)
class BackboneOptions:
    """The choices there are. What a backbone has no choice of must be left as it is.

    Attributes:
        seed: Of the numbers that ``random_conv`` draws.
        weights: ``untrained:SEED``; None for the file in the weights folder.
        sampling: ``uniform``, ``tumour`` or ``released``: which slices become frames.
        precision: ``fp32`` or ``bf16``.
        engine: ``openvino`` or ``mxnet``: which library computes a network.
    """

    seed: int = 0
    weights: str | None = None
    sampling: str = "uniform"
    precision: str = "fp32"
    engine: str = "openvino"


def _random_conv(options: BackboneOptions) -> Backbone:
    from gliolake.features.backbones.random_conv import RandomConv

    _refuse("random_conv", options, "weights", "sampling", "precision", "engine")
    return RandomConv(options.seed)


def _video(name: str, options: BackboneOptions) -> Backbone:
    _refuse(name, options, "seed")
    check_choice("engine", options.engine, ENGINES)
    if options.engine == "mxnet":
        from gliolake.features.backbones.mxnet.backbone import MxnetBackbone

        _refuse(f"{name} in MXNet", options, "precision")
        return MxnetBackbone(name, options.weights, options.sampling)
    from gliolake.features.backbones.video import VideoBackbone

    return VideoBackbone(name, options.weights, options.sampling, options.precision)


ENGINES = ("openvino", "mxnet")

VIDEO_NETWORKS = (
    "i3d_nl10_resnet101_v1_kinetics400",
    "slowfast_4x16_resnet50_kinetics400",
    "r2plus1d_v2_resnet152_kinetics400",
    "ircsn_v2_resnet152_f32s2_kinetics400",
    "vivit_b_16x2",
    "vivit_l_16x2_fe",
)

BACKBONES: dict[str, Callable[[BackboneOptions], Backbone]] = {
    "random_conv": _random_conv,
    **{name: partial(_video, name) for name in VIDEO_NETWORKS},
}
"""A function of the options for each name; it imports what it needs when it is called."""

HINTS = {
    "seed": "Weights of a seed are chosen with --weights untrained:SEED.",
    "weights": "It has no weights; its numbers come from --seed.",
    "sampling": "It sees every slice.",
    "precision": "It computes in fp32.",
    "engine": "It needs no library for networks.",
}


def has_choice(backbone: str, option: str) -> bool:
    """Whether the option means anything to the backbone: random numbers have a seed, networks have the rest."""
    return (option == "seed") == (backbone == "random_conv")


def open_backbone(name: str, options: BackboneOptions | None = None) -> Backbone:
    """The backbone of this name, ready to use.

    Raises:
        InputError: there is none of that name (the message suggests the nearest), it has no such choice, the seed is
            not usable, or its weights are not there.
    """
    return BACKBONES[check_choice("backbone", name, BACKBONES)](options or BackboneOptions())


def _refuse(name: str, options: BackboneOptions, *choices: str) -> None:
    for choice in choices:
        if getattr(options, choice) != getattr(BackboneOptions(), choice):
            raise InputError(f"{name} has no choice of {choice} ({getattr(options, choice)!r}).", hint=HINTS[choice])
