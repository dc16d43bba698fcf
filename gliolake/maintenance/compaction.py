"""Merges the small files of a partition, so that readers open few files whatever the number of commits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa

from gliolake.runs import start_run
from gliolake.schema.registry import table_named
from gliolake.storage.lake import Lake
from gliolake.storage.snapshot import DataFile
from gliolake.storage.transaction import Transaction

SMALL = 16 * 2**20
"""Bytes below which a file is worth merging."""

LARGE = 2 * SMALL
"""Bytes that files are merged up to: who reads some keys reads the whole of each file that may have them."""


def compact(lake: Lake, *, fewest: int = 4) -> dict[str, int]:
    """Merge, in each partition, the files below ``SMALL`` bytes, ``fewest`` or more that lie near each other by key.

    Rows keep the run that wrote them. Each partition is a commit of its own. The replaced files stay, as readers may
    hold them: a repair moves them into quarantine a day after that commit, and ``purge`` removes them a day later.

    Returns:
        Files merged away, by table.
    """
    small: dict[tuple[str, tuple[str, ...]], list[DataFile]] = defaultdict(list)
    for file in lake.state().files.values():
        if file.bytes < SMALL and not table_named(file.table).bulky:
            small[file.table, tuple(file.partition.values())].append(file)
    merged: dict[str, int] = defaultdict(int)
    with start_run(lake, "compact", {"fewest": fewest}) as run:
        for (name, _), files in sorted(small.items()):
            own = name == "runs"  # this run writes a file of its own there, which alone is no reason for a next one
            for some in _bunches(files):
                if len(some) >= fewest + own:
                    run.transact(partial(_merge, lake=lake, files=some))
                    merged[name] += len(some) - 1
    return dict(merged)


def _bunches(files: Iterable[DataFile]) -> Iterator[list[DataFile]]:
    """The files in the order of their keys, in bunches of ``LARGE`` bytes at most."""
    bunch: list[DataFile] = []
    size = 0
    for file in sorted(files, key=lambda file: (file.first, file.path)):
        if size + file.bytes > LARGE:
            yield bunch
            bunch, size = [], 0
        bunch.append(file)
        size += file.bytes
    yield bunch


def _merge(transaction: Transaction, lake: Lake, files: list[DataFile]) -> None:
    if any(file.path not in transaction.snapshot.files for file in files):
        return  # another process changed the partition; what it left is for the next time
    rows = pa.concat_tables([lake.data.load(file) for file in files])
    for file in files:
        transaction.remove_file(file)
    transaction.append(table_named(files[0].table).name, rows)
