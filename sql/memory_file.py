"""A database file in memory: the rows of a catalog are never on disk, even if the process is killed."""

from __future__ import annotations

import io
import os
import tempfile
import weakref
from functools import cache
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractFileSystem

from gliolake.sql.connection import opened

NO_JOURNAL = {"checkpoint_threshold": "0b", "auto_checkpoint_skip_wal_threshold": "0"}
"""Settings of a DuckDB that writes each commit into its file at once. Beside a file in memory no other can lie."""


class MemoryFile:
    """An empty DuckDB database under ``path``, which is gone with this object.

    Whoever opens it keeps this object as long as the database is open: DuckDB knows databases of a process by their
    paths, and this path may be given again.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            handle = os.memfd_create("gliolake-catalog")
            weakref.finalize(self, os.close, handle)
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(_blank())
            self.path = f"/proc/self/fd/{handle}"
        else:  # a system without such files: a folder that nobody else may enter
            self._folder = tempfile.TemporaryDirectory(prefix="gliolake-catalog-")
            self.path = str(Path(self._folder.name, "catalog.duckdb"))


@cache
def _blank() -> bytes:
    """A database without tables: DuckDB opens no empty file."""
    files = _Blank()
    with opened(files=files) as writer:
        writer.execute("ATTACH 'blank://catalog' AS catalog")
        writer.execute("DETACH catalog")
    return files.file.getvalue()


class _Blank(AbstractFileSystem):  # type: ignore[misc]
    """A file system of a single file that is yet to be written."""

    protocol = "blank"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.file = _Unclosed()

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode == "rb":
            raise FileNotFoundError(path)
        return self.file

    def exists(self, path: str, **_: Any) -> bool:
        return False


class _Unclosed(io.BytesIO):
    def close(self) -> None:
        """Its bytes are still wanted."""
