"""What a repair moves out of the way, and how it comes back or goes for good.

A repair deletes nothing. It moves files of ours that no commit needs into ``_quarantine``, under the path they had.
A commit that needs one after all takes it back (``bring_back``), and who reads it finds it there; so it does no harm
that a repair cannot know what another command is about to commit. Only ``purge`` removes files.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from gliolake.storage.backend import Entry, Files
from gliolake.storage.layout import QUARANTINE, TEMPORARY, kind
from gliolake.storage.snapshot import DataFile

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake

DAY = 86_400.0
"""Seconds for which readers may hold a snapshot: so long files stay after the commit that let go of them, and so long
again in ``_quarantine``."""

MOVED = ("data", "temporary", "record", "checkpoint", "newest")
"""Kinds of names that a repair moves; another name in ``_quarantine`` is somebody else's."""


def listed(files: Files) -> list[Entry]:
    """All that lies in a lake. Ages are by the storage's clock alone: a fresh file tells what time it is there."""
    probe = f"{TEMPORARY}/probe-{uuid.uuid4().hex}"
    files.put(probe, b"")  # takes no room, so that it works on a full disk
    try:
        entries = [*files.list()]
    finally:
        files.delete(probe)
    now = next((entry.age for entry in entries if entry.path == probe), math.inf)  # not shown: all seems young
    return [replace(entry, age=entry.age - now) for entry in entries if entry.path != probe]


def set_aside(files: Files, path: str) -> str | None:
    """Move into ``_quarantine`` what lies at a path, be it no file; under which name, or None if nothing lay there."""
    # What was set aside before under this name stays.
    return files.move(path, (f"{QUARANTINE}/{path}{'~' * number}" for number in count()))


def held_back(files: Files, file: DataFile) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file in ``_quarantine`` that is this data file as it was committed, or is to be."""
    name = f"{QUARANTINE}/{file.path}"
    for entry in sorted(files.list(name.rpartition("/")[0]), key=lambda entry: entry.path):
        if entry.kind == "file" and entry.path.rstrip("~") == name and entry.size == file.bytes:
            data = files.get(entry.path, file.bytes)
            if data is not None and hashlib.sha256(data).hexdigest() == file.sha256:
                yield entry.path, data


def bring_back(files: Files, file: DataFile) -> bool:
    """Move a data file back to where it belongs; whether it lies there then."""
    return any(files.move(name, [file.path]) for name, _ in held_back(files, file)) or is_there(files, file)


def is_there(files: Files, file: DataFile) -> bool:
    """Whether a data file lies where it belongs, with as many bytes as it has to have."""
    return files.size(file.path) == file.bytes


@dataclass(frozen=True)
class Purge:
    """What was removed from ``_quarantine``, and what is left there: too young, or not gliolake's."""

    removed: int
    bytes: int
    waiting: int
    foreign: int

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def __rich__(self) -> str:
        """For people."""
        lines = [f"{self.removed} files, {self.bytes:,} bytes, removed from {QUARANTINE}."]
        if self.waiting:
            lines.append(
                f"{self.waiting} files stay: they have been there for less than a day, or a commit needs them."
            )
        if self.foreign:
            lines.append(f"{self.foreign} files stay: gliolake does not make files of their names.")
        return "\n".join(lines)


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
