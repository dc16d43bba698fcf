"""GluonCV's networks in MXNet's zoo as backbones: the second engine for I3D and SlowFast.

The client plans with this class and a worker computes with it. Only the worker has MXNet: a recipe needs no more than
versions and checksums, and on the client the versions are those that workers must have.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from gliolake.errors import InputError, check_choice
from gliolake.features.backbones.mxnet.environment import mxnet_versions, start_mxnet
from gliolake.features.networks.frames import SAMPLINGS, Frames, Preprocessing, prepare
from gliolake.features.networks.gluon_zoo import gluon_preprocessing
from gliolake.features.weights.mxnet_params import check_shapes, read_params, shared_name, untrained_tensor
from gliolake.features.weights.selection import choose_weights
from gliolake.schema.vocabulary import FEATURE_LENGTH

REVISION = 1
"""Part of every recipe: raised when this module comes to compute other numbers from the same settings."""

MXNET_NETWORKS = ("i3d_nl10_resnet101_v1_kinetics400", "slowfast_4x16_resnet50_kinetics400")
"""Those of the study's networks that GluonCV also has for MXNet, under the same names."""

SLOW_STEP = 8
"""MXNet's SlowFast is given the frames of its slow pathway, every eighth of 32, behind those of the fast one."""


class MxnetBackbone:
    """One of ``MXNET_NETWORKS`` with weights. Making one needs no MXNet; ``vectors`` does.

    Args:
        name: The network.
        weights: ``untrained:SEED``; None for the file that was added to the weights folder as ``mxnet/NAME``.
        sampling: A name of ``gliolake.features.networks.frames.SAMPLINGS``.
        folder: The weights folder; see ``gliolake.features.weights.folder.weights_folder``.

    Raises:
        InputError: MXNet has no such network, there is no such sampling, or no weights were added for it.
    """

    def __init__(
        self, name: str, weights: str | None = None, sampling: str = "uniform", folder: str | None = None
    ) -> None:
        if name not in MXNET_NETWORKS:
            raise InputError(
                f"{name} cannot be computed by MXNet.", hint=f"GluonCV's MXNet zoo has {' and '.join(MXNET_NETWORKS)}."
            )
        check_choice("frame sampling", sampling, SAMPLINGS)
        self.name = name
        self.sampling = sampling
        self.chosen = choose_weights(f"mxnet/{name}", weights, folder)
        self.weights = self.chosen.kind
        self._module: Any = None
        self._lock = Lock()

    @property
    def preprocessing(self) -> Preprocessing:
        """What the network wants to see: the same as its twin in torch."""
        source = "GluonCV 0.10.5, gluoncv/data/video_custom/classification.py (MXNet); ImageNet's mean and deviation"
        return replace(gluon_preprocessing(self.name), source=source)

    def recipe(self) -> dict[str, Any]:
        """All that decides the vectors."""
        return {
            "revision": REVISION,
            "engine": "mxnet",
            "weights": self.chosen.recipe(),
            "precision": "fp32",
            "sampling": self.sampling,
            "preprocessing": self.preprocessing.recipe(),
            "output": "logits",
            "versions": mxnet_versions(),
        }

    def vectors(
        self, clips: list[npt.NDArray[np.uint8]], tumour_slices: tuple[int, int] | None = None
    ) -> npt.NDArray[np.float32]:
        """The logits (n, 400) float32 of clips (slice, row, column) uint8, one clip at a time and on one thread.

        Args:
            clips: The clips of one scan.
            tumour_slices: First and last-plus-one slice that hold tumour, for the sampling ``tumour``.

        Raises:
            InputError: a clip is of another kind or too short, the weights cannot be read, this is not MXNet's
                environment, or it has other versions.
        """
        logits = np.empty((len(clips), FEATURE_LENGTH), np.float32)
        for row, clip in zip(logits, clips, strict=True):
            row[:] = self.logits(prepare(clip, self.preprocessing, self.sampling, tumour_slices))
        return logits

    def logits(self, frames: Frames) -> npt.NDArray[np.float32]:
        """The network on prepared frames (3, 32, row, column) float32: (400,) float32."""
        if self.name.startswith("slowfast"):
            frames = np.concatenate([frames, frames[:, ::SLOW_STEP]], axis=1)
        network = self.module()
        with self._lock:  # a Gluon block keeps its cached graph's state to itself: one thread at a time
            answer: npt.NDArray[np.float32] = network(importlib.import_module("mxnet").nd.array(frames[None])).asnumpy()
        return answer[0]

    def load(self) -> None:
        """Make the network ready, as ``module`` does."""
        self.module()

    def module(self) -> Any:
        """The bare Gluon block, loaded once."""
        with self._lock:
            if self._module is None:
                self._module = self._load()
            return self._module

    def _load(self) -> Any:
        mxnet = start_mxnet()
        zoo = importlib.import_module("gluoncv.model_zoo")
        network = zoo.get_model(self.name, pretrained=False, pretrained_base=False)
        parameters = {shared_name(name): value for name, value in network._collect_params_with_prefix().items()}
        shapes = {name: tuple(value.shape) for name, value in parameters.items()}
        if path := self.chosen.path():
            tensors = read_params(path)
            check_shapes({name: value.shape for name, value in tensors.items()}, shapes, path.name, self.name)
        else:
            tensors = {name: untrained_tensor(name, shape, self.chosen.seed) for name, shape in shapes.items()}
        for name, parameter in parameters.items():
            parameter.set_data(mxnet.nd.array(tensors[name]))
        network.hybridize()
        return network
