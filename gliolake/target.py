"""Decides whether a command may write an output. All commands that write files follow these rules:

- An output that does not exist is created. If it exists, the command refuses and changes nothing, unless
  ``--overwrite`` is given.
- With ``--overwrite``, gliolake replaces only its own output: a file of a known kind (``Own``) replaces only a file of
  that kind, a folder replaces only one that has exactly the files that gliolake writes. Tables for other
  programs (CSV, Parquet, JSON, workbooks) carry no mark: for them the option is sufficient.
- A command never writes through a link, over a folder, pipe or device, or into a lake. Exceptions are ``/dev/stdout``
  and similar devices, which are written directly.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gliolake.errors import GliolakeError, InputError

STREAM = re.compile(r"/dev/(std(out|err)|null|tty|full)|(/dev|/proc/self)/fd/(?P<number>\d+)")
"""Outputs that are no files: what is written goes straight through."""

RECORD = re.compile(r"\d{20}\.json")
"""Name of a record in a lake's ``_log``."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """A kind of output that can be told from other people's files.

    Attributes:
        kind: What it is called, e.g. "a report".
        recognises: Whether the file or folder is one, whole. Where it is none, it may fail as parsers do.
    """

    kind: str
    recognises: Callable[[Path], bool]

    def is_at(self, path: Path) -> bool:
        """Whether one lies there."""
        try:
            return self.recognises(path)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, GliolakeError):
            return False  # it is read as what we write, and may be anything


def marked(kind: str, *, opens: bytes, bears: bytes, ends: bytes) -> Own:
    """Files that begin and end in a certain way, and bear a mark in their first 16 kB."""

    def recognises(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(1 << 14)
            file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
            return head.startswith(opens) and bears in head and file.read().rstrip().endswith(ends)

    return Own(kind=kind, recognises=recognises)


PNG = marked("a picture", opens=b"\x89PNG\r\n\x1a\n", bears=b"Software\0gliolake", ends=b"IEND\xaeB`\x82")
"""Pictures whose text Software says gliolake."""


def check_target(
    target: Path,
    *,
    overwrite: bool = False,
    own: Own | None = None,
    folder: bool = False,
    new_parent: bool = False,
    inputs: Iterable[Path] = (),
) -> Path:
    """The absolute path, if an output may be written there.

    Args:
        target: Where.
        overwrite: What is there may be replaced.
        own: If it is of this kind. For folders it is needed.
        folder: The output is a folder; it may take the place of an empty one in any case.
        new_parent: The folder that it lies in may have to be made yet.
        inputs: Files that the command reads; none of them is replaced in any case.

    Raises:
        InputError: it may not; says why.
    """
    if STREAM.fullmatch(str(target)) and not folder:
        return target
    target = target.absolute()  # "." has no name
    if target.name in ("", ".."):
        raise InputError(f"{target} is no name for a {'folder' if folder else 'file'}.", hint="Give another name.")
    if not target.parent.is_dir() and (not new_parent or os.path.lexists(target.parent)):
        raise InputError(f"The folder {target.parent} does not exist.", hint="Make it, or give another name.")
    if lake := _lake_around(target):
        raise InputError(
            f"{target} lies in the lake {lake}, where only tables belong.", hint="Give a name outside of it."
        )
    if os.path.lexists(target):
        _check_former(target, overwrite=overwrite, own=own, folder=folder)
        if any(path.exists() and path.samefile(target) for path in inputs):
            raise InputError(f"{target} is a file that this command reads.", hint="Give another name.")
    return target


def _check_former(target: Path, *, overwrite: bool, own: Own | None, folder: bool) -> None:
    """That what is there may be replaced."""
    mode = target.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise InputError(
            f"{target} is a symbolic link, and outputs are not written through links.",
            hint=f"Give the name of what it leads to, {os.path.realpath(target)}, or another one.",
        )
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)):
        there = "a folder" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "a pipe or a device"
        raise InputError(f"{target} is {there} already.", hint="Give another name.")
    if folder and not any(target.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{target} is there already.", hint="Give another name, or --overwrite.")
    if own is not None and not own.is_at(target):
        raise InputError(
            f"{target} is not {own.kind} as gliolake writes it, and is left as it is.",
            hint="Give another name; --overwrite replaces what gliolake wrote, and nothing else.",
        )


def _lake_around(target: Path) -> Path | None:
    """The lake that a path lies in."""
    for folder in (target.parent.resolve(), *target.parent.resolve().parents):
        with suppress(OSError), os.scandir(folder / "_log") as entries:
            if any(RECORD.fullmatch(entry.name) for entry in entries):
                return folder
    return None
