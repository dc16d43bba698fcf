"""Before any work: do the workers have what this process has, so that they follow the same recipes?

A cluster's workers may have been installed on another day. What differs is shown once, by name, and no work is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from features.backbones import Backbone
from features.clips import ClipSettings
from features.mxnet_environment import RESOURCE
from features.recipe import Choice, make_recipe
from lake.errors import ClusterError, GliolakeError
from lake.pool import pool_workers

if TYPE_CHECKING:
    from distributed import Client, Worker

LIBRARIES = ("dask", "distributed", "cloudpickle", "numpy", "nibabel", "isal", "numba")
"""What reads the images, computes on them, and carries the results; networks name theirs in their recipes."""

NO_SPACE = 1 << 20
"""Bytes free on a disk that is called full."""

OWN_OF_MXNET = ("numpy", "numba")
"""Other ones in MXNet's environment, or none; its numpy stands in the recipe."""

ROOMS = ("lake", "ingest", "features")
"""The rooms whose code makes vectors."""


@dataclass(frozen=True)
class Expected:
    """What a run asks of every process that works for it: backbones, settings, and all that decides their numbers."""

    choices: tuple[Choice, ...]
    settings: ClipSettings
    entries: tuple[tuple[str, str], ...]

    @property
    def engine(self) -> str:
        """The library that computes; ``features.recipe.choose`` sees to it that one run has one."""
        return self.choices[0].options.engine


def expect(choices: Sequence[Choice], settings: ClipSettings) -> Expected:
    """What this process would compute by, for others to be held against.

    Raises:
        InputError: a backbone cannot be had here.
    """
    return Expected(tuple(choices), settings, tuple(look_around(choices, settings).items()))


def look_around(choices: Sequence[Choice], settings: ClipSettings) -> dict[str, str]:
    """All that decides vectors in this process: versions, the code, and every entry of every recipe, by name."""
    apart = any(choice.options.engine == "mxnet" for choice in choices)
    here = {} if apart else {"python": ".".join(platform.python_version_tuple()[:2])}
    entries = here | {name: version(name) for name in LIBRARIES if not (apart and name in OWN_OF_MXNET)}
    entries["gliolake's code"] = code_digest()
    for choice in choices:
        recipe = json.loads(make_recipe(choice.open(), settings).text)
        entries |= recipe["network"].pop("versions", {})
        precision = choice.options.precision
        entries |= dict(_leaves(f"{choice.backbone} {precision}", recipe))
    return entries


def _leaves(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in _leaves(f"{name} {key}", part)]
    return [(name, str(value))]


@cache
def code_digest() -> str:
    """Short sha256 over the source of the rooms that make vectors."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(source)}\n".encode() + source)
    return digest.hexdigest()[:12]


def differences(expected: Expected, place: str) -> list[str]:
    """What differs in this process, which is at ``place``, a line each; none where it would compute the same."""
    try:
        there = look_around(expected.choices, expected.settings)
    except (GliolakeError, ImportError) as error:
        return [f"{place}: {error}"]
    here = dict(expected.entries)
    names = [*here, *(name for name in there if name not in here)]
    return [
        f"{name}: {here.get(name, 'nothing')} here, {there.get(name, 'nothing')} on {place}"
        for name in names
        if here.get(name) != there.get(name)
    ]


def resources_of(expected: Expected) -> dict[str, float] | None:
    """What a worker must have for this run, in Dask's terms."""
    return {RESOURCE: 1} if expected.engine == "mxnet" else None


def check_workers(client: Client, expected: Expected) -> None:
    """Ask every worker that is there for this run; ``open_backbone_once`` asks those that join later.

    Raises:
        ClusterError: one would follow other recipes, or lacks something; the message shows what.
    """
    chosen = pool_workers(client, RESOURCE) if expected.engine == "mxnet" else None
    answers = client.run(_differences_there, expected, on_error="return", workers=chosen)
    lines: list[str] = []
    for place, answer in answers.items():
        if isinstance(answer, list):
            lines += answer
        elif not isinstance(answer, OSError):  # else it is gone; whoever comes in its place will be asked
            lines.append(f"{place}: {type(answer).__name__}: {answer}")
    if lines:
        raise unlike(lines)


def _differences_there(expected: Expected, dask_worker: Worker) -> list[str]:
    return differences(expected, dask_worker.address)


def unlike(lines: Sequence[str]) -> ClusterError:
    """The error that shows what differs."""
    shown = "".join(f"\n  {line}" for line in lines)
    return ClusterError(
        f"Workers of the cluster would compute other vectors than this machine, or none:{shown}",
        hint="Install the same gliolake, libraries and weights on all of them, and run the command again.",
    )


_opening = Lock()


def open_backbone_once(expected: Expected, choice: Choice) -> Backbone:
    """The backbone, ready, opened and loaded once in this process however many threads ask.

    Raises:
        ClusterError: this process would follow another recipe, or the weights cannot be read. That is no fault of
            the scan at hand, nor would another scan fare better.
    """
    with _opening:
        backbone = _open_all(expected)[choice]
    try:
        backbone.load()
    except GliolakeError as error:
        raise ClusterError(f"{choice.backbone} cannot be loaded on {address()}: {error}", hint=error.hint) from error
    return backbone


@lru_cache(maxsize=2)
def _open_all(expected: Expected) -> dict[Choice, Backbone]:
    if lines := differences(expected, address()):
        raise unlike(lines)
    return {choice: choice.open() for choice in expected.choices}


def disk_full(error: OSError) -> ClusterError:
    """The error for a worker that could not write, with the folders that are full, as far as they are known."""
    from distributed import get_worker

    folders = {tempfile.gettempdir(), os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).parent)}
    with suppress(ValueError):
        folders.add(get_worker().local_directory)
    full = {error.filename} if error.filename else {at for at in folders if shutil.disk_usage(at).free < NO_SPACE}
    where = f": {', '.join(sorted(full))}" if full else ""
    return ClusterError(
        f"No space is left on a disk of the worker {address()}{where}.",
        hint="What was committed stays. Free space there and run the same command again.",
    )


def address() -> str:
    """Of the worker that this code runs on."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return "this machine"
