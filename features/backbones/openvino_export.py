"""A network becomes a model of OpenVINO: the program that ``gliolake.features.backbones.openvino_cache`` runs, once per
set of weights.

    python -m gliolake.features.backbones.openvino_export '{"name": …, "weights": …, "folder": …}' FOLDER

What goes wrong is one JSON object on standard output, and exit code 2.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliolake.errors import GliolakeError, StorageFull
from gliolake.features.backbones.network_state import network_state
from gliolake.features.backbones.openvino_model import FOLDER_VARIABLE, MODEL, WEIGHTS, Order, openvino
from gliolake.features.networks.registry import load_network, network_of
from gliolake.features.weights.selection import choose_weights
from gliolake.schema.vocabulary import FEATURE_LENGTH

if TYPE_CHECKING:
    import torch


def make(order: Order, place: Path) -> None:
    """Write the files of the network into an empty folder.

    Raises:
        InputError: no such network, or its weights cannot be read.
        StorageFull: there is not enough space.
    """
    state = network_state(order.name, choose_weights(order.name, order.weights, order.folder))
    needed = sum(tensor.nbytes for tensor in state.values()) * 1.05
    if shutil.disk_usage(place).free < needed:  # found out half-way, OpenVINO does not say what was wrong
        raise StorageFull(
            f"{place.parent} has no room for {order.name} as it is computed with: {needed / 1e6:,.0f} MB.",
            hint=f"Free some, or set {FOLDER_VARIABLE} to another folder.",
        )
    openvino().serialize(convert(order.name, state), place / MODEL, place / WEIGHTS)


def convert(name: str, state: Mapping[str, torch.Tensor]) -> Any:
    """The network as a model of OpenVINO: one clip (1, 3, frame, row, column) float32 in, logits (1, 400) out.

    torch follows one clip of zeros through the network and writes down what is computed; none of the networks decides
    anything by the values that it sees.
    """
    import torch

    wanted = network_of(name).preprocessing
    shape = (1, 3, wanted.frames, wanted.size, wanted.size)
    network = load_network(name, state)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python's conditions on shapes become fixed, which they are
        traced = torch.jit.trace(network, torch.zeros(shape), check_trace=False)
        model = openvino().convert_model(traced)
    for parameter in model.get_parameters():
        if not parameter.output(0).get_target_inputs():  # now and then the module itself stays behind, as `self.1`
            model.remove_parameter(parameter)
    model.reshape(list(shape))
    if len(model.inputs) != 1 or list(model.outputs[0].shape) != [1, FEATURE_LENGTH]:
        raise RuntimeError(f"The conversion of {name} went wrong: {model.inputs} to {model.outputs}.")
    return model


def main() -> None:
    """Make what the arguments say."""
    order, place = Order(**json.loads(sys.argv[1])), Path(sys.argv[2])
    try:
        make(order, place)
    except GliolakeError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error), "hint": error.hint}))
        sys.exit(2)


if __name__ == "__main__":
    main()
