"""What an images folder holds: its folders, one after the other, and the files in each. Nothing is opened.

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
from typing import NamedTuple

from gliolake import limits
from gliolake.errors import InputError
from gliolake.ingest.exclusions import LEAVES, NOT_A_FILE, TOO_DEEP, UNREADABLE_NAME
from gliolake.ingest.litter import is_litter

_LEADS_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class Entry(NamedTuple):
    """A file or a folder, or a link to one: its bytes and time are those of what it leads to.

    refused: why it is neither opened nor entered, or "".
    """

    name: str
    is_link: bool
    bytes: int
    mtime_ns: int
    refused: str = ""


@dataclass
class Listing:
    """A folder: its path, the same from the images folder on, with a / at the end, and what is in it, by name.

    real: its path, links resolved. again: whether it was listed before, under another name.
    error: why it could not be listed, or "": then nothing is in it. A folder that could be listed in part counts as
    one that could not.
    """

    path: str
    below: str
    mtime_ns: int = 0
    files: list[Entry] = field(default_factory=list)
    folders: list[Entry] = field(default_factory=list)
    error: str = ""
    real: str = ""
    again: bool = False


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
    real_root = os.path.realpath(root)
    inside = None if linked else real_root
    entered, seen = {real_root}, 0
    waiting = [(str(root), real_root, "", False)]
    links: deque[tuple[str, str, str]] = deque()
    while waiting or links:
        if not waiting:
            path, real_path, below = links.popleft()
            waiting.append((path, real_path, below, real_path in entered))
            entered.add(real_path)
        path, real_path, below, again = waiting.pop()
        listing = list_folder(path, below, inside)
        listing.real, listing.again = real_path, again
        seen += len(listing.files) + len(listing.folders)
        if seen > limits.ENTRIES:
            raise InputError(
                f"There are more than {limits.ENTRIES:,} files and folders below {root}.",
                hint="Give the cohort's own folder as --images.",
            )
        yield listing
        inner: list[tuple[str, str, str, bool]] = []
        for folder in listing.folders:
            if folder.refused:
                continue
            its_path, its_below = f"{path}/{folder.name}", f"{below}{folder.name}/"
            if folder.is_link:
                real = os.path.realpath(its_path)
                if not again and not _within(real_path, real):  # a loop
                    links.append((its_path, real, its_below))
                continue
            real = f"{real_path}/{folder.name}"
            if again or real not in entered:
                entered.add(real)
                inner.append((its_path, real, its_below, again))
        waiting += reversed(inner)


def list_folder(path: str, below: str = "", inside: str | None = None) -> Listing:
    """What one folder holds. ``inside``: the folder, its links resolved, that links may not leave; None: they may."""
    listing = Listing(path, below)
    try:
        listing.mtime_ns = os.stat(path).st_mtime_ns  # noqa: PTH116
        with os.scandir(path) as entries:
            for entry in entries:
                if not is_litter(entry.name):
                    _add(listing, entry, inside)
    except OSError as error:
        return Listing(path, below, error=error.strerror or type(error).__name__)
    listing.files.sort()
    listing.folders.sort(key=lambda folder: (folder.is_link, folder.name))  # so that one is found under its own name
    return listing


def _add(listing: Listing, entry: os.DirEntry[str], inside: str | None) -> None:
    """Raises OSError where nothing can be said of the entry: its folder may only be listed, or the disk fails."""
    if entry.is_symlink():
        is_folder, one = _link(entry, inside)
    elif entry.is_dir(follow_symlinks=False):
        if not (listing.files or listing.folders):
            entry.stat(follow_symlinks=False)  # of folders nothing else is asked: may they be entered?
        is_folder, one = True, Entry(entry.name, False, 0, 0, _unreadable(entry.name))
    else:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # it was deleted meanwhile
            return
        refused = _unreadable(entry.name) or ("" if stat.S_ISREG(status.st_mode) else NOT_A_FILE)
        is_folder, one = False, Entry(entry.name, False, status.st_size, status.st_mtime_ns, refused)
    if is_folder and not one.refused and listing.below.count("/") >= limits.FOLDERS_DEEP:
        one = one._replace(refused=TOO_DEEP)
    (listing.folders if is_folder else listing.files).append(one)


def _link(entry: os.DirEntry[str], inside: str | None) -> tuple[bool, Entry]:
    """Whether it leads to a folder, and what is to be known of it."""
    refused = _unreadable(entry.name)
    if not refused and inside and not _within(os.path.realpath(entry.path), inside):
        refused = LEAVES
    try:
        status = os.stat(entry.path)  # noqa: PTH116
    except OSError as error:
        if not refused and error.errno not in _LEADS_NOWHERE:
            raise
        return False, Entry(entry.name, True, 0, 0, refused or NOT_A_FILE)
    is_folder = stat.S_ISDIR(status.st_mode)
    if not refused and not is_folder and not stat.S_ISREG(status.st_mode):
        refused = NOT_A_FILE
    if refused:
        return is_folder, Entry(entry.name, True, 0, 0, refused)
    return is_folder, Entry(entry.name, True, status.st_size, status.st_mtime_ns)


def _within(real: str, inside: str) -> bool:
    return os.path.commonpath([inside, real]) == inside


def _unreadable(name: str) -> str:
    """Names on disk are bytes: one that is no text cannot stand in a table."""
    readable = name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
    return "" if readable else UNREADABLE_NAME
