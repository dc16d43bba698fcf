"""The lake's committed files as a file system for DuckDB: to be read, and nothing else."""

from __future__ import annotations

import io
from collections import OrderedDict
from datetime import UTC, datetime
from threading import Lock
from typing import Any, BinaryIO

from fsspec.spec import AbstractFileSystem

from lake import tables
from lake.older import as_today
from lake.state import DataFile, State
from lake.store import Lake

SCHEME = "lake://"

KEPT_BYTES = 256 * 2**20
"""Most that stays in memory of files that were read."""


class CommittedFiles(AbstractFileSystem):  # type: ignore[misc]
    """The committed files of one snapshot.

    A file is read whole and checked against its sha256. For one query DuckDB opens it several times, so the bytes last
    read stay in memory: checked once, and out of reach of whatever happens to the file then. A file of an older
    gliolake is shown as it would be written today, so that all files of a table have the columns of the first.
    """

    protocol = SCHEME.removesuffix("://")
    cachable = False

    def __init__(self, lake: Lake, state: State) -> None:
        super().__init__()
        self.lake = lake
        self.state = state
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._lock = Lock()

    def _committed(self, path: str) -> DataFile:
        try:
            return self.state.files[path.removeprefix(SCHEME).lstrip("/")]
        except KeyError:
            raise FileNotFoundError(path) from None

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        if mode != "rb":
            raise PermissionError("The lake is read-only for queries.")
        return io.BytesIO(self._content(self._committed(path)))

    def _content(self, file: DataFile) -> bytes:
        with self._lock:
            data = self._kept.pop(file.path, None)
        if data is None:
            # Not under the lock: DuckDB's threads read and check files side by side.
            data = as_today(tables.table(file.table), file, self.lake.content(file))
        with self._lock:
            self._kept[file.path], self._sizes[file.path] = data, len(data)
            while sum(map(len, self._kept.values())) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return data

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name and size, as fsspec wants them."""
        file = self._committed(path)
        if file.path not in self._sizes:
            self._content(file)
        return {"name": path, "size": self._sizes[file.path], "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Whether the path is a committed file."""
        return path.removeprefix(SCHEME).lstrip("/") in self.state.files

    def modified(self, path: str) -> datetime:
        """A constant: committed files never change."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: patterns are not offered, since only committed files may be read."""
        return [path] if self.exists(path) else []
