"""Open the lake in DuckDB: every table, every view, nothing that can be written.

A connection is a snapshot: it shows the commit that was newest when it was opened. DuckDB reaches the lake's files
through a file system of ours that opens committed files for reading and nothing else, so that a query can neither
write nor look elsewhere on the machine; and a lake in an object store needs no DuckDB extension.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
from fsspec.spec import AbstractFileSystem

from lake.errors import DamagedFile, InputError
from lake.log import DataFile, State
from lake.store import Lake
from lake.tables import FEATURE_LENGTH, LABEL_RULES, TABLES, Table
from sql.definitions import definitions, view_statements

SCHEME = "lake://"
COMPATIBLE = "v1.0.0"
"""Storage version of a written catalog: DuckDB 1.0 and all later clients open it."""

RULES_DOC = "One row per label rule: from so many methylated CpG sites on, it calls a tumour methylated."
"""What is said of the table label_rules, which holds ``lake.tables.LABEL_RULES``."""


class CommittedFiles(AbstractFileSystem):  # type: ignore[misc]
    """The committed files of one snapshot, for DuckDB to read."""

    protocol = SCHEME.removesuffix("://")
    cachable = False

    def __init__(self, lake: Lake, state: State) -> None:
        super().__init__()
        self.lake = lake
        self.state = state

    def _committed(self, path: str) -> DataFile:
        try:
            return self.state.files[path.removeprefix(SCHEME).lstrip("/")]
        except KeyError:
            raise FileNotFoundError(path) from None

    def _open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        if mode != "rb":
            raise PermissionError("The lake is read-only for queries.")
        return io.BytesIO(self.lake.content(self._committed(path)))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name and size, as fsspec wants them."""
        return {"name": path, "size": self._committed(path).bytes, "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Whether the path is a committed file."""
        return path.removeprefix(SCHEME).lstrip("/") in self.state.files

    def modified(self, path: str) -> datetime:
        """A constant: committed files never change."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: patterns are not offered, since only committed files may be read."""
        return [path] if self.exists(path) else []


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A read-only DuckDB connection with all tables and views of the lake, as of its newest commit.

    Statements that write, attach, install or reach outside the lake fail.

    Raises:
        DamagedFile: a committed file is missing or altered.
    """
    state = lake.state()
    with damage_named(), tempfile.TemporaryDirectory(prefix="gliolake-catalog-") as folder:
        path = str(Path(folder, "catalog.duckdb"))
        with duckdb.connect(path) as writer:
            writer.register_filesystem(CommittedFiles(lake, state))
            writer.begin()  # one commit for all: each costs a wait for the disk
            for table in TABLES.values():
                if table.bulky:
                    continue
                writer.execute(f'CREATE VIEW "{table.name}" AS {_select(table, state)}')
            writer.execute("CREATE TABLE label_rules (label_rule VARCHAR, fewest_sites INTEGER)")
            writer.executemany("INSERT INTO label_rules VALUES (?, ?)", list(LABEL_RULES.items()))
            for _, statement in view_statements():
                writer.execute(statement)
            writer.execute(_comments())
            writer.commit()
        # Once open, the file is needed no longer by name: it goes with its folder.
        connection = duckdb.connect(path, read_only=True)
    connection.register_filesystem(CommittedFiles(lake, state))
    connection.execute(f"SET allowed_directories = ['{SCHEME}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def damage_named() -> Iterator[None]:
    """Inside, DuckDB's report of a damaged file becomes the error that was raised when it was read."""
    try:
        yield
    except duckdb.Error as error:
        if damage := re.search(r"DamagedFile: (.*)", str(error)):
            raise DamagedFile(damage[1], hint="`gliolake verify --repair` takes it out, to be made again.") from None
        raise


def write_catalog(lake: Lake, target: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Write a DuckDB file that holds all tables and, computed, all views, and needs neither the lake nor gliolake.

    Args:
        lake: the lake.
        target: the file to write.
        overwrite: replace the file if it is there.

    Returns:
        Rows by table and view.

    Raises:
        InputError: the file is there and ``overwrite`` is off, or its folder is not.
    """
    if target.exists() and not overwrite:
        raise InputError(f"{target} is there already.", hint="Give another name, or --overwrite.")
    if not target.parent.is_dir():
        raise InputError(f"The folder {target.parent} does not exist.")
    rows = {}
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    with connect(lake) as source, duckdb.connect() as writer:
        writer.execute(f"ATTACH '{_quoted(str(part))}' AS written (STORAGE_VERSION '{COMPATIBLE}')")
        for name in relations(source):
            content = source.sql(f'SELECT * FROM "{name}"').to_arrow_table()
            rows[name] = content.num_rows
            writer.register("content", content)
            writer.execute(f'CREATE TABLE written."{name}" AS SELECT {_casts(content.schema)} FROM content')
            writer.unregister("content")
        writer.execute(_comments("written"))
    part.replace(target)
    return rows


def relations(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Names of all tables and views, tables first, each in the order of their definition."""
    found = connection.sql(
        "SELECT view_name AS name, view_oid AS oid FROM duckdb_views() WHERE NOT internal "
        "UNION ALL SELECT table_name, table_oid FROM duckdb_tables() ORDER BY oid"
    )
    return [name for name, _ in found.fetchall()]


def _select(table: Table, state: State) -> str:
    """SQL for a table's committed rows, with the types and order of its schema."""
    files = state.of_table(table.name)
    if not files:
        nulls = ", ".join(f'NULL::{_type(field)} AS "{field.name}"' for field in table.schema)
        return f"SELECT {nulls} WHERE false"
    paths = ", ".join("'" + (SCHEME + file.path).replace("'", "''") + "'" for file in files)
    columns = ", ".join(f'"{field.name}"::{_type(field)} AS "{field.name}"' for field in table.schema)
    return (
        f"SELECT {columns} FROM read_parquet([{paths}], hive_partitioning = {str(bool(table.partition_by)).lower()}"
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
        return "STRUCT(" + ", ".join(f'"{field.name}" {_duckdb_type(field.type)}' for field in kind) + ")"
    return {
        "string": "VARCHAR",
        "int32": "INTEGER",
        "int64": "BIGINT",
        "float": "FLOAT",
        "double": "DOUBLE",
        "bool": "BOOLEAN",
        "timestamp[us, tz=UTC]": "TIMESTAMPTZ",
    }[str(kind)]


def _comments(catalog: str = "") -> str:
    """SQL that puts its description on every relation; in a written catalog all are tables."""
    told = [("VIEW", table.name, table.doc) for table in TABLES.values() if not table.bulky]
    told += [("TABLE", "label_rules", RULES_DOC)]
    told += [(each.kind, each.name, each.doc) for each in definitions().values() if each.kind != "MACRO"]
    if catalog:
        told = [("TABLE", f'{catalog}"."{name}', doc) for _, name, doc in told]
    return ";\n".join(f"COMMENT ON {kind} \"{name}\" IS '{_quoted(doc)}'" for kind, name, doc in told)


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _casts(schema: pa.Schema) -> str:
    return ", ".join(
        f'"{field.name}"::FLOAT[{FEATURE_LENGTH}] AS "{field.name}"' if field.name == "values" else f'"{field.name}"'
        for field in schema
    )
