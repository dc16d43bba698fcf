"""A transaction: changes to any tables that become visible together.

It is built on a snapshot, sees its own changes, and records the partitions that it read, so that the lake can detect a
conflict with a concurrent commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gliolake.errors import DuplicateKey
from gliolake.schema.registry import table_named
from gliolake.schema.types import Table
from gliolake.storage.data_files import DataFiles
from gliolake.storage.rows import Key, Rows, as_dicts, conform, differs, keys_of, same_content, show_key, split
from gliolake.storage.snapshot import DataFile, KeyRange, Snapshot


@dataclass(frozen=True)
class Read:
    """What a transaction has looked at: part of a table, and of that the keys in a range, or all."""

    table: str
    partition: Mapping[str, str]
    keys: KeyRange | None

    def covers(self, file: DataFile) -> bool:
        """Whether rows of ``file`` may be among what was looked at."""
        return file.lies_in(self.table, self.partition) and (self.keys is None or file.may_hold(self.keys))


class Transaction:
    """Changes to the lake that become visible together. It sees its own changes, and what it reads it rests on."""

    def __init__(self, data: DataFiles, snapshot: Snapshot, run_id: str) -> None:
        self.data = data
        self.snapshot = snapshot
        self.run_id = run_id
        self._added: dict[str, DataFile] = {}
        self._removed: dict[str, DataFile] = {}
        self._reads: list[Read] = []

    def read(self, name: str, where: Mapping[str, Any] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """As ``Lake.read``, on this transaction's snapshot and own changes."""
        table = table_named(name)
        return self.data.read_files(table, self._live(table, where), where, columns)

    def append(self, name: str, rows: Rows) -> None:
        """Add rows that are not there yet.

        Raises:
            DuplicateKey: a row's primary key is in the table already.
            InputError: the rows do not fit the table.
        """
        table = table_named(name)
        for partition, part in split(table, conform(table, rows, self.run_id)):
            for _, taken in self._holding(table, partition, set(keys_of(table, part))):
                raise DuplicateKey(f"Table {name} already has a row with {show_key(table, min(taken))}.")
            self._include(self.data.write(table, partition, part))

    def upsert(self, name: str, rows: Rows) -> None:
        """Put rows in place of those with the same primary key, unless they differ in ``run_id`` only."""
        table = table_named(name)
        for partition, part in split(table, conform(table, rows, self.run_id)):
            holding = self._holding(table, partition, set(keys_of(table, part)))
            old = [self._select(table, file, taken) for file, taken in holding]
            changed = part.filter(differs(table, part, pa.concat_tables([table.schema.empty_table(), *old])))
            if changed.num_rows:
                self._drop(table, partition, set(keys_of(table, changed)))
                self._include(self.data.write(table, partition, changed))

    def replace(self, name: str, where: Mapping[str, Any], rows: Rows) -> None:
        """Put ``rows`` in place of all rows that match ``where``; equal content (``run_id`` aside) writes nothing.

        Raises:
            InputError: the rows do not fit the table.
            DuplicateKey: a row's key is held by a row that ``where`` leaves alone.
        """
        table = table_named(name)
        new = conform(table, rows, self.run_id)
        old = self.read(name, where)
        if same_content(table, old, new):
            return
        for partition, part in split(table, old):
            self._drop(table, partition, set(keys_of(table, part)))
        self.append(name, new)

    def delete(self, name: str, where: Mapping[str, Any]) -> None:
        """Take out all rows that match ``where``."""
        self.replace(name, where, [])

    def delete_keys(self, name: str, rows: Rows) -> None:
        """Take out the rows whose primary keys ``rows`` name, where there are any."""
        table = table_named(name)
        self._drop(table, {}, {tuple(row[column] for column in table.key) for row in as_dicts(rows)})

    def replace_rows(self, name: str, before: Rows, after: Rows) -> None:
        """Put the rows ``after`` in place of the rows ``before``, touching only what differs.

        Raises:
            InputError: the rows do not fit the table.
        """
        key = table_named(name).key
        kept = {tuple(row[column] for column in key) for row in as_dicts(after)}
        gone = [row for row in as_dicts(before) if tuple(row[column] for column in key) not in kept]
        self.delete_keys(name, gone)
        self.upsert(name, after)

    def add(self, files: Iterable[DataFile]) -> None:
        """Make staged files visible. Rows whose key is there already are left out: the first to commit stays."""
        for file in files:
            table = table_named(file.table)
            if not self._live(table, file.partition, (file.first, file.last)):
                self._include(file)  # no other file can hold its keys, so nobody need look at them
                continue
            keys = self.data.keys(file)
            fresh = keys.difference(*(taken for _, taken in self._holding(table, file.partition, keys)))
            if len(fresh) == file.rows:
                self._include(file)
            elif fresh:
                self._include(self.data.write(table, file.partition, self._select(table, file, fresh)))

    def remove_file(self, file: DataFile) -> None:
        """Take a data file out of the lake with all its rows, e.g. because it is damaged."""
        self._reads.append(Read(file.table, file.partition, (file.first, file.last)))
        self._exclude(file)

    def changes(self) -> bool:
        """Whether committing would change anything."""
        return bool(self._added or self._removed)

    def changed_files(self) -> tuple[tuple[DataFile, ...], tuple[DataFile, ...]]:
        """Files added and files removed, each in the order of their paths."""
        added = tuple(self._added[path] for path in sorted(self._added))
        removed = tuple(self._removed[path] for path in sorted(self._removed))
        return added, removed

    def conflicts_with(self, file: DataFile) -> bool:
        """Whether ``file`` may hold something this transaction has looked for."""
        return any(read.covers(file) for read in self._reads)

    def _live(self, table: Table, where: Mapping[str, Any] | None, keys: KeyRange | None = None) -> list[DataFile]:
        """The files of part of a table that may hold keys in a range, or all; with this transaction's own changes.

        The transaction rests on them from then on.
        """
        partition = {key: str(value) for key, value in (where or {}).items() if key in table.partition_by}
        looked_at = Read(table.name, partition, keys)
        self._reads.append(looked_at)
        committed = self.snapshot.of_table(table.name, partition, keys)
        own = [file for _, file in sorted(self._added.items()) if looked_at.covers(file)]
        return [*(file for file in committed if file.path not in self._removed), *own]

    def _holding(self, table: Table, partition: Mapping[str, str], keys: Set[Key]) -> list[tuple[DataFile, Set[Key]]]:
        """The files of a partition that hold any of these keys, each with those it holds."""
        if not keys:
            return []
        found = [(f, keys & self.data.keys(f)) for f in self._live(table, partition, (min(keys), max(keys)))]
        return [(file, held) for file, held in found if held]

    def _include(self, file: DataFile) -> None:
        if self._removed.pop(file.path, None) is None:
            self._added[file.path] = file

    def _exclude(self, file: DataFile) -> None:
        if self._added.pop(file.path, None) is None:
            self._removed[file.path] = file

    def _drop(self, table: Table, partition: Mapping[str, str], keys: Set[Key]) -> None:
        """Take the rows with these keys out of a partition, rewriting the files that also hold others."""
        for file, held in self._holding(table, partition, keys):
            self._exclude(file)
            if kept := self.data.keys(file) - held:
                self._include(self.data.write(table, file.partition, self._select(table, file, kept)))

    def _select(self, table: Table, file: DataFile, keys: Set[Key]) -> pa.Table:
        rows = self.data.load(file)
        return rows.filter(pa.array([key in keys for key in keys_of(table, rows)], pa.bool_()))
