"""Shared by the OpenVINO cache and the export program: the export request, file names, the package."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from threading import Lock
from types import ModuleType

import numpy as np

FOLDER_VARIABLE = "GLIOLAKE_NETWORKS"
MODEL, WEIGHTS = "network.xml", "network.bin"


@dataclass(frozen=True)
class Order:
    """A network to make.

    Attributes:
        name: A network of ``gliolake.features.networks.registry``.
        weights: ``untrained:SEED``; None for the file in the weights folder.
        folder: The weights folder; see ``gliolake.features.weights.folder.weights_folder``.
    """

    name: str
    weights: str | None
    folder: str | None = None


_IMPORTING = Lock()


def openvino() -> ModuleType:
    """The package, imported so that it reports nothing home: without its telemetry it takes a stub in its place."""
    with _IMPORTING:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        # 2026.4 sets something up when a tensor's numbers are first asked for; two threads that do so at once wait for
        # each other for ever, one for Python's lock and one for C++'s.
        _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return openvino
