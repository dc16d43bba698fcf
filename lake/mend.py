"""Put right what ``lake.verify`` found. Whatever is damaged is moved into ``_quarantine``, never deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain, count
from typing import TypeAlias

import pyarrow as pa

from lake import log, tables
from lake.errors import CommitConflict, StorageUnreachable
from lake.files import Files
from lake.history import History, in_place_of_lost, older_rows, rebuilt
from lake.names import QUARANTINE
from lake.older import rows_of
from lake.rows import Key, keys_of
from lake.runs import start_run
from lake.state import DataFile
from lake.store import Lake
from lake.transaction import Transaction

Making: TypeAlias = Callable[[Transaction], None]
"""What makes the rows of a table from those of others."""


def mend_log(files: Files, history: History, *, give_up: bool) -> None:
    """Write records and checkpoints anew; with ``give_up`` also records in the place of lost commits.

    Raises:
        CommitConflict: another process took the number of a lost commit meanwhile.
    """
    for record in chain(rebuilt(history), in_place_of_lost(history) if give_up else ()):
        set_aside(files, log.record_path(record.version))
        if not log.write_record(files, record):
            raise CommitConflict(
                f"Another process has taken number {record.version} in the log of the lake at {files.root}.",
                hint="End all commands that write to the lake, and run `gliolake verify` again.",
            )
    for path in history.checkpoints:
        set_aside(files, path)
    sound = history.checkpoint if history.lost else history.state
    if history.checkpoints and sound.version:
        log.write_checkpoint(files, sound)


def set_aside(files: Files, path: str) -> None:
    """Move into ``_quarantine`` what lies at a path: in a folder also what is no file."""
    names = (f"{QUARANTINE}/{path}{'~' * number}" for number in count())  # what was set aside before stays
    files.move(path, names)


def superseded(files: Files, history: History) -> dict[str, set[Key]]:
    """By path the keys of rows that a commit which was given up took out, as later commits prove (``older_rows``)."""
    keys: dict[str, set[Key]] = {}
    found: dict[str, set[Key]] = {}
    for old, new in older_rows(history):
        for file in (old, new):
            if file.path not in keys:
                keys[file.path] = _keys(files, file)
        if common := keys[old.path] & keys[new.path]:
            found[old.path] = found.get(old.path, set()) | common
    return found


def _keys(files: Files, file: DataFile) -> set[Key]:
    """Primary keys of the rows of a data file; none where it is no longer there, or damaged."""
    try:
        data = files.get(file.path)
    except StorageUnreachable:
        raise
    except OSError:
        return set()
    if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
        return set()
    table = tables.table(file.table)
    return {*keys_of(table, rows_of(table, file, data, table.key))}


def mend_tables(
    lake: Lake, damaged: list[DataFile], older: Mapping[str, set[Key]], made_anew: Sequence[Making]
) -> None:
    """Take out data files that are damaged, and from others the rows with these keys, by path; make others anew."""
    if not damaged and not older and not made_anew:
        return
    with start_run(lake, "verify", {"repair": True}) as run:
        run.transact(partial(_take_out, damaged=damaged, older=older, made_anew=made_anew))
    for file in damaged:
        set_aside(lake.files, file.path)


def _take_out(
    transaction: Transaction, damaged: list[DataFile], older: Mapping[str, set[Key]], made_anew: Sequence[Making]
) -> None:
    there = transaction.snapshot.files  # another process may have replaced a file since
    for file in damaged:
        if file.path in there:
            transaction.remove_file(file)
    for path, keys in older.items():
        if path in there:
            file, table = there[path], tables.table(there[path].table)
            rows = transaction.lake.load(file)
            kept = rows.filter(pa.array([key not in keys for key in keys_of(table, rows)], pa.bool_()))
            transaction.remove_file(file)
            if kept.num_rows:
                transaction.add([transaction.lake.write(table, file.partition, kept)])
    for make in made_anew:
        make(transaction)
