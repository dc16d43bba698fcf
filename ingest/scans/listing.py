"""Lists an images folder: its folders, one after the other, and the files in each. No file is opened.

Links within the images folder are followed, and what they lead to may be known by their names. A link that leaves the
folder is refused, and so is what is neither file nor folder: a stranger's archive could name any file so.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gliolake import limits
from gliolake.errors import InputError
from gliolake.ingest.exclusions import LEAVES, NOT_A_FILE, TOO_DEEP, UNREADABLE_NAME
from gliolake.ingest.litter import is_litter

_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder, or a link to one: its bytes and time are those of what it leads to.

    refused: why it is neither opened nor entered, or "".
    """

    name: str
    is_link: bool
    bytes: int = 0
    mtime_ns: int = 0
    refused: str = ""


@dataclass
class Listing:
    """A folder: its path, the same from the images folder on, with a / at the end, and what is in it, by name.

    real: its path, links resolved. again: whether it was listed before, under another name.
    error: why it could not be listed, or "": then nothing is in it. A folder that could be listed in part counts as
    one that could not.
    """

    path: str
    below: str = ""
    real: str = ""
    again: bool = False
    mtime_ns: int = 0
    files: list[Entry] = field(default_factory=list)
    folders: list[Entry] = field(default_factory=list)
    error: str = ""


def walk(root: Path, *, linked: bool = False) -> Iterator[Listing]:
    """Every folder below ``root``, after the one that it lies in; ``root`` first.

    Links to folders come last, so that each folder is found under its own name first. A folder that a link leads to is
    listed ``again`` under the link's name, which may be the one that says what it is. From there no link is followed,
    and none is that leads back to where it lies, so that a loop ends. Litter is passed over
    (``gliolake.ingest.litter``).

    Args:
        root: the images folder, as an absolute path.
        linked: whether links may leave it.

    Raises:
        InputError: there is more than ``limits.ENTRIES`` of it.
    """
    top = Listing(str(root), real=os.path.realpath(root))
    entered, seen = {top.real}, 0
    waiting, links = [top], deque[Listing]()
    while waiting or links:
        if waiting:
            listing = waiting.pop()
        else:
            listing = links.popleft()
            listing.again = listing.real in entered
            entered.add(listing.real)
        _fill(listing, None if linked else top.real)
        seen += len(listing.files) + len(listing.folders)
        if seen > limits.ENTRIES:
            raise InputError(
                f"There are more than {limits.ENTRIES:,} files and folders below {root}.",
                hint="Give the cohort's own folder as --images.",
            )
        yield listing
        inner: list[Listing] = []
        for folder in (each for each in listing.folders if not each.refused):
            path, below = f"{listing.path}/{folder.name}", f"{listing.below}{folder.name}/"
            real = os.path.realpath(path) if folder.is_link else f"{listing.real}/{folder.name}"
            if folder.is_link:
                if not listing.again and not _within(listing.real, real):  # else it would be a loop
                    links.append(Listing(path, below, real))
            elif listing.again or real not in entered:
                entered.add(real)
                inner.append(Listing(path, below, real, listing.again))
        waiting += reversed(inner)


def list_folder(path: str, inside: str | None = None) -> Listing:
    """What one folder holds. ``inside``: the folder, its links resolved, that links may not leave; None: they may."""
    listing = Listing(path)
    _fill(listing, inside)
    return listing


def _fill(listing: Listing, inside: str | None) -> None:
    try:
        listing.mtime_ns = os.stat(listing.path).st_mtime_ns  # noqa: PTH116
        with os.scandir(listing.path) as entries:
            for entry in entries:
                if not is_litter(entry.name):
                    _add(listing, entry, inside)
    except OSError as error:
        listing.files, listing.folders, listing.mtime_ns = [], [], 0
        listing.error = error.strerror or type(error).__name__
    listing.files.sort(key=lambda file: file.name)
    listing.folders.sort(key=lambda folder: (folder.is_link, folder.name))  # so that one is found under its own name


def _add(listing: Listing, entry: os.DirEntry[str], inside: str | None) -> None:
    """Raises OSError where nothing can be said of the entry: its folder may only be listed, or the disk fails."""
    is_link, refused = entry.is_symlink(), _unreadable(entry.name)
    if is_link and inside and not refused and not _within(os.path.realpath(entry.path), inside):
        refused = LEAVES
    try:
        status = entry.stat()
    except OSError as error:
        if is_link and (refused or error.errno in _LEADS_NOWHERE):
            listing.files.append(Entry(entry.name, True, refused=refused or NOT_A_FILE))
        elif not isinstance(error, FileNotFoundError):  # else it was deleted meanwhile
            raise
        return
    is_folder = stat.S_ISDIR(status.st_mode)
    if not refused and is_folder and listing.below.count("/") >= limits.FOLDERS_DEEP:
        refused = TOO_DEEP
    elif not refused and not is_folder and not stat.S_ISREG(status.st_mode):
        refused = NOT_A_FILE
    size, mtime_ns = (0, 0) if is_link and refused else (status.st_size, status.st_mtime_ns)
    (listing.folders if is_folder else listing.files).append(Entry(entry.name, is_link, size, mtime_ns, refused))


def _within(real: str, inside: str) -> bool:
    return os.path.commonpath([inside, real]) == inside


def _unreadable(name: str) -> str:
    """Names on disk are bytes: one that is no text cannot stand in a table."""
    readable = name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
    return "" if readable else UNREADABLE_NAME
