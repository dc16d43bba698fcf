"""Every table of the lake, by name, in the order in which a study fills them.

The storage refuses rows of another shape, the catalog makes one SQL table of each entry, and ``gliolake tables`` prints
it. A data file has the columns of its table, in their types, or it is damaged: once lakes are in use, every change of
a table has to raise ``gliolake.storage.commit_log.FORMAT``.
"""

from __future__ import annotations

from gliolake.errors import check_choice
from gliolake.schema import agreement, experiments, features, imaging, study
from gliolake.schema.types import Column, Table, define_table, moment, text

RUNS = define_table(
    "runs",
    "one row per command that changed the lake",
    "run_id",
    "",
    Column("command", text, "name of the command"),
    Column("arguments", text, "its arguments as JSON"),
    Column("code_version", text, "version of gliolake, and its git commit where there is one"),
    Column("host", text, "operating system, Python and number of cores; nothing that names a person"),
    Column("started", moment, "when it began"),
    Column("ended", moment, "when it ended", True),
    Column("outcome", text, "unfinished, done, or the error that ended it"),
    may_be_empty=True,
)

_ALL = (
    *imaging.TABLES,
    *features.TABLES,
    RUNS,
    *experiments.TABLES,
    *study.TABLES,
    *agreement.TABLES,
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}


def table_named(name: str) -> Table:
    """The table of this name.

    Raises:
        InputError: there is none; the message suggests the nearest names.
    """
    return TABLES[check_choice("table", name, TABLES)]
