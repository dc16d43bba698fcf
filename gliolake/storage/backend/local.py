"""A lake in a folder on a disk or a network share."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from gliolake.errors import DamagedFile, GliolakeError
from gliolake.storage.backend.files import Entry, links_allowed, too_large
from gliolake.storage.backend.folder_access import OpenFolder, Place, kind_of, rename, rename_if_free
from gliolake.storage.backend.local_errors import in_words, no_way_to_create, not_synced
from gliolake.storage.layout import TEMPORARY

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL}
"""What a file system without hard links answers to one (FAT, exFAT, most network shares of Windows, some of FUSE)."""

UNREADABLE = {errno.EIO, getattr(errno, "EBADMSG", errno.EIO), getattr(errno, "EUCLEAN", errno.EIO)}
"""What a disk answers that has lost a file."""

DEEPEST = 16
"""Folders within folders that a listing goes down to; a lake has no more than four."""


class LocalFiles:
    """A folder. Files are written under a temporary name, synced, and renamed; ``create`` links instead.

    Syncing takes longest: so files that are put together are first all written, since one's sync then writes most of
    the others out too. Rivals take names meanwhile: so ``create`` syncs once, however many names it tries.

    Args:
        root: the folder; it is made, private to the user, by the first write.
        linked: whether it, and folders in it, may be symbolic links that the user made on purpose. They are gone
            through then to read and to write, and still not to list, move or delete. GLIOLAKE_LINKED_LAKE where None.
    """

    def __init__(self, root: Path, linked: bool | None = None) -> None:
        self._folder = OpenFolder(root, links_allowed() if linked is None else linked)
        self.root = str(self._folder.root)

    def put(self, path: str, data: bytes) -> None:
        self.put_all({path: data})

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        with self._in_words(sum(map(len, contents.values()))), self._written(contents.values()) as temporaries:
            for temporary, (path, data) in zip(temporaries, contents.items(), strict=True):
                with self._folder.reach(path, make=True) as target:
                    self._replace(temporary, target, data)
            for path in {path.rpartition("/")[0]: path for path in sorted(contents)}.values():
                with self._folder.reach(path) as target:
                    self._folder.sync(target.folder)

    def create(self, paths: Iterable[str], data: bytes) -> str | None:
        with self._in_words(len(data)), self._written([data]) as (temporary,):
            for path in paths:
                with self._folder.reach(path, make=True) as target:
                    if self._is_given(temporary, target, data):
                        self._sync_name(target)
                        return path
        return None

    def get(self, path: str, most: int | None = None) -> bytes | None:
        with self._in_words(path), self._folder.reach_if_there(path) as place:
            handle = place and self._opened(place)
            if handle is None:
                return None
            with os.fdopen(handle, "rb") as file:
                size = os.fstat(handle).st_size
                if most is not None and size > most:
                    raise too_large(self.url(path), size, most)
                return file.read()

    def size(self, path: str) -> int | None:
        with self._in_words(path), self._folder.reach_if_there(path) as place:
            status = self._status_of_file(place)
            return status.st_size if status else None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """As promised above. It goes through no link, and no deeper than a lake can be."""
        now, ahead = time.time(), [prefix.strip("/")]
        while ahead:
            folder = ahead.pop()
            try:
                with self._in_words(folder):
                    for name, status in self._folder.names_in(folder):
                        path = f"{folder}/{name}" if folder else name
                        if stat.S_ISDIR(status.st_mode) and path.count("/") < DEEPEST:
                            ahead.append(path)
                        else:
                            yield Entry(path, status.st_size, now - status.st_mtime, kind_of(status))
            except PermissionError:
                yield Entry(folder, 0, 0.0, "folder")

    def names(self) -> Sequence[str]:
        with self._in_words(""):
            return [name for name, _ in self._folder.names_in("")]

    def delete(self, path: str) -> None:
        with self._in_words(0), self._folder.reach_if_there(path, linked=False) as place:
            if place and self._status_of_file(place):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(place.name, dir_fd=place.folder)

    def move(self, path: str, names: Iterable[str]) -> str | None:
        with self._in_words(0), self._folder.reach_if_there(path, linked=False) as place:
            if place is None or place.status() is None:
                return None
            # As in an object store, where a move is a copy: its age is the time since the move.
            os.utime(place.name, dir_fd=place.folder, follow_symlinks=False)
            for name in names:
                with (
                    self._folder.reach(name, make=True, linked=False) as target,
                    contextlib.suppress(FileExistsError),
                ):
                    self._move(place, target)
                    self._folder.sync(target.folder)
                    self._folder.sync(place.folder)
                    return name
        return None

    def url(self, path: str) -> str:
        return str(self._folder.root / path)

    def _opened(self, place: Place) -> int | None:
        """The handle of a file to read, or None. What is no file is not followed, and not waited for."""
        try:
            handle = os.open(place.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place.folder)
        except FileNotFoundError:
            return None
        except OSError:
            self._status_of_file(place)  # a link, a socket
            raise
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            os.close(handle)
            raise self._folder.unexpected(place, status)
        return handle

    def _status_of_file(self, place: Place | None) -> os.stat_result | None:
        """None where there is nothing. Raises DamagedFile where it is no file."""
        status = place.status() if place else None
        if place and status and not stat.S_ISREG(status.st_mode):
            raise self._folder.unexpected(place, status)
        return status

    @contextlib.contextmanager
    def _written(self, contents: Collection[bytes], beside: Place | None = None) -> Iterator[Sequence[Place]]:
        """A temporary file for each of the contents, safely on disk; gone afterwards whatever happened to it."""
        mark = f"{os.getpid()}-{uuid.uuid4().hex}"
        names = [f"{mark}-{number}" for number in range(len(contents))]
        with contextlib.ExitStack() as stack:
            if beside:
                temporaries = [beside._replace(name=f"{TEMPORARY}-{name}") for name in names]
            else:
                folder = stack.enter_context(self._folder.inside([TEMPORARY], make=True))
                temporaries = [Place(folder, name, f"{TEMPORARY}/{name}") for name in names]
            mode = self._folder.permissions() & 0o666
            for temporary, data in zip(temporaries, contents, strict=True):
                stack.callback(_remove, temporary)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with os.fdopen(os.open(temporary.name, flags, mode, dir_fd=temporary.folder), "wb") as file:
                    file.write(data)
            for temporary in temporaries:
                self._folder.sync(temporary.folder, temporary.name)
            yield temporaries

    def _replace(self, temporary: Place, target: Place, data: bytes) -> None:
        """Give the temporary file its name, in place of a file that has it. The answer may be lost here too."""
        self._status_of_file(target)
        try:
            self._from_near(rename, temporary, target, data)
        except OSError:
            if self.get(target.path) != data:
                raise

    def _is_given(self, temporary: Place, target: Place, data: bytes) -> bool:
        """Give the temporary file a name that is free; False where it is not.

        Where the answer is lost on the way (NFS asks again then, and is refused by its own link), or is an error though
        all was done, the file is there: it is known by its bytes, which are unlike all that others create.
        """
        try:
            self._from_near(self._claim, temporary, target, data)
        except OSError as error:
            if self.get(target.path) == data:
                return True
            if isinstance(error, FileExistsError):
                return False
            raise
        return True

    def _sync_name(self, target: Place) -> None:
        try:
            self._folder.sync(target.folder)
        except OSError as error:  # from here on the file is there, whatever happens
            raise not_synced(self.root, error) from error

    def _from_near(self, give: Callable[[Place, Place], None], temporary: Place, target: Place, data: bytes) -> None:
        """Have a temporary file given its name; from beside it where ``_tmp`` lies on another file system."""
        try:
            give(temporary, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with self._written([data], beside=target) as (near,):
                give(near, target)

    def _claim(self, source: Place, target: Place) -> None:
        """Give a file a name that is free, in one step. Raises FileExistsError where it is not."""
        folders = {"src_dir_fd": source.folder, "dst_dir_fd": target.folder}
        try:
            os.link(source.name, target.name, **folders, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            try:
                rename_if_free(source, target)
            except OSError as other:
                if other.errno in NO_LINKS - {errno.EXDEV, errno.EPERM}:
                    raise no_way_to_create(self.root, error) from other
                raise

    def _move(self, place: Place, target: Place) -> None:
        """Give what lies there another name, which is free. Raises FileExistsError where it is not."""
        try:
            rename_if_free(place, target)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if target.status():
                raise FileExistsError(target.path) from error
            if error.errno != errno.EXDEV:
                rename(place, target)
            elif (data := self.get(place.path)) is not None:  # a part of the lake is a disk of its own
                self.create([target.path], data)
                self.delete(place.path)

    @contextlib.contextmanager
    def _in_words(self, asked: str | int) -> Iterator[None]:
        """The system's errors in gliolake's words; ``asked``: the path that is read, or the bytes that are written.

        Who may not read gets a PermissionError, which callers tell from damage.
        """
        try:
            yield
        except GliolakeError:
            raise
        except PermissionError as error:
            if isinstance(asked, str):
                raise PermissionError(error.errno, error.strerror, self.url(asked)) from error
            raise in_words(error, self.root, asked) from error
        except OSError as error:
            if isinstance(asked, str) and error.errno in UNREADABLE:  # others may be whole
                raise DamagedFile(f"{self.url(asked)} cannot be read: {error.strerror}.") from error
            raise in_words(error, self.root, asked if isinstance(asked, int) else 0) from error


def _remove(place: Place) -> None:
    with contextlib.suppress(OSError):
        os.unlink(place.name, dir_fd=place.folder)
