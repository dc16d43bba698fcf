"""Merge the small files of a partition into one, so that readers open few files however many commits there were."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import pyarrow as pa

from lake import tables
from lake.log import DataFile
from lake.runs import start_run
from lake.store import Lake
from lake.transaction import Transaction

SMALL = 16 * 2**20
"""Bytes below which a file is worth merging."""


def compact(lake: Lake, *, fewest: int = 4) -> dict[str, int]:
    """Merge, in each partition, the files below ``SMALL`` bytes if there are at least ``fewest``.

    Rows keep the run that wrote them. Each partition is a commit of its own; the replaced files are cleared by
    ``verify`` once no reader can still hold them.

    Returns:
        Files merged away, by table.
    """
    small: dict[tuple[str, tuple[str, ...]], list[DataFile]] = defaultdict(list)
    for file in lake.state().files.values():
        if file.bytes < SMALL and not tables.table(file.table).bulky:
            small[file.table, tuple(file.partition.values())].append(file)
    merged: dict[str, int] = defaultdict(int)
    with start_run(lake, "compact", {"fewest": fewest}) as run:
        for (name, _), files in sorted(small.items()):
            if len(files) >= fewest:
                run.transact(partial(_merge, lake=lake, files=sorted(files, key=lambda file: file.path)))
                merged[name] += len(files) - 1
    return dict(merged)


def _merge(transaction: Transaction, lake: Lake, files: list[DataFile]) -> None:
    if any(file.path not in transaction.snapshot.files for file in files):
        return  # another process changed the partition; what it left is for the next time
    rows = pa.concat_tables([lake.load(file) for file in files])
    for file in files:
        transaction.remove_file(file)
    transaction.append(tables.table(files[0].table).name, rows)
