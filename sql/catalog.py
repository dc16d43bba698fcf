"""Open the lake in DuckDB: every table, every view, nothing that can be written.

A connection is a snapshot: it shows the commit that was newest when it was opened. DuckDB reaches the lake's files
through a file system of ours that opens committed files for reading and nothing else, so that a query can neither
write nor look elsewhere on the machine; and a lake in an object store needs no DuckDB extension.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from features.kinetics import kinetics_labels
from lake.errors import DamagedFile, OlderLake
from lake.older import OTHER_VERSION
from lake.state import State
from lake.store import Lake
from lake.tables import FEATURE_LENGTH, LABEL_RULES, TABLES, Table
from sql.committed_files import SCHEME, CommittedFiles
from sql.definitions import definitions, view_statements
from sql.export_file import written

COMPATIBLE = "v1.0.0"
"""Storage version of a written catalog: DuckDB 1.0 and all later clients open it."""

FILE_FACTS = ("table", "path", "partition", "rows", "bytes")
"""What table data_files says of a file."""


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A read-only DuckDB connection with all tables and views of the lake, as of its newest commit.

    Statements that write, attach, install or reach outside the lake fail.

    Raises:
        DamagedFile: a committed file is missing or altered.
        OlderLake: nothing says what a column that an older gliolake's file lacks should hold.
    """
    state = lake.state()
    files = CommittedFiles(lake, state)
    with damage_named(), tempfile.TemporaryDirectory(prefix="gliolake-catalog-") as folder:
        path = str(Path(folder, "catalog.duckdb"))
        with duckdb.connect(path) as writer:
            writer.register_filesystem(files)
            writer.execute("SET force_compression = 'uncompressed'")  # it is read for a while and gone
            writer.begin()  # one commit for all: each costs a wait for the disk
            for table in TABLES.values():
                if table.bulky:
                    continue
                writer.execute(f'CREATE VIEW "{table.name}" AS {_select(table, state)}')
            writer.execute(
                "SET VARIABLE label_rules = $rules::JSON::MAP(VARCHAR, INTEGER)", {"rules": json.dumps(LABEL_RULES)}
            )
            writer.execute("SET VARIABLE data_files = $files", {"files": _data_files(state)})
            writer.execute("SET VARIABLE kinetics_labels = $labels", {"labels": json.dumps(kinetics_labels())})
            for _, statement in view_statements():
                writer.execute(statement)
            writer.execute(_comments())
            writer.commit()
        # Once open, the file is needed no longer by name: it goes with its folder.
        connection = duckdb.connect(path, read_only=True)
    connection.register_filesystem(files)
    connection.execute(f"SET allowed_directories = ['{SCHEME}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def damage_named() -> Iterator[None]:
    """Inside, DuckDB's report of a file that cannot be read becomes the error that was raised when it was."""
    try:
        yield
    except duckdb.Error as error:
        if damage := re.search(r"DamagedFile: (.*)", str(error)):
            raise DamagedFile(damage[1], hint="`gliolake verify --repair` takes it out, to be made again.") from None
        if older := re.search(r"OlderLake: (.*)", str(error)):
            raise OlderLake(older[1], hint=OTHER_VERSION) from None
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
    rows = {}
    with written(target, overwrite=overwrite) as part, connect(lake) as source, duckdb.connect() as writer:
        writer.execute(f"ATTACH '{_quoted(str(part))}' AS written (STORAGE_VERSION '{COMPATIBLE}')")
        for name in relations(source):
            content = source.sql(f'SELECT * FROM "{name}"').to_arrow_table()
            rows[name] = content.num_rows
            writer.register("content", content)
            writer.execute(f'CREATE TABLE written."{name}" AS SELECT {_casts(content.schema)} FROM content')
            writer.unregister("content")
        writer.execute(_comments("written"))
    return rows


def relations(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Names of all tables and views, tables first, each in the order of their definition."""
    found = connection.sql(
        "SELECT view_name AS name, view_oid AS oid FROM duckdb_views() WHERE NOT internal "
        "UNION ALL SELECT table_name, table_oid FROM duckdb_tables() ORDER BY oid"
    )
    return [name for name, _ in found.fetchall()]


def _data_files(state: State) -> str:
    """The files of all tables as JSON, for table data_files."""
    files = [file for name in TABLES for file in state.of_table(name)]
    return json.dumps([{name: getattr(file, name) for name in FILE_FACTS} for file in files])


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
