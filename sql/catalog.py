"""Open the lake in DuckDB: every table, every view, nothing that can be written.

A connection is a snapshot: it shows the commit that was newest when it was opened. What many views rest on is computed
once, and kept for later connections until a table that it is from changes (``sql.kept_catalog``). DuckDB reaches the
lake's files through a file system of ours that opens committed files for reading and nothing else, so that a query can
neither write nor look elsewhere on the machine; and a lake in an object store needs no DuckDB extension.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow as pa

from features.kinetics import kinetics_labels
from lake.errors import DamagedFile, OlderLake
from lake.older import OTHER_VERSION
from lake.state import State
from lake.store import Lake
from lake.tables import FEATURE_LENGTH, LABEL_RULES, TABLES, Table
from sql import kept_catalog
from sql.committed_files import SCHEME, CommittedFiles
from sql.definitions import definitions, view_statements
from sql.export_file import written

COMPATIBLE = "v1.0.0"
"""Storage version of a written catalog: DuckDB 1.0 and all later clients open it."""


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
        # Once open, the file is needed no longer by name: it goes with its folder.
        kept, anew, key = Path(folder, "kept.duckdb"), Path(folder, "anew.duckdb"), _made_of(state)
        connection = _kept(lake, key, kept) or _anew(lake, key, anew, files)
    connection.register_filesystem(files)
    connection.execute(f"SET allowed_directories = ['{SCHEME}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute("SET autoload_known_extensions = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _kept(lake: Lake, key: str, path: Path) -> duckdb.DuckDBPyConnection | None:
    """The kept catalog, put at ``path`` and opened; None where there is none that can be."""
    if (kept := kept_catalog.find(lake.files, key)) is None:
        return None
    path.write_bytes(kept)
    with suppress(duckdb.Error):  # a stranger's lake may call anything a catalog
        return duckdb.connect(str(path), read_only=True)
    return None


def _anew(lake: Lake, key: str, path: Path, files: CommittedFiles) -> duckdb.DuckDBPyConnection:
    """A catalog made at ``path``, kept in the lake, and opened."""
    _make(path, files)
    kept_catalog.keep(lake.files, key, path.read_bytes())
    return duckdb.connect(str(path), read_only=True)


def _make(path: Path, files: CommittedFiles) -> None:
    """Write the catalog: views of all tables, and the definitions of this room, those computed once with their rows."""
    with duckdb.connect(str(path)) as writer:
        writer.register_filesystem(files)
        writer.execute("SET force_compression = 'uncompressed'")  # it is read for a while and gone
        writer.begin()  # one commit for all: each costs a wait for the disk
        for name, value in variables().items():
            writer.execute(f"SET VARIABLE {name} = $value", {"value": value})
        for statement in _statements():
            writer.execute(statement)
        writer.commit()


def variables() -> dict[str, str]:
    """What the definitions take from Python, as JSON by name."""
    return {"label_rules": json.dumps(LABEL_RULES), "kinetics_labels": json.dumps(kinetics_labels())}


def _statements() -> tuple[str, ...]:
    """What makes a catalog, in order. It is the same for all lakes: which files a table has, is asked by each query."""
    tables = (f'CREATE VIEW "{table.name}" AS {select(table)}' for table in TABLES.values() if not table.bulky)
    return (*tables, *(text for _, text in view_statements()), _comments())


def computed_from() -> frozenset[str]:
    """The tables of whose rows a catalog holds anything: those that are read by what is computed once."""
    made, seen = definitions(), set[str]()
    ahead = [name for name, each in made.items() if each.kind == "TABLE"]
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += made[name].reads if name in made else ()
    return frozenset(seen & TABLES.keys())


def _made_of(state: State) -> str:
    """Digest of all that a catalog depends on: programs, definitions, and the files of whose rows it holds anything."""
    files = [[file.path, file.sha256] for table in sorted(computed_from()) for file in state.of_table(table)]
    parts = [version("gliolake"), duckdb.__version__, *variables().values(), *_statements(), *files]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def wrong_kept_catalog(lake: Lake) -> str:
    """Where the kept catalog lies, if it is other than one made anew: no commit vouches for it. Else "".

    Raises:
        DamagedFile, OlderLake: as ``connect``.
    """
    state = lake.state()
    key = _made_of(state)
    kept = kept_catalog.find(lake.files, key)
    if kept is None:
        return ""
    with damage_named(), tempfile.TemporaryDirectory(prefix="gliolake-catalog-") as folder:
        found, anew = Path(folder, "found.duckdb"), Path(folder, "anew.duckdb")
        found.write_bytes(kept)
        _make(anew, CommittedFiles(lake, state))
        return "" if _content(found) == _content(anew) else kept_catalog.path_of(key)


def _content(catalog: Path) -> list[list[tuple[object, ...]]]:
    """What a catalog holds: the SQL of its views and macros, and of each table the rows, summed up in a number."""
    with duckdb.connect(str(catalog), read_only=True) as connection:
        tables = connection.sql("SELECT table_name, sql FROM duckdb_tables() ORDER BY ALL").fetchall()
        return [
            tables,
            connection.sql("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL").fetchall(),
            connection.sql(
                "SELECT function_name, macro_definition FROM duckdb_functions() WHERE NOT internal ORDER BY ALL"
            ).fetchall(),
            *(
                connection.sql(f'SELECT count(*), sum(hash(each)::HUGEINT) FROM "{name}" AS each').fetchall()
                for name, _ in tables
            ),
        ]


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


def select(table: Table) -> str:
    """SQL for a table's committed rows, with the types and order of its schema."""
    columns = ", ".join(f'"{field.name}"::{_type(field)} AS "{field.name}"' for field in table.schema)
    return (
        f"SELECT {columns} FROM read_parquet('{SCHEME}{table.name}/*', "
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
