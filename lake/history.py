"""Check the log of a lake, and write records anew whose outcome a later checkpoint has.

A lake is opened from its newest sound checkpoint and the records after it, so an older record that is damaged costs no
row. It would once that checkpoint is gone too; and where a number is free, a process that has been at work since
before may take it. So the record is written again, as the difference between the states on both of its sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from lake import log
from lake.errors import DamagedFile
from lake.files import Files
from lake.state import DataFile, Record, State

REBUILT = "rebuilt"
"""Run of a record that was written again: that of the commit is not known."""


@dataclass(frozen=True)
class History:
    """The records up to a version by number, and what is wrong with those that cannot be read.

    Attributes:
        state: The lake as it was opened.
        records: The sound ones up to its version.
        faults: By number "damaged" or "missing", of records up to its version.
        beyond: Numbers of records that lie behind a gap: the lake was opened as it was before them.
        checkpoints: Paths of damaged checkpoints, and of the file that says which is the newest if that is damaged.
    """

    state: State
    records: Mapping[int, Record]
    faults: Mapping[int, str]
    beyond: tuple[int, ...]
    checkpoints: tuple[str, ...]

    def ever_committed(self) -> set[str]:
        """Paths of all data files that sound records added."""
        return {file.path for record in self.records.values() for file in record.added}


def read_history(files: Files, state: State) -> History:
    """Read the whole log of a lake that was opened at this state."""
    records: dict[int, Record] = {}
    faults: dict[int, str] = {}
    marks: set[str] = set()
    for version in range(1, state.version + 1):
        try:
            record = log.read_record(files, version)
        except DamagedFile:
            faults[version] = "damaged"
            continue
        if record is None:
            faults[version] = "missing"
        elif record.mark in marks:  # a copy of an earlier one
            faults[version] = "damaged"
        else:
            records[version] = record
            marks.add(record.mark)
    paths = sorted(entry.path for entry in files.list(log.FOLDER))
    numbers = [int(found[1]) for path in paths if (found := re.fullmatch(rf"{log.FOLDER}/(\d{{20}})\.json", path))]
    newer = log.read_record(files, state.version + 1)  # a commit made meanwhile, and no gap
    beyond = () if newer else tuple(number for number in numbers if number > state.version)
    newest = log.looked_up(files)
    checkpoints = sorted({*(path for path in paths if path.endswith(".state.json")), *([newest] if newest else ())})
    damaged = [path for path in checkpoints if not log.read_checkpoint(files, path)]
    if not newest and _lies_there(files, log.NEWEST):
        damaged.append(log.NEWEST)
    return History(state, records, faults, beyond, tuple(damaged))


def _lies_there(files: Files, path: str) -> bool:
    try:
        return log.read_bytes(files, path) is not None
    except DamagedFile:  # no file, but something
        return True


def rebuilt(history: History) -> Iterator[Record]:
    """For each record that cannot be read one to be put in its place, so that all of them lead to the same state."""
    state = State()
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    for number in range(1, max(history.faults, default=0) + 1):
        if number in history.records:
            state = state.after([history.records[number]])
            continue
        before, after = state.files, _files_after(history, number)
        added = tuple(after[path] for path in sorted(after.keys() - before.keys()))
        removed = tuple(before[path] for path in sorted(before.keys() - after.keys()))
        yield Record(number, REBUILT, now, added, removed)
        state = State.of(number, after.values())


def _files_after(history: History, number: int) -> dict[str, DataFile]:
    """The files after this record, as those of the end say if later records that cannot be read did nothing."""
    files = dict(history.state.files)
    for later in range(history.state.version, number, -1):
        if record := history.records.get(later):
            for file in record.added:
                files.pop(file.path, None)
            files.update((file.path, file) for file in record.removed)
    return files
