"""MXNet's own Python environment: what is in it, where it lies, and how MXNet is started in a worker of it.

MXNet 1.9.1 was the last release, and wants a numpy below 1.24: it cannot be imported beside the rest of gliolake. So
``make mxnet`` installs a second environment with this project in it, and Dask workers of it announce a resource.
"""

from __future__ import annotations

import copyreg
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gliolake.cluster.client import pool_workers
from gliolake.cluster.pool import Environment, open_pool
from gliolake.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

PINS = {"mxnet": "1.9.1", "gluoncv": "0.10.5.post0", "numpy": "1.23.5"}
"""What makes the numbers, as ``deploy/mxnet/requirements.txt`` installs it."""

RESOURCE = "MXNET"
PYTHON_VARIABLE = "GLIOLAKE_MXNET_PYTHON"
LIBRARIES = "Install the library that it names; on Debian: apt install libgomp1 libquadmath0."
REMEDY = f"Run `make mxnet`, or set {PYTHON_VARIABLE} to the Python of an environment that it made."

BEFORE_START = {"OMP_NUM_THREADS": "1", "MXNET_CPU_WORKER_NTHREADS": "1"}
"""Read by MXNet when it is imported. Other numbers of threads may sum in another order."""


class OtherVersions(InputError):
    """The environment has other versions than those that recipes name."""


def mxnet_environment(python: str | Path | None = None) -> Environment:
    """The environment of this Python, else of the one that GLIOLAKE_MXNET_PYTHON names, else ``.mxnet`` beside us."""
    beside = Path(__file__).parents[4] / ".mxnet" / "bin" / "python"
    return Environment(Path(python or os.environ.get(PYTHON_VARIABLE) or beside), RESOURCE, REMEDY)


def mxnet_versions() -> dict[str, str]:
    """Of ``PINS``, what is installed in this process's environment; where MXNet is not, what its workers must have."""
    installed = _installed()
    return dict(PINS) if installed["mxnet"] == "missing" else installed


def check_versions() -> None:
    """Raises:
    OtherVersions: what is installed is not what recipes name; the message shows each difference.
    """
    differing = [f"{name} {found}, not {PINS[name]}" for name, found in _installed().items() if found != PINS[name]]
    if differing:
        raise OtherVersions(f"The environment of {sys.executable} has {'; '.join(differing)}.", hint=REMEDY)


def _installed() -> dict[str, str]:
    installed = {}
    for name in PINS:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "missing"
    return installed


@contextmanager
def open_mxnet(
    scheduler: str | None = None, workers: int | None = None, python: str | Path | None = None
) -> Iterator[Client]:
    """A client of a cluster with MXNet's workers, each of which has the right versions; see
    ``gliolake.cluster.pool.open_pool``.

    Raises:
        InputError: ``workers`` is not positive, or a worker has other versions than recipes name.
        ClusterError: there is no such environment, its workers do not start, or the running cluster has none of them.
    """
    with open_pool(mxnet_environment(python), scheduler, workers) as client:
        client.run(check_versions, workers=pool_workers(client, RESOURCE))
        yield client


def start_mxnet() -> Any:
    """The module mxnet, on one thread, with this process's arrays made readable for today's numpy.

    Raises:
        InputError: this is not MXNet's environment, it has other versions than recipes name, or the system lacks a
            library.
    """
    check_versions()
    os.environ.update(BEFORE_START)
    try:
        mxnet = importlib.import_module("mxnet")
    except (ImportError, OSError) as error:
        hint = LIBRARIES if isinstance(error, OSError) else REMEDY
        raise InputError(f"MXNet cannot be imported by {sys.executable}: {error}.", hint=hint) from None
    # numpy 1 pickles arrays by a function that numpy 2 has moved, and that its next release may not find any more.
    copyreg.pickle(np.ndarray, _portable)
    return mxnet


def _portable(array: npt.NDArray[Any]) -> tuple[Any, ...]:
    return np.ndarray, (array.shape, array.dtype.str, array.tobytes())
