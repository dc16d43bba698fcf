"""A lake: tables of Parquet files that change only by atomic commits.

Data files are named by the sha256 of their bytes and never change. A commit is one record in the log
(``gliolake.storage.commit_log``) that names the files it adds and removes, in any number of tables. A transaction is
built on a snapshot, and built
again when another process has meanwhile changed a partition that it read: two ingests at once both land, in some order.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from gliolake.errors import (
    CommitConflict,
    DamagedFile,
    GliolakeError,
    InputError,
    NotALake,
    StagedFileGone,
    StaleSnapshot,
    TooLarge,
)
from gliolake.paths import check_text
from gliolake.schema.registry import table_named
from gliolake.schema.types import Table
from gliolake.storage import commit_log as log
from gliolake.storage.backend import open_files
from gliolake.storage.layout import TEMPORARY, data_path, kind
from gliolake.storage.maintenance.quarantine import bring_back, held_back, is_there
from gliolake.storage.parquet import rows_of, write_parquet
from gliolake.storage.rows import Key, Rows, conform, in_key_order, in_schema, keys_of, matches, split
from gliolake.storage.snapshot import DataFile, Record, State
from gliolake.storage.transaction import Transaction

PATIENCE = 120.0
"""Seconds for which a transaction is built again before it gives up."""

AT_ONCE = 8
"""Files of a commit that are looked for side by side."""

PENDING_BYTES = 64 * 2**20
"""Most that waits in memory: the files of a transaction are put together, when it is built."""


class Lake:
    """The lake at ``root``: a folder, or ``s3://bucket/prefix``.

    Args:
        root: where the lake lies.
        create: begin a new lake where there is none; otherwise that is an error.
        linked: whether the folder, and folders in it, may be symbolic links; GLIOLAKE_LINKED_LAKE where None.

    Raises:
        NotALake: there is no lake at ``root`` and ``create`` is off, or something else lies there, or it is a link.
        NewerLake, OlderLake: another version of gliolake wrote it.
    """

    def __init__(self, root: str | Path, create: bool = False, *, linked: bool | None = None) -> None:
        self.files = open_files(root, linked)
        check_text(self.files.root)
        self.root = self.files.root
        self._keys: dict[str, frozenset[Key]] = {}
        self._pending: dict[str, bytes] = {}
        self._written: set[str] = set()
        self._marked = False
        self.before_change: Callable[[], None] | None = None
        """Called once, when this lake is about to commit for the first time."""
        self._state, _ = log.latest_state(self.files)
        if self._state.version == 0:
            self._check_new(create)

    def _check_new(self, create: bool) -> None:
        if not create:
            raise NotALake(
                f"There is no lake at {self.root}.",
                hint="`gliolake ingest --lake DIR …` begins one; check --lake or GLIOLAKE_LAKE.",
            )
        self._check_free()

    def _check_free(self) -> None:
        """A new lake begins in an empty folder, or where another command began one: that is known by its marker."""
        foreign = [name for name in self.files.names() if not self._is_left_over(name)]
        if foreign and not log.is_marked(self.files):  # asked last: a rival may be beginning this lake
            raise NotALake(
                f"{self.root} holds no lake but other things, e.g. {min(foreign)}.",
                hint="Give a new or empty folder for the lake.",
            )

    def _is_left_over(self, name: str) -> bool:
        """Whether it is of a command that was broken off before it wrote the marker."""
        return name == TEMPORARY and all(kind(entry.path) == "temporary" for entry in self.files.list(TEMPORARY))

    def _begin(self) -> None:
        """Mark a new lake, before anything else is written into it."""
        if self._state.version == 0 and not self._marked:
            self._check_free()
            log.mark(self.files)
            self._marked = True

    @property
    def version(self) -> int:
        """Number of the newest commit; 0 for a lake with none."""
        return self.state().version

    def state(self) -> State:
        """The newest state. Costs one look for each commit made since the last call."""
        self._state, _ = log.latest_state(self.files, self._state)
        return self._state

    def read(self, name: str, where: Mapping[str, Any] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The committed rows of a table.

        Args:
            name: the table.
            where: columns and the values they must equal; partition columns spare the other files.
            columns: columns to return; all where None.

        Returns:
            Rows in the table's schema, in the order of its files; no order is promised across commits.

        Raises:
            InputError: no such table or column.
            DamagedFile: a committed file is missing or holds other bytes.
        """
        while True:
            state = self.state()
            try:
                return self.read_files(table_named(name), state.of_table(name, where), where, columns)
            except StaleSnapshot:
                if self.state().version == state.version:
                    raise

    def stage(self, name: str, rows: Rows, *, run_id: str) -> list[DataFile]:
        """Write rows into data files that no reader sees until a transaction adds them. One file per partition.

        Raises:
            InputError: the rows do not fit the table.
            StorageFull: no space is left.
        """
        table = table_named(name)
        files = [self.write(table, partition, part) for partition, part in split(table, conform(table, rows, run_id))]
        self._put(file.path for file in files)
        return files

    def transact(self, build: Callable[[Transaction], None], *, run_id: str) -> Record | None:
        """Build a transaction and commit it; None where it changes nothing.

        Args:
            build: fills the transaction; called again, on a fresh snapshot, when another commit got in the way.
            run_id: recorded with the commit and in every new row.

        Raises:
            CommitConflict: others kept getting in the way for ``PATIENCE`` seconds.
            StagedFileGone: a file that was staged for it is no longer there.
        """
        deadline = time.monotonic() + PATIENCE
        self._pending.clear()
        self._written.clear()
        while time.monotonic() < deadline:
            transaction = Transaction(self, self.state(), run_id)
            try:
                build(transaction)
            except StaleSnapshot:
                if self.version == transaction.snapshot.version:
                    raise
                continue
            if not transaction.changes():
                return None
            if self.before_change:
                look, self.before_change = self.before_change, None
                look()
            if record := self._commit(transaction):
                return record
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - spreads rivals out, nothing more
        raise CommitConflict(
            f"Other processes kept changing the same part of the lake at {self.root} for {PATIENCE:.0f} s.",
            hint="Nothing of this commit was lost or half done. Run the command again when fewer others write.",
        )

    def _commit(self, transaction: Transaction) -> Record | None:
        """Take the next free number, stepping over commits that leave alone what the transaction read."""
        state = transaction.snapshot

        def later_numbers() -> Iterator[int]:
            nonlocal state
            while True:
                state, rivals = log.latest_state(self.files, state)
                if any(transaction.rests_on(file) for rival in rivals for file in rival.touches()):
                    return
                yield state.version + 1

        added, removed = transaction.changed_files()
        staged = [file for file in added if file.path not in self._written | self._pending.keys()]
        self._put(file.path for file in added)
        self._make_sure_of(staged)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        wanted = Record(state.version + 1, transaction.run_id, now, added, removed)
        record = log.write_record(self.files, wanted, later_numbers())
        if record:
            # A repair may have moved them before the record was there (``gliolake.storage.maintenance.repair``).
            self._make_sure_of(added)
            self._state = state.after([record])
            if log.checkpoint_due(self._state):
                log.write_checkpoint(self.files, self._state)
        return record

    def _make_sure_of(self, added: Sequence[DataFile]) -> None:
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
            self._put([*self._pending])
        return DataFile(table.name, path, dict(partition), rows.num_rows, len(data), digest, keys[0], keys[-1])

    def _put(self, paths: Iterable[str]) -> None:
        """Put where they belong, all at once, those of these files that wait to be."""
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

    def _missing(self, file: DataFile) -> GliolakeError:
        state, _ = log.latest_state(self.files, self._state)
        if file.path in state.files:
            return self._damaged(file, "is missing")
        return StaleSnapshot(
            f"A file of table {file.table} that was read is no longer in the lake at {self.root}: its rows were merged "
            "or replaced by later commits.",
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
