"""Where a lake's bytes lie: a folder on a disk, or a prefix in an object store, behind seven verbs.

Both keep two promises on which the commit protocol rests: a reader sees a whole file or none, and of several
processes that ``create`` the same name exactly one succeeds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlparse

from lake import limits
from lake.errors import DamagedFile, InputError, ReadOnlyLake, StorageFull, StorageUnreachable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Answer = TypeVar("Answer")

TEMPORARY = "_tmp"
"""Folder of half-written files; the leading underscore keeps it out of every reader's pattern."""

ATTEMPTS = 6
"""Times that an object store is asked for the same thing, beside those that its client asks again by itself."""

AT_ONCE = 8
"""Files that are put into an object store side by side."""

PATIENCE = 180.0
"""Seconds after which an object store is not asked again: the client has then been at it for as long."""


@dataclass(frozen=True)
class Entry:
    """A file as a listing shows it: path relative to the root, size in bytes, age in seconds.

    leads_nowhere: it is a link to what is not there, or round in a circle.
    """

    path: str
    size: int
    age: float
    leads_nowhere: bool = False


class Files(Protocol):
    """The seven verbs. Paths are relative to the root, with forward slashes."""

    root: str

    def put(self, path: str, data: bytes) -> None:
        """Write the file whole, replacing what was there. Raises StorageFull."""

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        """As ``put``, of several files by their paths, which takes hardly longer than of one. Raises StorageFull."""

    def create(self, paths: Iterable[str], data: bytes) -> str | None:
        """Write the file whole under the first of these names that is free, and say which. Raises StorageFull.

        The next name is asked for when the one before it turns out to be taken; None where there are no more.
        ``data`` has to be unlike all that others create: where an answer is lost, one knows one's own file by it.
        """

    def get(self, path: str) -> bytes | None:
        """The file's bytes, or None where there is no such file. Raises DamagedFile: a link that leads nowhere."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All files below the folder ``prefix``, temporary ones included."""

    def delete(self, path: str) -> None:
        """Remove the file; no error where there is none."""

    def url(self, path: str) -> str:
        """A name by which other programs can open the file."""


class LocalFiles:
    """A folder. Files are written under a temporary name, synced, and renamed; ``create`` links instead.

    Syncing takes longest: so files that are put together are first all written, since one's sync then writes most of
    the others out too. Rivals take names meanwhile: so ``create`` syncs once, however many names it tries.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root.absolute()
        self.root = str(self.folder)

    def put(self, path: str, data: bytes) -> None:
        self.put_all({path: data})

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        targets = [self.folder / path for path in contents]
        with self._written(contents.values()) as temporaries:
            for temporary, target in zip(temporaries, targets, strict=True):
                _in_folder(target, partial(temporary.replace, target))
        for folder in sorted({target.parent for target in targets}):
            _sync(folder)

    def create(self, paths: Iterable[str], data: bytes) -> str | None:
        with self._written([data]) as (temporary,):
            path = next((path for path in paths if self._linked(temporary, self.folder / path)), None)
        if path is not None:
            _sync((self.folder / path).parent)  # outside: from here on the file is there, whatever happens
        return path

    def get(self, path: str) -> bytes | None:
        try:
            with limits.open_regular(self.folder / path) as file:
                return file.read()
        except FileNotFoundError as error:
            if (self.folder / path).is_symlink():  # it holds the name, so that nothing can be created there
                raise DamagedFile(f"{self.url(path)} is a link that leads nowhere.") from error
            return None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """As promised above. Links to folders are not followed."""
        now = time.time()
        for folder, _, names in os.walk(self.folder / prefix):
            for name in names:
                file = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    try:
                        status, leads_nowhere = file.stat(), False
                    except OSError:
                        status, leads_nowhere = file.lstat(), True
                    path = file.relative_to(self.folder).as_posix()
                    yield Entry(path, status.st_size, now - status.st_mtime, leads_nowhere)

    def delete(self, path: str) -> None:
        (self.folder / path).unlink(missing_ok=True)

    def url(self, path: str) -> str:
        return str(self.folder / path)

    def _linked(self, source: Path, target: Path) -> bool:
        try:
            _in_folder(target, lambda: os.link(source, target))
        except FileExistsError:
            return False
        return True

    @contextlib.contextmanager
    def _written(self, contents: Collection[bytes]) -> Iterator[Sequence[Path]]:
        """A temporary file for each of the contents, safely on disk; gone afterwards whatever happened to it."""
        mark = f"{os.getpid()}-{uuid.uuid4().hex}"
        temporaries = [self.folder / TEMPORARY / f"{mark}-{number}" for number in range(len(contents))]
        try:
            for temporary, data in zip(temporaries, contents, strict=True):
                _write(temporary, data)
            for temporary in temporaries:
                _sync(temporary)
            yield temporaries
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull(
                    f"No space is left for the lake at {self.root}: "
                    f"{sum(map(len, contents)):,} bytes could not be written.",
                    hint="Nothing was committed. Free some space and run the same command again; it goes on from here.",
                ) from error
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise ReadOnlyLake(
                    f"The lake at {self.root} cannot be written to: {error.strerror}.",
                    hint="Nothing was committed. Reading works; to write, mount it writable or be given the right to.",
                ) from error
            raise
        finally:
            for temporary in temporaries:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)


def _in_folder(path: Path, make: Callable[[], Answer]) -> Answer:
    """Make a file; its folder first, where there is none yet."""
    try:
        return make()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return make()


def _write(path: Path, data: bytes) -> None:
    with _in_folder(path, lambda: path.open("xb")) as file:
        file.write(data)


def _sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut: a name is data of the folder, not of the file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class ObjectFiles:
    """A prefix in an object store. One PUT is atomic; ``create`` is a PUT that the store refuses if the name exists.

    The client tries a failed request again by itself, except where it cannot know how far the request came: an answer
    that broke off, a connection that was lost. Every verb here can be asked twice, so those are tried again too.
    """

    def __init__(self, root: str, store: ObjectStore) -> None:
        self.root = root.rstrip("/")
        self.store = store

    def put(self, path: str, data: bytes) -> None:
        self._insist(lambda: self.store.put(path, data))

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self.put, contents, contents.values()):
                pass

    def create(self, paths: Iterable[str], data: bytes) -> str | None:
        return next((path for path in paths if self._created(path, data)), None)

    def _created(self, path: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        try:
            self._insist(lambda: self.store.put(path, data, mode="create"))
        except AlreadyExistsError:
            return self.get(path) == data  # asked again after a lost answer, one is refused by one's own file
        return True

    def get(self, path: str) -> bytes | None:
        try:
            return self._insist(lambda: bytes(self.store.get(path).bytes()))
        except FileNotFoundError:
            return None

    def list(self, prefix: str = "") -> Iterator[Entry]:
        now = time.time()
        for batch in self._insist(lambda: [*self.store.list(prefix or None)]):
            for item in batch:
                yield Entry(item["path"], item["size"], now - item["last_modified"].timestamp())

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._insist(lambda: self.store.delete(path))

    def url(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError

        deadline = time.monotonic() + PATIENCE
        for attempt in range(ATTEMPTS):
            try:
                return ask()
            except (PermissionDeniedError, UnauthenticatedError) as error:
                raise self._unreachable(error, "Check the credentials, and what they allow there.") from error
            except GenericError as error:
                if attempt == ATTEMPTS - 1 or time.monotonic() > deadline:
                    raise self._unreachable(error, "Check AWS_ENDPOINT_URL and the network.") from error
                time.sleep(random.uniform(0.05, 0.1) * 2**attempt)  # noqa: S311 - spreads rivals out, nothing more
        raise AssertionError("the last attempt returns or raises")

    def _unreachable(self, error: Exception, advice: str) -> StorageUnreachable:
        what = str(error).splitlines()[0]
        return StorageUnreachable(
            f"The object store did not do its part for the lake at {self.root}: {what}.",
            hint=f"{advice} No commit is half made. Run the same command again; it goes on from what was committed.",
        )


def open_files(root: str | Path) -> Files:
    """The files below ``root``: a folder, or ``s3://bucket/prefix``.

    Credentials, region and endpoint of an object store come from the usual AWS variables (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL); a plain-http endpoint has to be allowed by
    AWS_ALLOW_HTTP=true.

    Raises:
        InputError: the root is of a kind that gliolake does not know.
    """
    scheme = urlparse(str(root)).scheme
    if scheme == "s3":
        from obstore.store import from_url

        return ObjectFiles(str(root), from_url(str(root)))
    if scheme in ("", "file") or len(scheme) == 1:  # a single letter is a Windows drive
        return LocalFiles(Path(str(root).removeprefix("file://")).expanduser())
    raise InputError(
        f"A lake cannot be kept at {str(root)!r}: gliolake does not know {scheme}://.",
        hint="Give a folder, or s3://bucket/prefix.",
    )
