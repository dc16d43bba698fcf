"""A lake: tables of Parquet files that change only by atomic commits.

Data files are named by the sha256 of their bytes and never change. A commit is one record in the log
(``gliolake.storage.commit_log``) that names the files it adds and removes, in any number of tables. A transaction is
built on a snapshot, and built again if another process has changed a partition that it read: of two concurrent ingests
both are committed, in some order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from gliolake.errors import (
    CommitConflict,
    NotALake,
    StaleSnapshot,
)
from gliolake.paths import check_text
from gliolake.schema.registry import table_named
from gliolake.storage import commit_log as log
from gliolake.storage.backend.opening import open_files
from gliolake.storage.data_files import DataFiles
from gliolake.storage.rows import Rows, conform, split
from gliolake.storage.snapshot import Commit, DataFile, Snapshot
from gliolake.storage.transaction import Transaction

PATIENCE = 120.0
"""Seconds for which a transaction is built again before it gives up."""


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
        self.on_first_commit: Callable[[], None] | None = None
        """Called once, when this lake is about to commit for the first time."""
        self._snapshot, _ = log.latest_snapshot(self.files)
        self.data = DataFiles(self.files, new=self._snapshot.version == 0)
        if self._snapshot.version == 0:
            self._check_new(create)

    def _check_new(self, create: bool) -> None:
        if not create:
            raise NotALake(
                f"There is no lake at {self.root}.",
                hint="`gliolake ingest --lake DIR …` begins one; check --lake or GLIOLAKE_LAKE.",
            )
        self.data.check_free()

    @property
    def version(self) -> int:
        """Number of the newest commit; 0 for a lake with none."""
        return self.state().version

    def state(self) -> Snapshot:
        """The newest state. Costs one look for each commit made since the last call."""
        self._snapshot, _ = log.latest_snapshot(self.files, self._snapshot)
        return self._snapshot

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
                return self.data.read_files(table_named(name), state.of_table(name, where), where, columns)
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
        parts = split(table, conform(table, rows, run_id))
        files = [self.data.write(table, partition, part) for partition, part in parts]
        self.data.put(file.path for file in files)
        return files

    def transact(self, build: Callable[[Transaction], None], *, run_id: str) -> Commit | None:
        """Build a transaction and commit it; None where it changes nothing.

        Args:
            build: fills the transaction; called again, on a fresh snapshot, when another commit got in the way.
            run_id: recorded with the commit and in every new row.

        Raises:
            CommitConflict: others kept getting in the way for ``PATIENCE`` seconds.
            StagedFileGone: a file that was staged for it is no longer there.
        """
        deadline = time.monotonic() + PATIENCE
        self.data.forget()
        while time.monotonic() < deadline:
            transaction = Transaction(self.data, self.state(), run_id)
            try:
                build(transaction)
            except StaleSnapshot:
                if self.version == transaction.snapshot.version:
                    raise
                continue
            if not transaction.changes():
                return None
            if self.on_first_commit:
                look, self.on_first_commit = self.on_first_commit, None
                look()
            if record := self._commit(transaction):
                return record
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - spreads rivals out, nothing more
        raise CommitConflict(
            f"Other processes kept changing the same part of the lake at {self.root} for {PATIENCE:.0f} s.",
            hint="Nothing of this commit was lost or half done. Run the command again when fewer others write.",
        )

    def _commit(self, transaction: Transaction) -> Commit | None:
        """Take the next free number, stepping over commits that leave alone what the transaction read."""
        state = transaction.snapshot

        def later_numbers() -> Iterator[int]:
            nonlocal state
            while True:
                state, rivals = log.latest_snapshot(self.files, state)
                if any(transaction.conflicts_with(file) for rival in rivals for file in rival.touches()):
                    return
                yield state.version + 1

        added, removed = transaction.changed_files()
        staged = [file for file in added if not self.data.is_new(file)]
        self.data.put(file.path for file in added)
        self.data.make_sure_of(staged)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        wanted = Commit(state.version + 1, transaction.run_id, now, added, removed)
        record = log.write_commit(self.files, wanted, later_numbers())
        if record:
            # A repair may have moved them before the record was there (``gliolake.maintenance.repair``).
            self.data.make_sure_of(added)
            self._snapshot = state.after([record])
            if log.checkpoint_due(self._snapshot):
                log.write_checkpoint(self.files, self._snapshot)
        return record
