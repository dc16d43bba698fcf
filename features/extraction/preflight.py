"""Checks before any task that the workers follow the same recipes as this process.

``gliolake.cluster.environment_check`` asks for code and libraries; a recipe's entries, such as weights, are asked for
here in the same way.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from gliolake.cluster import environment_check as alike
from gliolake.cluster.client import pool_workers
from gliolake.cluster.environment_check import address, differing, environment_fingerprint, environment_mismatch
from gliolake.errors import ClusterError, GliolakeError
from gliolake.features.backbones.mxnet.environment import RESOURCE
from gliolake.features.backbones.registry import Backbone
from gliolake.features.clips import ClipSettings
from gliolake.features.extraction.recipe import Choice, make_recipe

if TYPE_CHECKING:
    from distributed import Client

NO_SPACE = 1 << 20
"""Bytes free on a disk that is called full."""


@dataclass(frozen=True)
class Expected:
    """What a run asks of every process that works for it: backbones, settings, and all that decides their numbers."""

    choices: tuple[Choice, ...]
    settings: ClipSettings
    entries: tuple[tuple[str, str], ...]

    @property
    def engine(self) -> str:
        """The library that computes; ``gliolake.features.extraction.recipe.choose`` sees to it that one run has one."""
        return self.choices[0].options.engine


def expect(choices: Sequence[Choice], settings: ClipSettings) -> Expected:
    """What this process would compute by, for others to be held against.

    Raises:
        InputError: a backbone cannot be had here.
    """
    return Expected(tuple(choices), settings, tuple(look_around(choices, settings).items()))


def look_around(choices: Sequence[Choice], settings: ClipSettings) -> dict[str, str]:
    """All that decides vectors in this process: versions, the code, and every entry of every recipe, by name."""
    entries = environment_fingerprint(apart=any(choice.options.engine == "mxnet" for choice in choices))
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


def differences(expected: Expected, place: str) -> list[str]:
    """What differs in this process, which is at ``place``, a line each; none where it would compute the same."""
    try:
        there = look_around(expected.choices, expected.settings)
    except (GliolakeError, ImportError) as error:
        return [f"{place}: {error}"]
    return differing(dict(expected.entries), there, place)


def resources_of(expected: Expected) -> dict[str, float] | None:
    """What a worker must have for this run, in Dask's terms."""
    return {RESOURCE: 1} if expected.engine == "mxnet" else None


def check_workers(client: Client, expected: Expected) -> None:
    """Ask every worker that is there for this run; ``open_backbone_once`` asks those that join later.

    Raises:
        ClusterError: one would follow other recipes, or lacks something; the message shows what.
    """
    chosen = pool_workers(client, RESOURCE) if expected.engine == "mxnet" else None
    alike.check_workers(client, partial(differences, expected), chosen)


_opening = Lock()


def open_backbone_once(expected: Expected, choice: Choice) -> Backbone:
    """The backbone, ready, opened and loaded once in this process however many threads ask.

    Raises:
        ClusterError: this process would follow another recipe, or the backbone cannot be had ready. That is no fault
            of the scan at hand, nor would another scan fare better.
    """
    with _opening:
        backbone = _open_all(expected)[choice]
    try:
        backbone.load()
    except GliolakeError as error:
        raise ClusterError(f"{choice.backbone} cannot be loaded on {address()}: {error}", hint=error.hint) from error
    except Exception as error:  # of a library, its compiler, its files: nothing that a scan could be blamed for
        said = f"{type(error).__name__}: {error}"
        hint = "Does its environment work there? Mend it and run the same command again."
        raise ClusterError(f"{choice.backbone} cannot be loaded on {address()} ({said}).", hint=hint) from error
    return backbone


@lru_cache(maxsize=2)
def _open_all(expected: Expected) -> dict[Choice, Backbone]:
    if lines := differences(expected, address()):
        raise environment_mismatch(lines)
    return {choice: choice.open() for choice in expected.choices}


def disk_full(error: OSError) -> ClusterError:
    """The error for a worker that could not write, with the folders that are full, as far as they are known."""
    from distributed import get_worker

    folders = {tempfile.gettempdir()}
    with suppress(ValueError):
        folders.add(get_worker().local_directory)
    full = {error.filename} if error.filename else {at for at in folders if shutil.disk_usage(at).free < NO_SPACE}
    where = f": {', '.join(sorted(full))}" if full else ""
    return ClusterError(
        f"No space is left on a disk of the worker {address()}{where}.",
        hint="What was committed stays. Free space there and run the same command again.",
    )
