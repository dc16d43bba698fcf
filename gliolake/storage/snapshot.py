"""Commits and snapshots: the data files that a commit adds and removes, and the files after a number of commits."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from gliolake.errors import GliolakeError

Partition: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""A table, and the values of its partition columns."""

KeyRange: TypeAlias = tuple[tuple[Any, ...], tuple[Any, ...]]
"""The smallest and the largest of some primary keys."""


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table.

    ``partition`` maps the table's partition columns to this file's values; ``first`` and ``last`` are its smallest
    and largest primary key, by which most files are passed over when a key is looked for.
    """

    table: str
    path: str
    partition: Mapping[str, str]
    rows: int
    bytes: int
    sha256: str
    first: tuple[Any, ...]
    last: tuple[Any, ...]

    @property
    def part(self) -> Partition:
        """The part of the lake that it belongs to."""
        return self.table, frozenset(self.partition.items())

    def lies_in(self, table: str, partition: Mapping[str, str]) -> bool:
        """Whether it is of the table, and none of its partition's values is other than that in ``partition``."""
        own = self.partition
        return self.table == table and all(own.get(column, value) == value for column, value in partition.items())

    def may_hold(self, keys: KeyRange) -> bool:
        """Whether keys in this range may be among its own."""
        return self.first <= keys[1] and keys[0] <= self.last


@dataclass(frozen=True)
class Commit:
    """One commit: what it added and removed, the run it belongs to, and when (ISO 8601, UTC).

    commit_uuid: makes it unlike a rival's who commits the same at the same moment.
    """

    version: int
    run_id: str
    committed: str
    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
    commit_uuid: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)

    def touches(self) -> Iterator[DataFile]:
        """The files added and removed."""
        yield from self.added
        yield from self.removed


@dataclass(frozen=True)
class Snapshot:
    """The lake at a version: the files of each part, by path. Version 0 is an empty lake."""

    version: int = 0
    parts: Mapping[Partition, Mapping[str, DataFile]] = field(default_factory=dict)

    @classmethod
    def of(cls, version: int, files: Iterable[DataFile]) -> Snapshot:
        """The lake that has these files."""
        parts: dict[Partition, dict[str, DataFile]] = defaultdict(dict)
        for file in files:
            parts[file.part][file.path] = file
        return cls(version, dict(parts))

    @cached_property
    def files(self) -> Mapping[str, DataFile]:
        """All files by path."""
        return {path: file for part in self.parts.values() for path, file in part.items()}

    def after(self, records: Iterable[Commit]) -> Snapshot:
        """The state once the records that follow it are applied, at the cost of the parts they touch.

        Raises:
            GliolakeError: a record removes a file that is not there.
        """
        version, parts = self.version, dict(self.parts)
        touched: dict[Partition, dict[str, DataFile]] = {}

        def to_change(part: Partition) -> dict[str, DataFile]:
            if part not in touched:
                parts[part] = touched[part] = dict(parts.get(part, {}))
            return touched[part]

        for record in records:
            version = record.version
            for file in record.removed:
                if to_change(file.part).pop(file.path, None) is None:
                    raise GliolakeError(f"Commit {version} removes {file.path}, which no commit before it added.")
            for file in record.added:
                to_change(file.part)[file.path] = file
        return Snapshot(version, {part: files for part, files in parts.items() if files})

    def of_table(
        self, table: str, partition: Mapping[str, Any] | None = None, keys: KeyRange | None = None
    ) -> list[DataFile]:
        """The files of a table, in the order of their paths, whose partition agrees with ``partition``.

        Where ``keys`` are given, only those that may hold keys in that range.
        """
        wanted = {column: str(value) for column, value in (partition or {}).items()}
        found: list[DataFile] = []
        for part in self.parts.values():
            if next(iter(part.values())).lies_in(table, wanted):
                found += [file for file in part.values() if keys is None or file.may_hold(keys)]
        return sorted(found, key=lambda file: file.path)
