"""The only module that opens DuckDB. It locks the connection before DuckDB reads anything of a lake.

A locked DuckDB opens no file but the one that it was opened with and those of a file system of ours that it is given;
it loads no extension, sees no variable of Python, puts nothing into a temporary folder, and takes no other settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from types import MappingProxyType
from typing import TypeVar

import duckdb
from fsspec.spec import AbstractFileSystem

from gliolake.sql.statements import literal

Answer = TypeVar("Answer")

_CLOSED: Mapping[str, str] = MappingProxyType({
    "allow_community_extensions": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
})  # fmt: skip


def opened(
    path: str = ":memory:",
    files: AbstractFileSystem | None = None,
    *,
    read_only: bool = False,
    config: Mapping[str, str] = MappingProxyType({}),
) -> duckdb.DuckDBPyConnection:
    """A connection to a DuckDB that is locked.

    Args:
        path: the database's file; one without a file, in memory, if not given.
        files: the file system whose files statements may reach, by its protocol; none if not given.
        read_only: whether the database may only be read.
        config: further settings of DuckDB.
    """
    connection = duckdb.connect(path, read_only=read_only, config={**_CLOSED, **config})
    if files is not None:
        connection.register_filesystem(files)
        # DuckDB takes this before external access is off and after it has started, so not among the settings above.
        connection.execute(f"SET allowed_directories = [{literal(f'{files.protocol}://')}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def waited_for(connection: duckdb.DuckDBPyConnection, work: Callable[[], Answer]) -> Answer:
    """What the work, which asks this connection, returns. A signal interrupts it, wherever DuckDB is at it.

    Python handles signals in its main thread alone, which DuckDB would keep; and what a signal raises while DuckDB
    reads one of our files would become an error of DuckDB.
    """
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(work)
        try:
            return answer.result()
        finally:
            while not answer.done():
                connection.interrupt()
                wait([answer], timeout=0.05)
