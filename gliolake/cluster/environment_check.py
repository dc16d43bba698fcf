"""Checks that workers have the same code, libraries and weights as this process.

A cluster's workers may have another version. The differences are reported once, by name, and no task runs.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from gliolake.cluster.timeouts import answered
from gliolake.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client, Worker

Item = TypeVar("Item")
Result = TypeVar("Result")
Entries: TypeAlias = tuple[tuple[str, str], ...]

EVERYWHERE = ("dask", "distributed", "cloudpickle", "nibabel", "isal")
"""What carries tasks and reads images; other environments of ours have the same of it."""

OWN = ("numpy", "numba", "pandas", "pyarrow", "scikit-learn", "scipy", "simpleitk", "torch")
"""What computes. A pool of another environment has its own."""


def environment_fingerprint(*, apart: bool = False) -> dict[str, str]:
    """What decides results in this process, by name: versions, and the code.

    Args:
        apart: leave out what workers of another environment (``gliolake.cluster.pool``) need not have alike.
    """
    python = {} if apart else {"python": ".".join(platform.python_version_tuple()[:2])}
    libraries = EVERYWHERE if apart else EVERYWHERE + OWN
    return python | {name: _version(name) for name in libraries} | {"gliolake's code": code_digest()}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "nothing"


@cache
def code_digest() -> str:
    """Short sha256 over the source of the whole package, as it is when a process first asks."""
    root = Path(__file__).parents[1]
    folders = os.walk(root, followlinks=True)  # in a checkout the rooms are links
    digest = hashlib.sha256()
    for path in sorted(Path(folder, name) for folder, _, names in folders for name in names if name.endswith(".py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:12]


def differing(here: Mapping[str, str], there: Mapping[str, str], place: str) -> list[str]:
    """What differs between this machine and the process at ``place``, a line each."""
    names = [*here, *(name for name in there if name not in here)]
    return [
        f"{name}: {here.get(name, 'nothing')} here, {there.get(name, 'nothing')} on {place}"
        for name in names
        if here.get(name) != there.get(name)
    ]


def check_workers(client: Client, differences: Callable[[str], list[str]], workers: list[str] | None = None) -> None:
    """Ask workers that are there now, all of them where none are named; ``on_like_worker`` asks those that join later.

    Args:
        differences: called on every worker with its address; says what differs there, a line each.

    Raises:
        ClusterError: something differs, or a worker lacks gliolake; the message shows what. Or nobody answers.
    """
    with answered(client) as seconds:
        answers = client.run(_asked, differences, on_error="return", workers=workers, callback_timeout=seconds)
    lines: list[str] = []
    for place, answer in answers.items():
        if isinstance(answer, list):
            lines += answer
        elif not isinstance(answer, OSError):  # else it is gone; whoever comes in its place will be asked
            lines.append(f"{place}: {type(answer).__name__}: {answer}")
    if lines:
        raise environment_mismatch(lines)


def _asked(differences: Callable[[str], list[str]], dask_worker: Worker) -> list[str]:
    return differences(dask_worker.address)


def check_environment(client: Client, workers: list[str] | None = None) -> None:
    """Ask workers for their environment. Those that are named are of another one (``gliolake.cluster.pool``).

    Raises:
        ClusterError: something differs, or a worker lacks gliolake; the message shows what.
    """
    apart = workers is not None
    check_workers(
        client, partial(differences_from, tuple(environment_fingerprint(apart=apart).items()), apart), workers
    )


def differences_from(entries: Entries, apart: bool, place: str) -> list[str]:
    """What differs in this process, which is at ``place``, from an environment elsewhere."""
    return differing(dict(entries), environment_fingerprint(apart=apart), place)


def on_like_worker(entries: Entries, apart: bool, function: Callable[[Item], Result], item: Item) -> Result:
    """``function(item)``, on a worker whose environment is that of whoever asks.

    Raises:
        ClusterError: this worker does not: it joined after ``check_workers``.
    """
    if lines := _looked_once(entries, apart):
        raise environment_mismatch(lines)
    return function(item)


@lru_cache(maxsize=4)
def _looked_once(entries: Entries, apart: bool) -> list[str]:
    return differences_from(entries, apart, address())


def environment_mismatch(lines: Sequence[str]) -> ClusterError:
    """The error that shows what differs."""
    shown = "".join(f"\n  {line}" for line in lines)
    return ClusterError(
        f"Workers of the cluster would compute other results than this machine, or none:{shown}",
        hint="Install the same gliolake, libraries and weights on all of them, start them anew, and run it again.",
    )


def address() -> str:
    """Of the worker that this code runs on."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return "this machine"
