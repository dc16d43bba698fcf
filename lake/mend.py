"""Put right what ``lake.verify`` found. Whatever is damaged is moved into ``_quarantine``, never deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import TypeAlias

from lake import log
from lake.files import Files
from lake.history import History
from lake.names import QUARANTINE
from lake.runs import start_run
from lake.state import DataFile
from lake.store import Lake
from lake.transaction import Transaction

Making: TypeAlias = Callable[[Transaction], None]
"""What makes the rows of a table from those of others."""


def mend_checkpoints(files: Files, history: History) -> None:
    """Set damaged checkpoints aside, and write the state out again."""
    for path in history.checkpoints:
        set_aside(files, path)
    if history.checkpoints and history.state.version:
        log.write_checkpoint(files, history.state)


def set_aside(files: Files, path: str) -> None:
    """Move into ``_quarantine`` what lies at a path: in a folder also what is no file."""
    names = (f"{QUARANTINE}/{path}{'~' * number}" for number in count())  # what was set aside before stays
    files.move(path, names)


def mend_tables(lake: Lake, damaged: list[DataFile], made_anew: Sequence[Making]) -> None:
    """Take data files out that are damaged; make rows of others anew, in the same commit."""
    if not damaged:
        return
    with start_run(lake, "verify", {"repair": True}) as run:
        run.transact(partial(_take_out, damaged=damaged, made_anew=made_anew))
    for file in damaged:
        set_aside(lake.files, file.path)


def _take_out(transaction: Transaction, damaged: list[DataFile], made_anew: Sequence[Making]) -> None:
    for file in damaged:
        if file.path in transaction.snapshot.files:  # another process may have replaced it since
            transaction.remove_file(file)
    for make in made_anew:
        make(transaction)
