"""A network becomes a file in OpenVINO's form: converted from torch once for each set of weights, and kept.

Such a file is read in a fraction of a second, where building the network in torch takes seconds, and it is mapped into
memory, so that the worker processes of a machine share one copy of the weights. It is a cache: the folder may be
deleted at any time, and what was damaged is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from features.networks import load_network, network_of
from lake.errors import StorageFull

if TYPE_CHECKING:
    import torch

REVISION = 1
"""Raised when this module comes to write other files from the same networks."""

FOLDER_VARIABLE = "GLIOLAKE_NETWORKS"
FILES = ("network.xml", "network.bin")
CHECKSUMS = "sha256.json"

State = Callable[[], Mapping[str, "torch.Tensor"]]


def openvino() -> ModuleType:
    """The package, imported so that it reports nothing home: without its telemetry it takes a stub in its place."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def networks_folder() -> Path:
    """The folder that GLIOLAKE_NETWORKS names, else ``~/.cache/gliolake/networks``."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "gliolake" / "networks"


def kept_network(name: str, weights: Mapping[str, Any], state: State) -> Path:
    """The folder that holds the network with these weights in OpenVINO's form; made first where it is not there.

    Of several processes that ask at once, one makes it and the others wait. It is moved into place whole, and every
    call compares its files with their sha256.

    Args:
        name: A network of ``features.networks``.
        weights: What identifies the weights, as JSON values.
        state: Gives the tensors, float32, by their names in today's torch network; called only where they are needed.

    Raises:
        InputError: no such network, or ``state`` says so.
        StorageFull: no space is left.
    """
    made_by = {
        package: version(package) for package in ("openvino", "torch", *filter(None, [network_of(name).package]))
    }
    text = json.dumps([REVISION, name, weights, made_by], sort_keys=True)
    place = networks_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        if not is_whole(place):
            shutil.rmtree(place, ignore_errors=True)
            _make(name, state(), place)
    return place


def is_whole(place: Path) -> bool:
    """Whether the files are there, with the bytes that were written."""
    try:
        expected = json.loads((place / CHECKSUMS).read_text("utf-8"))
        return bool(expected == _checksums(place))
    except (OSError, ValueError):
        return False


def _make(name: str, state: Mapping[str, torch.Tensor], place: Path) -> None:
    needed = sum(tensor.nbytes for tensor in state.values()) * 1.05
    if shutil.disk_usage(place.parent).free < needed:  # found out half-way, OpenVINO does not say what was wrong
        raise StorageFull(
            f"{place.parent} has no room for {name} as it is computed with: {needed / 1e6:,.0f} MB.",
            hint=f"Free some, or set {FOLDER_VARIABLE} to another folder.",
        )
    new = place.with_name(f"{place.name}.{uuid.uuid4().hex}.part")
    new.mkdir()
    try:
        model = convert(name, state)
        openvino().serialize(model, new / FILES[0], new / FILES[1])
        (new / CHECKSUMS).write_text(json.dumps(_checksums(new)), "utf-8")
        new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def convert(name: str, state: Mapping[str, torch.Tensor]) -> Any:
    """The network as a model of OpenVINO: one clip (1, 3, frame, row, column) float32 in, logits (1, 400) out.

    torch follows one clip of zeros through the network and writes down what is computed; none of the networks decides
    anything by the values that it sees.
    """
    import numpy as np
    import torch

    wanted = network_of(name).preprocessing
    shape = (1, 3, wanted.frames, wanted.size, wanted.size)
    network = load_network(name, state)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python's conditions on shapes become fixed, which they are
        traced = torch.jit.trace(network, torch.zeros(shape), check_trace=False)
        return openvino().convert_model(traced, input=[(list(shape), np.float32)])


def _checksums(place: Path) -> dict[str, str]:
    sums = {}
    for name in FILES:
        with (place / name).open("rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Inside, no other process of this machine makes the same network; the lock ends with its process."""
    with place.with_name(f"{place.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
