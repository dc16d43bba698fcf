"""Rewrite the data files of older gliolakes, so that they need not be brought up to date whenever they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from lake import tables
from lake.cluster import batches
from lake.older import is_older
from lake.progress import track
from lake.runs import start_run
from lake.state import DataFile
from lake.store import Lake
from lake.transaction import Transaction

BATCH = 100
BATCH_SECONDS = 60.0
"""A crash costs the rewriting of so many files, or of so long."""


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

    Rows keep the run that wrote them. There is a commit for every ``BATCH`` files, so that what was broken off goes on
    from there; the replaced files are cleared by ``verify`` once no reader can still hold them.

    Raises:
        OlderLake: nothing says what a column that a file lacks should hold. What was committed before stays.
        DamagedFile: a committed file is missing or holds other bytes.
    """
    files = lake.state().files
    rewritten: Counter[str] = Counter()
    with start_run(lake, "migrate", {}) as run:
        for some in batches(_older(lake, files), BATCH, BATCH_SECONDS):
            run.transact(partial(_rewrite, lake=lake, files=some))
            rewritten.update(file.table for file in some)
    return Migration(len(files), dict(rewritten))


def _older(lake: Lake, files: Mapping[str, DataFile]) -> Iterator[DataFile]:
    with track("looking through files", len(files)) as advance:
        for _, file in sorted(files.items()):
            if is_older(tables.table(file.table), lake.content(file)):
                yield file
            advance()


def _rewrite(transaction: Transaction, lake: Lake, files: list[DataFile]) -> None:
    for file in files:
        if file.path in transaction.snapshot.files:  # what another process has replaced since is new anyway
            transaction.remove_file(file)
            transaction.add([lake.write(tables.table(file.table), file.partition, lake.load(file))])
