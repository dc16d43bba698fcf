"""GluonCV's torch networks on today's torch: the one place where its model files are loaded past its ``__init__``s.

``import gluoncv`` refuses torch 2 and, through its subpackages, wants torchvision, OpenCV, yacs and more. The files
that define the networks want none of it: torch alone, and two initialisers of ``gluoncv/torch/utils/utils.py``. So
empty packages of a private name are put in place of GluonCV's own, whose search paths lead to GluonCV's folders, and
the files are imported below them, unmodified. ``import gluoncv`` elsewhere neither sees them nor is changed by them.

One thing is left out: building I3D *always* inflates the ImageNet weights of a torchvision ResNet, which it downloads.
The weights of a file, or of a seed, replace every one of those, so the private copy's ``inflate_weights`` does nothing.

Clip length, crop and normalisation are those of GluonCV's ``scripts/action-recognition/configuration/NAME.yaml`` (32
frames each, CROP_SIZE 224 by default and 112 for R(2+1)D) and of ``gluoncv/torch/data/video_cls/
dataset_classification.py`` (pixels divided by 255, ImageNet's mean and deviation). Its films are sampled at every
second frame (FRAME_RATE 2); how slices are sampled here is the choice of ``gliolake.features.networks.frames``.
SlowFast takes all 32 frames and picks its slow pathway's four (every eighth) by itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from gliolake.errors import InputError
from gliolake.features.networks.frames import Preprocessing
from gliolake.schema.vocabulary import FEATURE_LENGTH

if TYPE_CHECKING:
    from torch import nn

FILES = {
    "i3d_nl10_resnet101_v1_kinetics400": "i3d_resnet",
    "slowfast_4x16_resnet50_kinetics400": "slowfast",
    "r2plus1d_v2_resnet152_kinetics400": "r2plus1dv2",
    "ircsn_v2_resnet152_f32s2_kinetics400": "ircsnv2",
}
"""The file of ``gluoncv/torch/model_zoo/action_recognition`` that defines each network."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

PRIVATE_NAME = "_gliolake_gluoncv"
_LOADING = Lock()


def gluon_preprocessing(name: str) -> Preprocessing:
    """What the network of this name wants to see."""
    size = 112 if name == "r2plus1d_v2_resnet152_kinetics400" else 224
    source = f"GluonCV 0.10.5, scripts/action-recognition/configuration/{name}.yaml and VideoClsDataset"
    return Preprocessing(32, size, IMAGENET_MEAN, IMAGENET_DEVIATION, source)


def build_gluon(name: str) -> nn.Module:
    """The network, with whatever weights its constructor draws: (n, 3, 32, size, size) float32 to (n, 400) logits.

    Raises:
        InputError: gluoncv is not installed.
    """
    module = _model_file(FILES[name])
    network: nn.Module = getattr(module, name)(_settings())
    return network


def _settings() -> SimpleNamespace:
    """GluonCV's defaults (gluoncv/torch/engine/config/action_recognition.py), those the four networks read."""
    data = SimpleNamespace(NUM_CLASSES=FEATURE_LENGTH, NUM_SEGMENT=1, NUM_CROP=1)
    model = SimpleNamespace(
        PRETRAINED=False, PRETRAINED_BASE=True, BN_EVAL=False, PARTIAL_BN=False, BN_FROZEN=False, USE_AFFINE=False
    )
    return SimpleNamespace(CONFIG=SimpleNamespace(DATA=data, MODEL=model, INFERENCE=SimpleNamespace(FEAT=False)))


def _model_file(name: str) -> ModuleType:
    with _LOADING:
        if PRIVATE_NAME not in sys.modules:
            _put_empty_packages(_gluon_folder())
        module = importlib.import_module(f"{PRIVATE_NAME}.model_zoo.action_recognition.{name}")
        network: Any = getattr(module, "I3D_ResNetV1", None)
        if network is not None:
            network.inflate_weights = lambda _: None
    return module


def _gluon_folder() -> Path:
    """``gluoncv/torch``, found without importing it."""
    found = importlib.util.find_spec("gluoncv")
    if found is None or not found.submodule_search_locations:
        raise InputError(
            "The package gluoncv, which defines this network, is not installed.",
            hint="Install it: pip install 'gliolake[extract]'.",
        )
    return Path(found.submodule_search_locations[0]) / "torch"


def _put_empty_packages(folder: Path) -> None:
    for package in ("", "model_zoo", "model_zoo.action_recognition", "utils"):
        name = f"{PRIVATE_NAME}.{package}".rstrip(".")
        module = ModuleType(name, "A package of GluonCV without what its __init__ would import.")
        module.__path__ = [str(folder.joinpath(*package.split(".")))]
        sys.modules[name] = module
