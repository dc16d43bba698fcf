"""Access to a lake's folder: it is opened once, and paths in it are opened component by component without links.

So no file outside it is accessed, even if its content is untrusted or changes meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from gliolake.errors import DamagedFile, NotALake, Obstructed
from gliolake.log.journal import logger
from gliolake.storage.backend.files import LINKED_LAKE, FileKind, parts_of

WALK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""How a folder on the way is opened: to be gone through, which needs no right to list it."""

NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EISDIR}
"""What a file system answers that cannot sync a folder (some network shares of Windows, some of FUSE)."""

RENAME_NOREPLACE = 1
"""The flag of Linux's renameat2 by which a name that is taken stays as it is."""

KINDS: dict[int, FileKind] = {
    stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}  # fmt: skip


class Place(NamedTuple):
    """A name in a folder that is open: ``folder`` is its handle, ``path`` where it lies below the root."""

    folder: int
    name: str
    path: str

    def status(self) -> os.stat_result | None:
        """What lies there, be it a link; None where nothing does."""
        try:
            return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return None


class OpenFolder:
    """A folder, and the handles of the folders in it.

    Args:
        root: the folder; it need not be there yet.
        linked: whether it, and folders in it, may be symbolic links, where a call does not say otherwise.
    """

    def __init__(self, root: Path, linked: bool) -> None:
        self.root = root.absolute()
        self.linked = linked
        self._handle: int | None = None
        self._lock = Lock()
        self._warned = False

    @contextlib.contextmanager
    def inside(self, folders: Sequence[str], *, make: bool = False, linked: bool | None = None) -> Iterator[int]:
        """The handle of a folder; made where it is missing.

        Raises:
            FileNotFoundError: it is not there, and ``make`` is off.
            Obstructed: a symbolic link or a file stands where a folder should.
            NotALake: the root is a link, or a file.
        """
        root = here = self._opened(make)
        try:
            for depth, name in enumerate(folders):
                above, here = here, self._enter(Place(here, name, "/".join(folders[: depth + 1])), make, linked)
                if above != root:
                    os.close(above)
            yield here
        finally:
            if here != root:
                os.close(here)

    @contextlib.contextmanager
    def reach(self, path: str, *, make: bool = False, linked: bool | None = None) -> Iterator[Place]:
        """The name of a file in its folder. Raises as ``inside``."""
        *folders, name = parts_of(path)
        with self.inside(folders, make=make, linked=linked) as folder:
            yield Place(folder, name, path)

    @contextlib.contextmanager
    def reach_if_there(self, path: str, *, linked: bool | None = None) -> Iterator[Place | None]:
        """As ``reach``; None where its folder is not there."""
        with contextlib.ExitStack() as stack:
            place = None
            with contextlib.suppress(FileNotFoundError):
                place = stack.enter_context(self.reach(path, linked=linked))
            yield place

    def names_in(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        """The names in a folder that is reached through no link; none where it is not there.

        Raises:
            PermissionError: it may not be read.
        """
        with contextlib.ExitStack() as stack:
            try:
                inside = stack.enter_context(self.inside(parts_of(folder) if folder else [], linked=False))
            except FileNotFoundError:
                return
            handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=inside)
            stack.callback(os.close, handle)
            for entry in stack.enter_context(os.scandir(handle)):
                with contextlib.suppress(FileNotFoundError):
                    yield entry.name, entry.stat(follow_symlinks=False)

    def permissions(self) -> int:
        """What the folder allows: what is made in it allows group and others no more."""
        return stat.S_IMODE(os.fstat(self._opened()).st_mode)

    def sync(self, folder: int, name: str = ".") -> None:
        """Make a file, or the names in a folder, survive a power cut: a name is data of the folder, not of the file.

        Where the file system cannot, that is said once: whole commits need no sync, only those that outlive a power
        cut do.
        """
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise
            if not self._warned:
                self._warned = True
                logger.warning(
                    f"The file system at {self.root} cannot sync ({error.strerror}): commits are whole, but the last "
                    "ones may be lost in a power cut."
                )
        finally:
            os.close(handle)

    def unexpected(self, place: Place, status: os.stat_result, expected: str = "file") -> DamagedFile:
        """The error for what is no file, or no folder, where one has to be."""
        kind = kind_of(status)
        hint = "gliolake makes none there; it is neither followed nor changed. Look who put it there, and take it away."
        what = f"{self.root / place.path} is a {kind}, where a {expected} has to be."
        if expected == "file":
            return DamagedFile(what, hint=hint)
        if kind == "symbolic link":
            hint += f" Links that you made on purpose are allowed by {LINKED_LAKE}."
        return Obstructed(what, hint=hint)

    def _opened(self, make: bool = False) -> int:
        """The root's handle, which stays open: what takes the folder's place meanwhile is not gone into."""
        with self._lock:
            if self._handle is None:
                if make:
                    self._make()
                try:
                    self._handle = os.open(self.root, WALK | (0 if self.linked else os.O_NOFOLLOW))
                except OSError as error:
                    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                        raise
                    raise self._no_folder() from error
                weakref.finalize(self, os.close, self._handle)
            return self._handle

    def _make(self) -> None:
        """Make the root, private to the user, and the folders above it as usual."""
        missing = [self.root]
        while not os.path.lexists(missing[-1]):
            missing.append(missing[-1].parent)
        for folder in reversed(missing[:-1]):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(0o700 if folder == self.root else 0o777)
            above = os.open(folder.parent, WALK)
            try:
                self.sync(above)
            finally:
                os.close(above)

    def _no_folder(self) -> NotALake:
        if self.root.is_symlink():
            return NotALake(
                f"{self.root} is a symbolic link to {self.root.readlink()}.",
                hint=f"Name the folder itself; or, if you made the link on purpose, allow it by {LINKED_LAKE}.",
            )
        return NotALake(f"{self.root} is a file, or lies below one: no folder.", hint="Give a new or empty folder.")

    def _enter(self, place: Place, make: bool, linked: bool | None) -> int:
        """The handle of a folder in a folder that is open."""
        follow = self.linked if linked is None else linked
        flags = WALK | (0 if follow else os.O_NOFOLLOW)
        try:
            try:
                return os.open(place.name, flags, dir_fd=place.folder)
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):  # a rival made it, and may not have synced it yet
                    os.mkdir(place.name, 0o700 | self.permissions() & 0o077, dir_fd=place.folder)
                self.sync(place.folder)
                return os.open(place.name, flags, dir_fd=place.folder)
        except OSError as error:
            status = place.status()
            if status is None or stat.S_ISDIR(status.st_mode):
                raise
            raise self.unexpected(place, status, "folder") from error


def kind_of(status: os.stat_result) -> FileKind:
    """What a file is."""
    return KINDS.get(stat.S_IFMT(status.st_mode), "device")


def rename(source: Place, target: Place) -> None:
    """Rename a file, in place of one that has the name."""
    os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)


def rename_if_free(source: Place, target: Place) -> None:
    """Rename a file to a name that is free, in one step.

    Raises:
        FileExistsError: it is not free.
        OSError: ENOSYS, EINVAL or ENOTSUP where the system or the file system has no such step.
    """
    if (call := _renameat2()) is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(source.folder, os.fsencode(source.name), target.folder, os.fsencode(target.name), RENAME_NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target.path)


@cache
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
