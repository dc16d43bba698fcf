"""The protocol of a lake's files: ten operations, on a folder or on a prefix in an object store.

Both keep two promises on which the commit protocol rests: a reader sees a whole file or none, and of several
processes that ``create`` the same name exactly one succeeds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from gliolake.errors import InputError, TooLarge

LINKED_LAKE = "--linked-lake (GLIOLAKE_LINKED_LAKE=1)"
"""How a user says that links in the path of a lake were made on purpose."""

FileKind: TypeAlias = Literal["file", "folder", "symbolic link", "pipe", "socket", "device"]


@dataclass(frozen=True)
class Entry:
    """What a listing shows: path relative to the root, size in bytes, age in seconds.

    kind: gliolake makes files only. A listing does not go through a symbolic link, wherever it leads; a folder is
    shown if it may not be read, or lies deeper than any of a lake.
    """

    path: str
    size: int
    age: float
    kind: FileKind = "file"


class Files(Protocol):
    """The ten verbs. Paths are relative to the root, with forward slashes.

    All raise StorageUnreachable, StorageFull, ReadOnlyLake or UnsuitedStorage where the storage fails, PermissionError
    where a file may not be read, and DamagedFile where something lies on the path that gliolake does not make: a link,
    a pipe, a file instead of a folder.
    """

    root: str

    def put(self, path: str, data: bytes) -> None:
        """Write the file whole, replacing what was there."""

    def put_all(self, contents: Mapping[str, bytes]) -> None:
        """As ``put``, of several files by their paths, which takes hardly longer than of one."""

    def create(self, paths: Iterable[str], data: bytes) -> str | None:
        """Write the file whole under the first of these names that is free, and say which.

        The next name is asked for when the one before it turns out to be taken; None where there are no more.
        ``data`` has to be unlike all that others create: where an answer is lost, one knows one's own file by it.
        """

    def get(self, path: str, most: int | None = None) -> bytes | None:
        """The file's bytes, or None where there is no such file. Raises TooLarge where there are more than ``most``."""

    def size(self, path: str) -> int | None:
        """The file's bytes counted, or None where there is no such file."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All files below the folder ``prefix``, temporary ones included, and what else lies there."""

    def names(self) -> Sequence[str]:
        """What lies directly below the root, files and folders; of very many the first."""

    def delete(self, path: str) -> None:
        """Remove the file; no error where there is none."""

    def move(self, path: str, names: Iterable[str]) -> str | None:
        """Give the file the first of these names that is free, and say which; None where there is no such file.

        What is no file gets it too, and a link is moved and not what it leads to. Its age begins anew.
        """

    def url(self, path: str) -> str:
        """A name by which other programs can open the file."""


def parts_of(path: str) -> list[str]:
    """The names of which a path consists.

    Raises:
        InputError: it could lead out of a lake, or is no path.
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise InputError(f"{path!r} is no path of a file in a lake.", hint="It has to be relative, without '..'.")
    return parts


def too_large(url: str, size: int, most: int) -> TooLarge:
    """The error for a file that has more bytes than it may have."""
    return TooLarge(f"{url} has {size:,} bytes, where {most:,} are expected at most.")


def links_allowed() -> bool:
    """Whether the environment says that links in the path of a lake were made on purpose."""
    return os.environ.get("GLIOLAKE_LINKED_LAKE", "").lower() in ("1", "true", "yes", "on")


def without_secrets(url: str) -> str:
    """An address as it may be shown: without a user and a password, and what stands behind a question mark."""
    scheme, _, rest = url.partition(":")
    rest = re.split("[?#]", rest)[0].lstrip("/")
    return f"{scheme}://{'…@' if '@' in rest else ''}{rest.rpartition('@')[2]}"
