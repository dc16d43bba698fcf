"""Repairs the findings of ``gliolake.maintenance.verify``. A repair deletes nothing: it moves damaged and unreferenced
files to ``_quarantine``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias

from gliolake.maintenance.log_history import History
from gliolake.runs import start_run
from gliolake.storage import commit_log as log
from gliolake.storage.backend.files import Files
from gliolake.storage.lake import Lake
from gliolake.storage.quarantine import bring_back, set_aside
from gliolake.storage.snapshot import DataFile
from gliolake.storage.transaction import Transaction

Making: TypeAlias = Callable[[Transaction], None]
"""What makes the rows of a table from those of others."""


def mend_checkpoints(files: Files, history: History) -> None:
    """Set damaged checkpoints aside, and write the state out again."""
    for path in history.checkpoints:
        set_aside(files, path)
    if history.checkpoints and history.state.version:
        log.write_checkpoint(files, history.state)


def take_out(lake: Lake, damaged: Sequence[DataFile], made_anew: Sequence[Making]) -> None:
    """Take data files out of the lake that are damaged; make rows of others anew, in the same commit."""
    if not damaged:
        return
    with start_run(lake, "verify", {"repair": True}) as run:
        run.transact(partial(_without, damaged=damaged, made_anew=made_anew))
    clear(lake, [file.path for file in damaged])


def _without(transaction: Transaction, damaged: Sequence[DataFile], made_anew: Sequence[Making]) -> None:
    for file in damaged:
        if file.path in transaction.snapshot.files:  # another process may have replaced it since
            transaction.remove_file(file)
    for make in made_anew:
        make(transaction)


def clear(lake: Lake, paths: Iterable[str]) -> None:
    """Set aside files that no commit needs.

    Another process may commit a file while it is moved. Either its record is there when the log is looked at in the
    end, and the file is moved back here; or it comes later, and that process, which looks for its files once its record
    is there, moves the file back itself.
    """
    committed = lake.state().files
    moved = {path for path in paths if path not in committed and set_aside(lake.files, path)}
    committed = lake.state().files
    for path in moved & committed.keys():
        bring_back(lake.files, committed[path])
