"""Opens the lake in DuckDB: every table and every view, read-only.

A connection is a snapshot: it shows the commit that was newest when it was opened. What many views rest on is computed
once, when it is opened. DuckDB reaches the lake's files through a file system of ours that opens committed files for
reading and nothing else, so that a query can neither write nor look elsewhere on the machine; and a lake in an object
store needs no DuckDB extension. Names in statements come from our definitions, never from a file.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa

from gliolake.atomic import replaced_path
from gliolake.collections import COLLECTIONS, parts
from gliolake.errors import within
from gliolake.schema.kinetics import kinetics_labels
from gliolake.schema.registry import TABLES
from gliolake.schema.types import Table
from gliolake.schema.vocabulary import FEATURE_LENGTH, LABEL_RULES
from gliolake.sql.committed_files import SCHEME, CommittedFiles
from gliolake.sql.connection import opened, waited_for
from gliolake.sql.definitions import definitions, view_statements
from gliolake.sql.memory_file import NO_JOURNAL
from gliolake.sql.statements import identifier, literal
from gliolake.storage.lake import Lake
from gliolake.target import Own

COMPATIBLE = "v1.0.0"
"""Storage version of a written catalog: DuckDB 1.0 and all later clients open it."""


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A read-only DuckDB connection with all tables and views of the lake, as of its newest commit.

    Statements that write, attach, install or reach outside the lake fail.

    Raises:
        DamagedFile: a committed file is missing or altered.
        StaleSnapshot: a commit made meanwhile replaced a file, and it is gone already.
    """
    files = CommittedFiles(lake, lake.state())
    with damage_named():
        _make(files)
        return opened(files.catalog.path, files, read_only=True)


def _make(files: CommittedFiles) -> None:
    """Write the catalog: views of all tables, the definitions of this package, and the rows of computed tables."""
    uncompressed = {"force_compression": "uncompressed"}  # it is read for a while, and gone
    with opened(files.catalog.path, files, config=NO_JOURNAL | uncompressed) as writer:
        waited_for(writer, lambda: _fill(writer))


def _fill(writer: duckdb.DuckDBPyConnection) -> None:
    writer.begin()
    for name, value in variables().items():
        writer.execute(f"SET VARIABLE {identifier(name)} = $value", {"value": value})
    for statement in _statements():
        writer.execute(statement)
    writer.commit()


def variables() -> dict[str, str]:
    """What the definitions take from Python, as JSON by name."""
    return {
        "label_rules": json.dumps(LABEL_RULES),
        "kinetics_labels": json.dumps(kinetics_labels()),
        "collections": json.dumps(
            {name: {"ids": one.ids, "cohorts": one.cohorts} for name, one in COLLECTIONS.items()}
        ),
        "collection_parts": json.dumps(parts()),
    }


def _statements() -> tuple[str, ...]:
    """What makes a catalog, in order. It is the same for all lakes: which files a table has, is asked by each query."""
    shown = (table for table in TABLES.values() if not table.bulky)
    tables = (f"CREATE VIEW {identifier(table.name)} AS {select(table)}" for table in shown)
    return (*tables, *(text for _, text in view_statements()), *_comments())


@contextmanager
def damage_named() -> Iterator[None]:
    """Inside, DuckDB's report of a file that cannot be read becomes the error that was raised when it was read."""
    try:
        yield
    except duckdb.Error as error:
        if ours := within(str(error)):
            raise ours from None
        raise


@contextmanager
def _disk_named() -> Iterator[None]:
    """Inside, DuckDB's report of a disk that takes no more becomes the system's own."""
    try:
        yield
    except duckdb.Error as error:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise


def write_catalog(lake: Lake, target: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Write a DuckDB file that holds all tables and, computed, all views, and needs neither the lake nor gliolake.

    Args:
        lake: the lake.
        target: the file to write.
        overwrite: replace a catalog that is there.

    Returns:
        Rows by table and view.

    Raises:
        InputError: the file may not be written there.
        StorageFull: no space is left.
    """
    rows = {}
    with (
        replaced_path(target, overwrite=overwrite, own=CATALOG) as part,
        _disk_named(),
        connect(lake) as source,
        opened(str(part), config=NO_JOURNAL | {"storage_compatibility_version": COMPATIBLE}) as writer,
    ):
        writer.begin()
        for name in relations():
            content = source.sql(f"FROM {identifier(name)}").to_arrow_table()
            rows[name] = content.num_rows
            writer.register("content", content)
            writer.execute(f"CREATE TABLE {identifier(name)} AS FROM content")
            writer.unregister("content")
        for statement in _comments(written=True):
            writer.execute(statement)
        writer.commit()
    return rows


def _is_ours(file: Path) -> bool:
    """Whether a DuckDB file holds what ``write_catalog`` writes, and nothing else."""
    if Path(f"{file}.wal").exists():  # another program is writing, or has not ended well
        return False
    with suppress(duckdb.Error), opened(str(file), read_only=True) as connection:
        asked = "SELECT table_name FROM duckdb_tables() WHERE comment IS NOT NULL"
        ours = {name for (name,) in connection.sql(asked).fetchall()} & set(relations())
        asked = """
            SELECT (SELECT count(*) FROM duckdb_tables()) + count(*) FROM (
                SELECT view_name FROM duckdb_views() WHERE NOT internal
                UNION ALL SELECT function_name FROM duckdb_functions() WHERE NOT internal
                UNION ALL SELECT sequence_name FROM duckdb_sequences()
                UNION ALL SELECT type_name FROM duckdb_types() WHERE NOT internal AND database_name = current_database()
                UNION ALL SELECT schema_name FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main'
            )"""
        ((everything,),) = connection.sql(asked).fetchall()
        return bool(ours) and everything == len(ours)
    return False


CATALOG = Own(kind="a catalog", recognises=_is_ours)


def relations() -> list[str]:
    """Names of all tables and views, tables first, each in the order of their definition."""
    return [name for name, _, _ in _described()]


def select(table: Table) -> str:
    """SQL for a table's committed rows, with the types and order of its schema."""
    names = [(identifier(field.name), _type(field)) for field in table.schema]
    columns = ", ".join(f"{name}::{kind} AS {name}" for name, kind in names)
    return (
        f"SELECT {columns} FROM read_parquet({literal(f'{SCHEME}{table.name}/*')}, "
        f"hive_partitioning = {str(bool(table.partition_by)).lower()}"
        f"{', hive_types_autocast = false' if table.partition_by else ''})"
    )


def _type(field: pa.Field) -> str:
    if field.name == "values":
        return f"FLOAT[{FEATURE_LENGTH}]"
    return _duckdb_type(field.type)


def _duckdb_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return _duckdb_type(kind.value_type) + "[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f"{identifier(field.name)} {_duckdb_type(field.type)}" for field in kind) + ")"
    return {
        "string": "VARCHAR",
        "int32": "INTEGER",
        "int64": "BIGINT",
        "float": "FLOAT",
        "double": "DOUBLE",
        "bool": "BOOLEAN",
        "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
    }[str(kind)]


def _described() -> Iterator[tuple[str, str, str]]:
    """Name, kind and description of each relation, in order."""
    yield from ((table.name, "VIEW", table.doc) for table in TABLES.values() if not table.bulky)
    yield from ((each.name, each.kind, each.doc) for each in definitions().values() if each.kind != "MACRO")


def _comments(*, written: bool = False) -> Iterator[str]:
    """SQL that puts its description on every relation; in a written catalog all are tables."""
    for name, kind, doc in _described():
        yield f"COMMENT ON {'TABLE' if written else kind} {identifier(name)} IS {literal(doc)}"
