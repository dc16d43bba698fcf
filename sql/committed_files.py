"""A read-only file system for DuckDB with the lake's committed files."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from datetime import UTC, datetime
from threading import Lock
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractFileSystem

from gliolake.schema.registry import TABLES
from gliolake.schema.types import Table
from gliolake.sql.memory_file import MemoryFile
from gliolake.storage.lake import Lake
from gliolake.storage.parquet import check_file
from gliolake.storage.snapshot import Snapshot

SCHEME = "lake://"

KEPT_BYTES = 256 * 2**20
"""Most that stays in memory of files that were read."""


DATA_FILES = "data_files.json"
"""What the log says of all files, as a file itself."""

_FACTS = ("table", "path", "partition", "rows", "bytes")
_NO_ROWS = "none.parquet"


class CommittedFiles(AbstractFileSystem):  # type: ignore[misc]
    """The committed files of one snapshot; beside them what the log says of them, and for a table without rows a file.

    A file is read whole and checked against its sha256. For one query DuckDB opens it several times, so the bytes last
    read stay in memory: checked once, and out of reach of whatever happens to the file then.
    """

    protocol = SCHEME.removesuffix("://")
    cachable = False

    def __init__(self, lake: Lake, state: Snapshot) -> None:
        super().__init__()
        self.catalog = MemoryFile()
        """The database whose statements read these files: DuckDB holds this object as long as it is open."""
        self.lake = lake
        self.state = state
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._lock = Lock()

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        if mode != "rb":
            raise PermissionError("The lake is read-only for queries.")
        return io.BytesIO(self._content(_name(path)))

    def _content(self, name: str) -> bytes:
        with self._lock:
            data = self._kept.pop(name, None)
        if data is None:
            data = self._made(name)  # not under the lock: DuckDB's threads read and check files side by side
        with self._lock:
            self._kept[name], self._sizes[name] = data, len(data)
            while sum(map(len, self._kept.values())) > KEPT_BYTES:
                self._kept.popitem(last=False)
        return data

    def _made(self, name: str) -> bytes:
        if file := self.state.files.get(name):
            data = self.lake.data.content(file)
            check_file(TABLES[file.table], file, data)  # DuckDB reads what it is given, and allocates what it says
            return data
        if name == DATA_FILES:
            files = (file for table in TABLES for file in self.state.of_table(table))
            return json.dumps([{fact: getattr(file, fact) for fact in _FACTS} for file in files]).encode()
        table = name.split("/", 1)[0]
        if table in TABLES and name == _without_rows(TABLES[table]):
            return _empty(TABLES[table])
        raise FileNotFoundError(name)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name and size, as fsspec wants them."""
        name = _name(path)
        if name not in self._sizes:
            self._content(name)
        return {"name": path, "size": self._sizes[name], "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Whether the path is a committed file."""
        return _name(path) in self.state.files

    def modified(self, path: str) -> datetime:
        """A constant: committed files never change."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def glob(self, path: str, **_: Any) -> list[str]:
        """For ``TABLE/*`` the committed files of the table, for another path itself: there are no other patterns."""
        name = _name(path)
        table = TABLES.get(name.removesuffix("/*"))
        if table and name.endswith("/*"):
            return [file.path for file in self.state.of_table(table.name)] or [_without_rows(table)]
        return [name] if name == DATA_FILES or self.exists(name) else []


def _name(path: str) -> str:
    return path.removeprefix(SCHEME).lstrip("/")


def _without_rows(table: Table) -> str:
    return "/".join([table.name, *(f"{column}=" for column in table.partition_by), _NO_ROWS])


def _empty(table: Table) -> bytes:
    sink = pa.BufferOutputStream()
    # Not empty_table(), which imports pandas: a third of a second, and much of what `gliolake status` takes.
    pq.write_table(pa.Table.from_batches([], table.file_schema), sink)
    return bytes(sink.getvalue())
