"""Rewrite the data files of older gliolakes, so that they need not be brought up to date whenever they are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import Any

from lake import tables
from lake.older import is_older
from lake.progress import track
from lake.runs import start_run
from lake.state import DataFile
from lake.store import Lake
from lake.transaction import Transaction


@dataclass(frozen=True)
class Migration:
    """How many files were looked at, and how many were rewritten, by table."""

    looked_at: int
    rewritten: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def __rich__(self) -> str:
        """For people."""
        told = [f"{table}: {files} files rewritten" for table, files in self.rewritten.items()]
        return "\n".join(told or [f"All {self.looked_at} files are as their tables are today."])


def migrate(lake: Lake) -> Migration:
    """Rewrite all files whose columns are not those that their table has today.

    Rows keep the run that wrote them. Each partition is a commit of its own, so that what was broken off goes on from
    there; the replaced files are cleared by ``verify`` once no reader can still hold them.

    Raises:
        OlderLake: nothing says what a column that a file lacks should hold. What was committed before stays.
        DamagedFile: a committed file is missing or holds other bytes.
    """
    files = sorted(lake.state().files.values(), key=_place)
    rewritten: dict[str, int] = defaultdict(int)
    with start_run(lake, "migrate", {}) as run, track("looking through files", len(files)) as advance:
        for (name, _), some in groupby(files, key=_place):
            older = []
            for file in some:
                if is_older(tables.table(name), lake.content(file)):
                    older.append(file)
                advance()
            if older:
                run.transact(partial(_rewrite, lake=lake, files=older))
                rewritten[name] += len(older)
    return Migration(len(files), dict(rewritten))


def _place(file: DataFile) -> tuple[str, tuple[str, ...]]:
    return file.table, tuple(file.partition.values())


def _rewrite(transaction: Transaction, lake: Lake, files: list[DataFile]) -> None:
    for file in files:
        if file.path in transaction.snapshot.files:  # what another process has replaced since is new anyway
            transaction.remove_file(file)
            transaction.add([lake.write(tables.table(file.table), file.partition, lake.load(file))])
