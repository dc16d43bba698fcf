"""Isolation of a command: it runs no code and reads no configuration from the current folder.

People work in folders of untrusted scans, and an interpreter or a library that searches the current folder for its
parts would run code from there. Libraries that read settings files from the current folder are imported with this
disabled (``gliolake.process.compiled``, ``gliolake.analysis.figures``); gliolake's own settings are in
``gliolake.config``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gliolake.process.threads import while_any_is_inside

LISTS = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "ITK_AUTOLOAD_PATH", "XDG_CONFIG_DIRS", "XDG_DATA_DIRS")
"""Variables that list folders; an empty or relative entry is the current folder, or lies in it."""

FOLDERS = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
"""Variables that name a folder."""

OWN = str(Path(__file__).parents[2])
"""Where gliolake lies; in a checkout people may well work there."""

NOWHERE = "/nonexistent"
"""A home for who has none: without one "~" would be a name in the current folder."""


def leave_current_folder() -> None:
    """Keep this process, and all that it starts, from importing or loading anything from the current folder."""
    here = current_folder()
    unsafe = {str(Path(here, entry)) for entry in _entries("PYTHONPATH") if not Path(entry).is_absolute()}
    if not sys.flags.safe_path and sys.path[:1] == [here]:  # `python -m` puts it there
        unsafe.add(here)
    unsafe.discard(OWN)
    sys.path[:] = [entry for entry in sys.path if Path(entry).is_absolute() and entry not in unsafe]
    os.environ["PYTHONSAFEPATH"] = "1"
    for name in LISTS:
        _set(name, os.pathsep.join(filter(None, map(_absolute, _entries(name)))))
    for name in FOLDERS:
        given = os.environ.get(name, "")
        _set(name, given if Path(given).is_absolute() else "")
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = NOWHERE


def current_folder() -> str:
    """Its path, or ``NOWHERE`` if it has been deleted."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return NOWHERE


@while_any_is_inside
@contextmanager
def away_from_current_folder() -> Iterator[None]:
    """Inside, the current folder is the root: for importing a library that would read settings from it."""
    here = os.open(".", os.O_PATH)  # which need not have a path any more
    os.chdir("/")
    try:
        yield
    finally:
        os.fchdir(here)
        os.close(here)


def _entries(variable: str) -> list[str]:
    given = os.environ.get(variable, "")
    return given.split(os.pathsep) if given else []


def _absolute(entry: str) -> str:
    """The entry, or nothing where it depends on the current folder; gliolake's own folder may."""
    if Path(entry).is_absolute():
        return entry
    return OWN if str(Path(current_folder(), entry)) == OWN else ""


def _set(variable: str, value: str) -> None:
    if value:
        os.environ[variable] = value
    else:
        os.environ.pop(variable, None)
