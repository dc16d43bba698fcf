"""A pretrained video network as a backbone: clips in, the 400 logits of Kinetics' classes out.

torch defines the network and OpenVINO computes it: of what was tried it runs all six fastest (docs/performance.md).
Making one is cheap and reads no weights: the recipe needs their sha256 alone, so the command that only plans the work
loads no network. The first clip loads it.
"""

from __future__ import annotations

import re
from functools import partial
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.frames import SAMPLINGS, Preprocessing, prepare
from features.networks import check_precision, empty_network, network_of
from features.weights import WeightsFile, find_weights, found_path, read_found
from lake.errors import InputError, unknown_name
from lake.threads import calls_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from features.inference import CompiledNetwork

REVISION = 2
"""Part of every recipe: raised when this module comes to compute other numbers from the same settings."""

UNTRAINED = re.compile(r"untrained:(\d{1,18})")


class VideoBackbone:
    """One of ``features.networks.NETWORKS`` with weights.

    Args:
        name: The network.
        weights: ``untrained:SEED``; None for the file that was added to the weights folder.
        sampling: A name of ``features.frames.SAMPLINGS``.
        precision: A name of ``features.networks.PRECISIONS``.
        folder: The weights folder; see ``features.weights.weights_folder``.

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
        if sampling not in SAMPLINGS:
            raise unknown_name("frame sampling", sampling, SAMPLINGS)
        check_precision(precision)
        self.name = name
        self.network = network_of(name)
        self.sampling = sampling
        self.precision = precision
        self.folder = folder
        self.seed = untrained_seed(weights)
        self.file: WeightsFile | None = find_weights(name, folder) if self.seed is None else None
        self.weights = "trained" if self.file else "untrained"
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
            "weights": self._weights_recipe(),
            "precision": self.precision,
            "sampling": self.sampling,
            "preprocessing": self.preprocessing.recipe(),
            "output": "logits",
            "versions": {package: version(package).split("+")[0] for package in packages},
        }

    def _weights_recipe(self) -> dict[str, Any]:
        if self.file is None:
            from features.untrained import REVISION as DRAWN

            return {"untrained_seed": self.seed, "revision": DRAWN}
        return {"sha256": self.file.sha256, "added_sha256": self.file.added_sha256, "origin": self.file.origin}

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
        from features.inference import CompiledNetwork
        from features.kept_networks import Order, kept_network

        with self._loading:
            if self._compiled is None:
                if self.file is not None:
                    found_path(self.file, self.folder)  # a changed file is told even where its network is kept
                order = Order(self.name, None if self.file else f"untrained:{self.seed}", self.folder)
                place = kept_network(order, self._weights_recipe())
                self._compiled = CompiledNetwork(place, self.precision, calls_at_once())
            return self._compiled

    def state(self) -> Mapping[str, torch.Tensor]:
        """The weights, float32, by their names in today's torch network.

        Raises:
            InputError: they cannot be read.
        """
        if self.file is not None:
            return read_found(self.file, self.folder)
        from features.untrained import untrained_state

        return untrained_state(empty_network(self.name), self.seed or 0)


def untrained_seed(weights: str | None) -> int | None:
    """The seed of ``untrained:SEED``; None for no choice of weights.

    Raises:
        InputError: it is neither.
    """
    if weights is None:
        return None
    found = UNTRAINED.fullmatch(weights)
    if not found:
        raise InputError(
            f"{weights!r} is not a choice of weights.",
            hint="It is untrained:SEED, e.g. untrained:0, or left out for the file added with gliolake weights add.",
        )
    return int(found[1])
