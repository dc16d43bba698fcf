"""The quarantine: files that a repair moved, and how they are restored or deleted.

A repair deletes nothing. It moves gliolake's files that no commit references to ``_quarantine``, under their former
path. A commit that needs such a file restores it (``bring_back``), and readers find it in the quarantine; so a repair
is safe although it cannot know the next commit of another command. Only ``gliolake.maintenance.purge`` deletes files.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from gliolake.storage.backend.files import Entry, Files
from gliolake.storage.layout import QUARANTINE, TEMPORARY
from gliolake.storage.snapshot import DataFile

DAY = 86_400.0
"""Seconds for which readers may hold a snapshot: so long files stay after the commit that let go of them, and so long
again in ``_quarantine``."""


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
