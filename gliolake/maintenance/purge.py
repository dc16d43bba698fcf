"""Deletes files that repairs have moved into ``_quarantine``."""

from __future__ import annotations

from dataclasses import dataclass

from gliolake.storage.lake import Lake
from gliolake.storage.layout import QUARANTINE, kind
from gliolake.storage.quarantine import DAY, is_there, listed

MOVED = ("data", "temporary", "record", "checkpoint", "newest")
"""Kinds of names that a repair moves; another name in ``_quarantine`` is somebody else's."""


@dataclass(frozen=True)
class Purge:
    """What was removed from ``_quarantine``, and what is left there: too young, or not gliolake's."""

    removed: int
    bytes: int
    waiting: int
    foreign: int


def purge(lake: Lake, *, lain: float = DAY) -> Purge:
    """Remove for good what repairs have moved into ``_quarantine``.

    Args:
        lake: the lake.
        lain: seconds that a file has to have lain there, by the storage's clock.

    Raises:
        ReadOnlyLake: the lake cannot be written to.
    """
    removed = size = waiting = foreign = 0
    entries = [entry for entry in listed(lake.files) if entry.path.startswith(f"{QUARANTINE}/")]
    committed = lake.state().files
    for entry in entries:
        path = entry.path.removeprefix(f"{QUARANTINE}/").rstrip("~")
        if entry.kind != "file" or kind(path) not in MOVED:
            foreign += 1
        elif entry.age < lain or (path in committed and not is_there(lake.files, committed[path])):
            waiting += 1
        else:
            lake.files.delete(entry.path)
            removed, size = removed + 1, size + entry.size
    return Purge(removed, size, waiting, foreign)
