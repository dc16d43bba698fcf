"""The data dictionary: every table and view, column by column, for people, scripts and exported files.

Tables are described in ``gliolake.schema``; views by the comments above them in the SQL files
(``gliolake.sql.definitions``). A view's column that its comment does not describe is described as the column of the
same name and type in what the view reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from gliolake.atomic import replaced
from gliolake.process.signals import temporary_folder
from gliolake.schema.registry import TABLES
from gliolake.sql.catalog import connect
from gliolake.sql.cells import RULES
from gliolake.sql.definitions import Definition, definitions
from gliolake.storage.lake import Lake
from gliolake.target import marked

DOCUMENT = Path("docs/data-dictionary.md")
REMAKE = f"gliolake dictionary --output {DOCUMENT} --overwrite"
"""The command that makes the document anew."""


@dataclass(frozen=True)
class Column:
    """A column: its name, DuckDB type and description. optional: whether it may be null, where that is laid down."""

    name: str
    type: str
    doc: str
    optional: bool | None = None


@dataclass(frozen=True)
class Relation:
    """A table or view. ``key`` names the columns that identify a row, ``partition_by`` those of which folders are."""

    name: str
    kind: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overview:
    """All tables and views, a line to each."""

    relations: Mapping[str, Relation]


DICTIONARY = marked("a data dictionary", opens=b"# Data dictionary\n", bears=b"`gliolake dictionary --output", ends=b"")


def write(relations: Iterable[Relation], target: Path, *, overwrite: bool = False) -> None:
    """Write the document of ``markdown``; ``overwrite`` replaces one that is there.

    Raises:
        InputError: it may not be written there.
        StorageFull: no space is left.
    """
    with replaced(target, overwrite=overwrite, own=DICTIONARY) as file:
        file.write(markdown(relations).encode())


def dictionary(connection: duckdb.DuckDBPyConnection | None = None) -> dict[str, Relation]:
    """Every table and view by name, tables first, then views in the order of their definition.

    Args:
        connection: one to any lake; to an empty one that is made for it where None. It tells the types.
    """
    if connection is None:
        with temporary_folder("dictionary") as folder:
            lake = Lake(folder / "lake", create=True)
            with connect(lake) as empty:
                return dictionary(empty)
    types = _types(connection)
    found = {name: _table(name, types) for name in TABLES}
    for made in definitions().values():
        if made.kind != "MACRO":
            found[made.name] = _view(made, types, found)
    return found


def _types(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Columns of every relation, in order, and their DuckDB types."""
    types: dict[str, dict[str, str]] = {}
    asked = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
    for relation, column, kind in connection.execute(asked).fetchall():
        types.setdefault(relation, {})[column] = kind
    return types


def _table(name: str, types: Mapping[str, Mapping[str, str]]) -> Relation:
    table = TABLES[name]
    known = types.get(name, {})  # of a bulky table the catalog knows nothing
    columns = tuple(Column(c.name, known.get(c.name, str(c.type)), c.doc, c.optional) for c in table.columns)
    return Relation(name, "table", table.doc, columns, table.key, table.partition_by)


def _view(made: Definition, types: Mapping[str, Mapping[str, str]], known: Mapping[str, Relation]) -> Relation:
    """A view, with columns described by its own comment or by the first relation it reads that has such a column."""
    sources = [known[source].columns for source in reversed(made.reads) if source in known]
    read = {(column.name, column.type): column.doc for columns in sources for column in columns if column.doc}
    columns = tuple(
        Column(c, kind, made.columns.get(c) or read.get((c, kind), "")) for c, kind in types[made.name].items()
    )
    return Relation(made.name, "view" if made.kind == "VIEW" else "view, computed once", made.doc, columns)


def markdown(relations: Iterable[Relation]) -> str:
    """The dictionary as a document. Columns that another relation has just so are told once."""
    relations = list(relations)
    lines = [*_INTRODUCTION, "", *(f"- **{topic}**: {_escaped(rule)}" for topic, rule in RULES.items()), ""]
    lines += ["## All of them", "", ", ".join(f"[{each.name}](#{each.name})" for each in relations)]
    told: dict[tuple[Column, ...], str] = {}
    for relation in relations:
        lines += ["", f"## {relation.name}", "", f"*{relation.kind}*: {_escaped(relation.doc)}"]
        if relation.key:
            folders = f" Folders: {', '.join(relation.partition_by)}." if relation.partition_by else ""
            lines += ["", _escaped(f"Key: {', '.join(relation.key)}.{folders}")]
        same = told.setdefault(relation.columns, relation.name)
        lines += ["", *(_table_of(relation.columns) if same == relation.name else [f"Columns: as [{same}](#{same})."])]
    return "\n".join(lines) + "\n"


def _table_of(columns: Iterable[Column]) -> Iterator[str]:
    yield from ("| column | type | what it is |", "|---|---|---|")
    for column in columns:
        null = " (may be null)" if column.optional else ""
        yield f"| {_escaped(column.name)} | {_escaped(column.type)} | {_escaped(column.doc)}{null} |"


def _escaped(text: str) -> str:
    return re.sub(r"([|<*_\[\]])", r"\\\1", text)


_INTRODUCTION = f"""# Data dictionary

What every table and view of a lake holds. Made from `gliolake/schema/` and the comments in `sql/views/*.sql`
by `{REMAKE}`; a test fails when it is not current. `gliolake dictionary NAME` prints one.

A *table* is what commands write. A *view* is computed by each query that reads it; a *view, computed once*, when a
connection is opened.

## How exported files write it

`gliolake export NAME --format csv` (or tsv, xlsx, parquet) writes a table or view as it is. `gliolake export
--bids DIR` writes the patients as a BIDS derivative dataset; it alone caps ages at 89 years.
All other files:""".splitlines()
