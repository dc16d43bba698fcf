"""Networks in OpenVINO's form, kept in a folder: made once for each set of weights, and checked whenever they are read.

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
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gliolake import errors
from gliolake.features.backbones.openvino_model import FOLDER_VARIABLE, MODEL, WEIGHTS, Order
from gliolake.features.networks.registry import network_of
from gliolake.process.private_folders import cache_folder

REVISION = 1
"""Raised when ``gliolake.features.backbones.openvino_export`` comes to write other files from the same networks."""

CHECKSUMS = "sha256.json"


def networks_folder() -> Path:
    """The folder that GLIOLAKE_NETWORKS names, else one of ``gliolake.process.private_folders``,
    ``~/.cache/gliolake/networks``."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else cache_folder("networks")


def kept_network(order: Order, weights: Mapping[str, Any]) -> Path:
    """The folder that holds a network in OpenVINO's form; made first where it is not there.

    Of several processes that ask at once, one makes it and the others wait. It is moved into place whole, and every
    call compares its files with their sha256.

    Args:
        order: The network.
        weights: What identifies its weights, as JSON values.

    Raises:
        InputError: no such network, or its weights cannot be read.
        StorageFull: no space is left.
    """
    packages = ["openvino", "torch", *filter(None, [network_of(order.name).package])]
    made_by = {package: version(package) for package in packages}
    text = json.dumps([REVISION, order.name, weights, made_by], sort_keys=True)
    place = networks_folder() / f"{order.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with _alone(place):
        if not is_whole(place):
            _make(order, place)
    return place


def is_whole(place: Path) -> bool:
    """Whether the files are there, with the bytes that were written."""
    try:
        expected = json.loads((place / CHECKSUMS).read_text("utf-8"))
        return bool(expected == _checksums(place))
    except (OSError, ValueError):
        return False


def _make(order: Order, place: Path) -> None:
    for left_over in (place, *place.parent.glob(f"{place.name}.*.part")):
        shutil.rmtree(left_over, ignore_errors=True)
    new = place.with_name(f"{place.name}.{uuid.uuid4().hex}.part")
    new.mkdir()
    try:
        run_conversion(order, new)
        (new / CHECKSUMS).write_text(json.dumps(_checksums(new)), "utf-8")
        new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def run_conversion(order: Order, place: Path) -> None:
    """In a process of its own, so that the one that computes never has torch, nor the network twice, in its memory."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "gliolake.features.backbones.openvino_export",
        json.dumps(vars(order)),
        str(place),
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, encoding="utf-8", stdin=subprocess.DEVNULL
    )
    if done.returncode == 0:
        return
    try:
        told = json.loads(done.stdout)
        error = getattr(errors, told["error"])(told["message"], hint=told["hint"])
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["It said nothing."])[-1]
        raise RuntimeError(f"The conversion of {order.name} ended with code {done.returncode}: {last}") from None
    raise error


def _checksums(place: Path) -> dict[str, str]:
    sums = {}
    for name in (MODEL, WEIGHTS):
        with (place / name).open("rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return sums


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Inside, no other process of this machine makes the same network; the lock ends with its process."""
    lock = os.open(place.with_name(f"{place.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
