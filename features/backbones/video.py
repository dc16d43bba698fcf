"""A pretrained video network as a backbone: clips in, the 400 logits of Kinetics' classes out.

torch defines the network and OpenVINO computes it: of what was tried it runs all six fastest (docs/performance.md).
Making one is cheap and reads no weights: the recipe needs their sha256 alone, so the command that only plans the work
loads no network. The first clip loads it.
"""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import check_choice
from gliolake.features.backbones.network_state import network_state
from gliolake.features.networks.frames import SAMPLINGS, Preprocessing, prepare
from gliolake.features.networks.registry import check_precision, network_of
from gliolake.features.weights.selection import choose_weights
from gliolake.process.threads import calls_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from gliolake.features.backbones.inference import CompiledNetwork

REVISION = 2
"""Part of every recipe: raised when this module comes to compute other numbers from the same settings."""


class VideoBackbone:
    """One of ``gliolake.features.networks.registry.NETWORKS`` with weights.

    Args:
        name: The network.
        weights: ``untrained:SEED``; None for the file that was added to the weights folder.
        sampling: A name of ``gliolake.features.networks.frames.SAMPLINGS``.
        precision: A name of ``gliolake.features.networks.registry.PRECISIONS``.
        folder: The weights folder; see ``gliolake.features.weights.folder.weights_folder``.

    Raises:
        InputError: no such network, sampling or precision; or no weights were added for it.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        sampling: str = "uniform",
        precision: str = "fp32",
        folder: str | None = None,
    ) -> None:
        check_choice("frame sampling", sampling, SAMPLINGS)
        check_precision(precision)
        self.name = name
        self.network = network_of(name)
        self.sampling = sampling
        self.precision = precision
        self.chosen = choose_weights(name, weights, folder)
        self.weights = self.chosen.kind
        self._compiled: CompiledNetwork | None = None
        self._loading = Lock()

    @property
    def preprocessing(self) -> Preprocessing:
        """What the network wants to see."""
        return self.network.preprocessing

    def recipe(self) -> dict[str, Any]:
        """All that decides the vectors; versions without their build's suffix (+cpu), which names a download."""
        packages = ["openvino", "torch", *([self.network.package] if self.network.package else [])]
        return {
            "revision": REVISION,
            "engine": "openvino",
            "weights": self.chosen.recipe(),
            "precision": self.precision,
            "sampling": self.sampling,
            "preprocessing": self.preprocessing.recipe(),
            "output": "logits",
            "versions": {package: version(package).split("+")[0] for package in packages},
        }

    def vectors(
        self, clips: list[npt.NDArray[np.uint8]], tumour_slices: tuple[int, int] | None = None
    ) -> npt.NDArray[np.float32]:
        """The logits (n, 400) float32 of clips (slice, row, column) uint8.

        Args:
            clips: The clips of one scan.
            tumour_slices: First and last-plus-one slice that hold tumour, for the sampling ``tumour``.

        Raises:
            InputError: a clip is of another kind or too short, the weights cannot be read, or the processor has no
                arithmetic of this precision.
        """
        choices = (self.preprocessing, self.sampling, tumour_slices)
        return self.module().logits([partial(prepare, clip, *choices) for clip in clips])

    def load(self) -> None:
        """Make the network ready, as ``module`` does."""
        self.module()

    def module(self) -> CompiledNetwork:
        """The network, loaded once."""
        from gliolake.features.backbones.inference import CompiledNetwork
        from gliolake.features.backbones.openvino_cache import kept_network
        from gliolake.features.backbones.openvino_model import Order

        with self._loading:
            if self._compiled is None:
                self.chosen.path()  # a changed file is told even where its network is kept
                order = Order(self.name, self.chosen.text, self.chosen.folder)
                place = kept_network(order, self.chosen.recipe())
                self._compiled = CompiledNetwork(place, self.precision, calls_at_once())
            return self._compiled

    def state(self) -> Mapping[str, torch.Tensor]:
        """The weights, float32, by their names in today's torch network.

        Raises:
            InputError: they cannot be read.
        """
        return network_state(self.name, self.chosen)
