"""Read the whole log of a lake, and work out what belongs in the place of records that cannot be read.

A lake is opened from its newest sound checkpoint and the records after it, so an older record that is damaged costs no
row. It would once that checkpoint is gone too; and where a number is free, a process that has been at work since
before may take it. So the record is written again, as the difference between the states on both of its sides.

Of a record after that checkpoint nothing else has what it led to: its commit is lost, and the lake cannot be opened.
Its data files may lie on the disk, but so may files of commits that never came to be, and nothing tells them apart.
A person may restore the record from a backup, or give the commit up. Then a record of run ``LOST`` takes its place, and
the lake is as if the commit had never been made, but for what later commits prove of it:

- A file that they remove and none before them added, the lost commit had added: its record adds it.
- A row that they wrote, they wrote last. An older row of its key was taken out by the lost commit, and is taken out
  again (``older_rows``). This cannot be seen where the file that they wrote was itself replaced, and is deleted.

So rows that the lost commit added are gone, and those that it changed or took out are as before it, unless a later
commit wrote them. The commands that made them make them again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

from lake import log
from lake.errors import DamagedFile
from lake.files import Files
from lake.state import DataFile, Part, Record, State
from lake.tables import TABLES

REBUILT = "rebuilt"
"""Run of a record that was written again: that of the commit is not known."""

LOST = "lost"
"""Run of a record in the place of a commit that was given up."""

MISSING = "It is missing."
FURTHEST = 10_000
"""Numbers in a row without a record, after which a record is not taken for one of this log."""


@dataclass(frozen=True)
class History:
    """The records of a log by number, and what is wrong with those that cannot be read.

    Attributes:
        checkpoint: The state at the newest sound checkpoint; an empty lake where there is none.
        state: The lake after all sound records.
        records: The sound ones.
        faults: What is wrong with records whose outcome the checkpoint has, by number.
        lost: The same of records after it.
        proven: By number of a lost commit the files that it added, since later commits remove them.
        checkpoints: Paths of damaged checkpoints, and of the file that says which is the newest if that is damaged.
        strays: Paths of what else lies in the folder of the log.
    """

    checkpoint: State
    state: State
    records: Mapping[int, Record]
    faults: Mapping[int, str]
    lost: Mapping[int, str]
    proven: Mapping[int, tuple[DataFile, ...]]
    checkpoints: tuple[str, ...]
    strays: frozenset[str]

    def ever_committed(self) -> set[str]:
        """Paths of all data files that sound records name."""
        return {file.path for record in self.records.values() for file in record.touches()}

    def given_up(self) -> list[int]:
        """Numbers of commits that were given up."""
        return [number for number, record in sorted(self.records.items()) if record.run_id == LOST]


def read_history(files: Files) -> History:
    """Read the whole log, whatever state it is in.

    Raises:
        NewerLake: a newer gliolake wrote to it.
    """
    paths = {entry.path for entry in files.list(log.FOLDER)}
    checkpoint, damaged = _checkpoint(files, paths)
    last = checkpoint.version
    for number in sorted(int(found[1]) for path in paths if (found := re.fullmatch(r".*/(\d{20})\.json", path))):
        last = max(last, number) if number <= last + FURTHEST else last
    records, faults = _records(files, last)
    last = max([last, *records, *faults])
    live, proven = dict(checkpoint.files), defaultdict[int, list[DataFile]](list)
    lost: dict[int, str] = {}
    for number in range(checkpoint.version + 1, last + 1):
        record = records.get(number)
        unknown = [file for file in record.removed if file.path not in live] if record else []
        if record is None or (unknown and not lost):  # sound by itself, but none of this history
            lost[number] = faults.pop(number, "It removes files that no commit before it added.")
            records.pop(number, None)
            continue
        if unknown:
            proven[max(lost)] += unknown
        for file in record.removed:
            live.pop(file.path, None)
        live.update((file.path, file) for file in record.added)
    own = {log.NEWEST, *map(log.record_path, {*records, *faults, *lost})}
    strays = frozenset(path for path in paths - own if not path.endswith(".state.json"))
    added = {number: tuple(some) for number, some in proven.items()}
    return History(checkpoint, State.of(last, live.values()), records, faults, lost, added, damaged, strays)


def _checkpoint(files: Files, paths: Set[str]) -> tuple[State, tuple[str, ...]]:
    """The state at the newest sound checkpoint, and the paths of damaged ones."""
    newest = log.looked_up(files)
    sound, damaged = State(), []
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


def _records(files: Files, last: int) -> tuple[dict[int, Record], dict[int, str]]:
    """The sound records by number, and what is wrong with others: up to this number, and as many as follow."""
    records: dict[int, Record] = {}
    faults: dict[int, str] = {}
    marks: set[str] = set()
    for number in count(1):
        try:
            record = log.read_record(files, number)
        except DamagedFile as error:
            faults[number] = str(error)
            continue
        if record and record.mark not in marks:
            records[number] = record
            marks.add(record.mark)
        elif record:
            faults[number] = "It is a copy of an earlier one."
        elif number <= last:
            faults[number] = MISSING
        else:
            break
    return records, faults


def rebuilt(history: History) -> Iterator[Record]:
    """For each record that a checkpoint makes up for, one to be put in its place: all lead to the same state."""
    state = State()
    for number in range(1, max(history.faults, default=0) + 1):
        if number in history.records:
            state = state.after([history.records[number]])
            continue
        before, after = state.files, _files_after(history, number)
        added = tuple(after[path] for path in sorted(after.keys() - before.keys()))
        removed = tuple(before[path] for path in sorted(before.keys() - after.keys()))
        yield Record(number, REBUILT, _now(), added, removed)
        state = State.of(number, after.values())


def _files_after(history: History, number: int) -> dict[str, DataFile]:
    """The files after this record, as those of the checkpoint say if later records that cannot be read did nothing."""
    files = dict(history.checkpoint.files)
    for later in range(history.checkpoint.version, number, -1):
        if record := history.records.get(later):
            for file in record.added:
                files.pop(file.path, None)
            files.update((file.path, file) for file in record.removed)
    return files


def in_place_of_lost(history: History) -> Iterator[Record]:
    """For each lost commit a record to be put in its place, the last one first: until the first, the lake is closed."""
    for number in sorted(history.lost, reverse=True):
        yield Record(number, LOST, _now(), history.proven.get(number, ()), ())


def older_rows(history: History) -> Iterator[tuple[DataFile, DataFile]]:
    """Files of before a commit that was given up, each with a later one that may hold some of its keys."""
    given_up = history.given_up()
    if not given_up:
        return
    born = {file.path: number for number, record in sorted(history.records.items()) for file in record.added}
    of_part: dict[Part, dict[str, DataFile]] = defaultdict(dict)
    for _, record in sorted(history.records.items()):
        for file in record.added:
            if file.table in TABLES:
                of_part[file.part][file.path] = file
    for files in of_part.values():
        near: list[DataFile] = []
        for file in sorted(files.values(), key=lambda file: (file.first, file.path)):
            near = [other for other in near if other.last >= file.first]
            for other in near:
                old, new = sorted((file, other), key=lambda one: born[one.path])
                between = any(born[old.path] < number <= born[new.path] for number in given_up)
                if between and old.path in history.state.files:
                    yield old, new
            near.append(file)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
