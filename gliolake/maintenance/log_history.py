"""Reads the whole log of a lake, even if it is damaged; ``verify`` compares the files with it.

A lake is opened from its newest valid checkpoint and the records after it, so a damaged older record loses no row. The
effect of a record after that checkpoint is stored nowhere else: if it is damaged, the lake cannot be opened until the
record is restored from a backup. Neither this module nor ``verify`` ever rewrites a record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from itertools import count

from gliolake.errors import DamagedFile
from gliolake.storage import commit_log as log
from gliolake.storage.backend.files import Files
from gliolake.storage.snapshot import Commit, Snapshot

MISSING = "It is missing."
FURTHEST = 10_000
"""Numbers in a row without a record, after which a record is not taken for one of this log."""


@dataclass(frozen=True)
class History:
    """The records of a log by number, and what is wrong with those that cannot be read.

    Attributes:
        state: The lake after its newest record; where ``lost`` has entries, after the last one before those.
        records: The sound ones.
        faults: What is wrong with records whose outcome the newest sound checkpoint has, by number.
        lost: The same of records after it: nothing else has their outcome, and the lake cannot be opened.
        checkpoints: Paths of damaged checkpoints, and of the file that says which is the newest if that is damaged.
        strays: Paths of what else lies in the folder of the log.
    """

    state: Snapshot
    records: Mapping[int, Commit]
    faults: Mapping[int, str]
    lost: Mapping[int, str]
    checkpoints: tuple[str, ...]
    strays: frozenset[str]

    def let_go(self) -> dict[str, int]:
        """Paths of data files that were committed and are no longer, with the number of the commit that removed them.

        Where that record is damaged, it is taken for the newest.
        """
        removed = {file.path: self.state.version for record in self.records.values() for file in record.touches()}
        removed |= {file.path: number for number, record in sorted(self.records.items()) for file in record.removed}
        return {path: number for path, number in removed.items() if path not in self.state.files}

    def and_since(self, files: Files) -> History:
        """The same with the commits made since it was read."""
        state, records = log.latest_snapshot(files, self.state)
        return replace(self, state=state, records={**self.records, **{record.version: record for record in records}})


def read_history(files: Files) -> History:
    """Read the whole log, whatever state it is in.

    Raises:
        NewerLake, OlderLake: another version of gliolake wrote it.
    """
    paths = {entry.path for entry in files.list(log.FOLDER)}
    state, checkpoints = _checkpoint(files, paths)
    last = state.version
    for number in sorted(int(found[1]) for path in paths if (found := re.fullmatch(r".*/(\d{20})\.json", path))):
        last = max(last, number) if number <= last + FURTHEST else last
    records, faults = _records(files, last)
    lost: dict[int, str] = {}
    for number in range(state.version + 1, max([last, *records, *faults]) + 1):
        if number in faults:
            lost[number] = faults.pop(number)
        elif not lost:
            unknown = [file for file in records[number].removed if file.path not in state.files]
            if unknown:  # sound by itself, but of another lake
                lost[number] = "It removes files that no commit before it added."
                del records[number]
            else:
                state = state.after([records[number]])
    ours = {log.NEWEST, *map(log.record_path, {*records, *faults, *lost})}
    strays = frozenset(path for path in paths - ours if not path.endswith(".state.json"))
    return History(state, records, faults, lost, checkpoints, strays)


def _checkpoint(files: Files, paths: Set[str]) -> tuple[Snapshot, tuple[str, ...]]:
    """The state at the newest sound checkpoint, and the paths of damaged ones."""
    newest = log.looked_up(files)
    sound, damaged = Snapshot(), []
    for path in sorted({*(path for path in paths if path.endswith(".state.json")), *filter(None, [newest])}):
        if state := log.read_checkpoint(files, path):
            sound = state
        else:
            damaged.append(path)
    if not newest and _lies_there(files, log.NEWEST):
        damaged.append(log.NEWEST)
    return sound, tuple(damaged)


def _lies_there(files: Files, path: str) -> bool:
    try:
        return log.read_bytes(files, path) is not None
    except DamagedFile:  # no file, but something
        return True


def _records(files: Files, last: int) -> tuple[dict[int, Commit], dict[int, str]]:
    """The sound records by number, and what is wrong with others: up to this number, and as many as follow."""
    records: dict[int, Commit] = {}
    faults: dict[int, str] = {}
    marks: set[str] = set()
    for number in count(1):
        try:
            record = log.read_commit(files, number)
        except DamagedFile as error:
            faults[number] = str(error)
            continue
        if record and record.commit_uuid not in marks:
            records[number] = record
            marks.add(record.commit_uuid)
        elif record:
            faults[number] = "It is a copy of an earlier one."
        elif number <= last:
            faults[number] = MISSING
        else:
            break
    return records, faults
