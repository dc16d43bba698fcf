"""The data files of a lake: written once, read with their digest checked, never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pyarrow as pa

from gliolake.errors import DamagedFile, GliolakeError, InputError, NotALake, StagedFileGone, StaleSnapshot, TooLarge
from gliolake.schema.registry import table_named
from gliolake.schema.types import Table
from gliolake.storage import commit_log as log
from gliolake.storage.backend.files import Files
from gliolake.storage.layout import TEMPORARY, data_path, kind
from gliolake.storage.parquet import rows_of, write_parquet
from gliolake.storage.quarantine import bring_back, held_back, is_there
from gliolake.storage.rows import Key, in_key_order, in_schema, keys_of, matches
from gliolake.storage.snapshot import DataFile

AT_ONCE = 8
"""Files of a commit that are looked for side by side."""

PENDING_BYTES = 64 * 2**20
"""Most that waits in memory: the files of a transaction are put together, when it is built."""


class DataFiles:
    """Reads and writes the data files of one lake.

    Args:
        files: where the lake lies.
        new: whether the lake has no commit yet: the first file to be written marks it.
    """

    def __init__(self, files: Files, *, new: bool) -> None:
        self.files, self._new = files, new
        self._keys: dict[str, frozenset[Key]] = {}
        self._pending: dict[str, bytes] = {}
        self._written: set[str] = set()

    def check_free(self) -> None:
        """A new lake begins in an empty folder, or where another command began one: that is known by its marker.

        Raises:
            NotALake: something else lies there.
        """
        foreign = [name for name in self.files.names() if not self._is_left_over(name)]
        if foreign and not log.is_marked(self.files):  # asked last: a rival may be beginning this lake
            raise NotALake(
                f"{self.files.root} holds no lake but other things, e.g. {min(foreign)}.",
                hint="Give a new or empty folder for the lake.",
            )

    def _is_left_over(self, name: str) -> bool:
        """Whether it is of a command that was broken off before it wrote the marker."""
        return name == TEMPORARY and all(kind(entry.path) == "temporary" for entry in self.files.list(TEMPORARY))

    def _begin(self) -> None:
        """Mark a new lake, before anything else is written into it."""
        if self._new:
            self.check_free()
            log.mark(self.files)
            self._new = False

    def write(self, table: Table, partition: Mapping[str, str], rows: pa.Table) -> DataFile:
        """A data file of the rows of one partition, in the order of their keys. It waits in memory to be put."""
        keys, rows = in_key_order(table, rows)
        rows = in_schema(rows.select(table.file_schema.names), table.file_schema)
        data = write_parquet(rows)
        digest = hashlib.sha256(data).hexdigest()
        path = data_path(table, partition, digest)
        if path not in self._written:  # a transaction that is built again has the same files
            self._pending[path] = data
        if sum(map(len, self._pending.values())) > PENDING_BYTES:
            self.put([*self._pending])
        return DataFile(table.name, path, dict(partition), rows.num_rows, len(data), digest, keys[0], keys[-1])

    def put(self, paths: Iterable[str]) -> None:
        """Upload all staged files among these paths."""
        self._begin()
        contents = {path: self._pending.pop(path) for path in paths if path in self._pending}
        self.files.put_all(contents)
        self._written |= contents.keys()

    def read_files(
        self,
        table: Table,
        files: Iterable[DataFile],
        where: Mapping[str, Any] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """As ``read``, from the given files of the table: those that lie in the part which ``where`` names."""
        for column in (*(where or ()), *(columns or ())):
            if column not in table.schema.names:
                raise InputError(f"Table {table.name} has no column {column!r}.", hint=f"It has {table.schema.names}.")
        # What files are parted by need not be compared: it is the same in all their rows.
        where = {column: value for column, value in (where or {}).items() if column not in table.partition_by}
        wanted = [c for c in table.schema.names if columns is None or c in columns or c in where]
        parts = [self.load(file, wanted) for file in files]
        schema = pa.schema([table.schema.field(column) for column in wanted])
        rows = pa.concat_tables([schema.empty_table(), *parts])
        if where:
            rows = rows.filter(matches(rows, where))
        return rows.select(list(columns)) if columns is not None else rows

    def content(self, file: DataFile) -> bytes:
        """The bytes of a data file, which are those that were committed.

        Raises:
            DamagedFile: the file is missing, or its bytes are others.
            StaleSnapshot: the file is missing, and the newest commit no longer has it.
        """
        try:
            data = self._pending.get(file.path) or self.files.get(file.path, file.bytes)
            if data is None:  # a repair may just be moving it
                data = next((there for _, there in held_back(self.files, file)), None)
                data = data or self.files.get(file.path, file.bytes)
        except TooLarge as error:
            raise self._damaged(file, f"has more than the {file.bytes:,} bytes committed") from error
        if data is None:
            raise self._missing(file)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise self._damaged(file, "does not hold the bytes committed")
        return data

    def load(self, file: DataFile, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of one data file, with its partition columns, in the table's schema.

        Raises:
            DamagedFile: the file is missing, its bytes are not those committed, or they are no rows of the table.
        """
        table = table_named(file.table)
        return rows_of(table, file, self.content(file), table.schema.names if columns is None else list(columns))

    def is_new(self, file: DataFile) -> bool:
        """Whether the transaction at hand wrote the file, or is about to."""
        return file.path in self._written or file.path in self._pending

    def forget(self) -> None:
        """A transaction begins: what an earlier one wrote is not its own."""
        self._pending.clear()
        self._written.clear()

    def make_sure_of(self, added: Sequence[DataFile]) -> None:
        """Look whether files lie where a record names them, and take back what a repair has moved into quarantine.

        Raises:
            StagedFileGone: a file is not there either.
        """
        with ThreadPoolExecutor(AT_ONCE) as pool:
            there = [*pool.map(partial(is_there, self.files), added)]
        for file, lies_there in zip(added, there, strict=True):
            if not lies_there and not bring_back(self.files, file):
                raise StagedFileGone(
                    f"A file that was written for this commit is no longer there: {self.files.url(file.path)}.",
                    hint="Run the same command again: it goes on from what was committed.",
                )

    def _missing(self, file: DataFile) -> GliolakeError:
        state, _ = log.latest_snapshot(self.files)
        if file.path in state.files:
            return self._damaged(file, "is missing")
        return StaleSnapshot(
            f"A file of table {file.table} that was read is no longer in the lake at {self.files.root}: its rows were "
            "merged or replaced by later commits.",
            hint="Ask again: the newest rows are there. An open connection shows the lake as of when it was opened.",
        )

    def _damaged(self, file: DataFile, what: str) -> DamagedFile:
        return DamagedFile(
            f"A committed file of table {file.table} {what}: {self.files.url(file.path)} ({file.rows} rows).",
            hint="`gliolake verify` lists all damage; with --repair it takes damaged files out, to be computed again.",
        )

    def keys(self, file: DataFile) -> frozenset[Key]:
        """Primary keys of the rows of a data file. Files never change, so each is read once."""
        if file.path not in self._keys:
            table = table_named(file.table)
            self._keys[file.path] = frozenset(keys_of(table, self.load(file, table.key)))
        return self._keys[file.path]
