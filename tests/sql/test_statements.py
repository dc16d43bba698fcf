"""No statement is made from a name that a file gives: each is written out in the source, or was typed by who asks."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gliolake.sql.connection import opened
from gliolake.sql.statements import identifier, literal, statement

ROOT = Path(__file__).parents[2]
ROOMS = ("analysis", "features", "gliolake", "ingest", "modeling", "sql")

ASKING = {"sql", "execute", "executemany"}
"""Methods of a connection whose first argument is a statement."""

DOOR = {"statement", "identifier", "literal"}

TYPED = {
    ("sql/query.py", "query"): "who asks types it",
    ("sql/catalog.py", "_fill"): "the definitions of this room",
    ("sql/catalog.py", "write_catalog"): "comments of the definitions",
}
"""Functions that may ask what is not written out where they stand."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in [
        ROOT / "gliolake/cli/app.py",
        *(file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))),
    ]:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text("utf-8"))


PARTS: dict[type[ast.AST], Callable[[Any], Sequence[ast.AST]]] = {
    ast.Constant: lambda node: [],
    ast.JoinedStr: lambda node: node.values,
    ast.FormattedValue: lambda node: [node.value],
    ast.Starred: lambda node: [node.value],
    ast.List: lambda node: node.elts,
    ast.Tuple: lambda node: node.elts,
    ast.Dict: lambda node: node.values,
    ast.Subscript: lambda node: [node.value],
    ast.BinOp: lambda node: [node.left, node.right],
    ast.IfExp: lambda node: [node.body, node.orelse],
    ast.GeneratorExp: lambda node: [node.elt],
}
"""What has to be written out for a node to be."""


Named: TypeAlias = tuple[str, str]
"""A module's file, and a name in it."""


class Source:
    """What is written out in modules: constants, and functions that hand a statement on to DuckDB."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.trees = trees
        self.constants: dict[Named, list[ast.expr]] = {}
        self.imported: dict[Named, Named] = {}
        for path, tree in trees.items():
            for node in tree.body:
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    self.constants.setdefault((path, node.targets[0].id), []).append(node.value)
            for node in ast.walk(tree):
                for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                    origin = f"{(node.module or '').replace('.', '/')}.py"
                    self.imported[path, alias.asname or alias.name] = origin, alias.name

    def unfixed(self) -> list[str]:
        """Places where a statement depends on anything but the source."""
        carriers: dict[Named, int] = {}
        while True:
            found = dict(carriers)
            wrong = [
                place
                for path, tree in self.trees.items()
                for function in ast.walk(tree)
                if isinstance(function, ast.FunctionDef) and (path, function.name) not in TYPED
                for place in self._in_function(path, function, found)
            ]
            if found == carriers:
                return wrong
            carriers = found

    def _in_function(self, path: str, function: ast.FunctionDef, carriers: dict[Named, int]) -> Iterator[str]:
        """Statements that are not written out; a function that is handed one becomes a carrier instead."""
        parameters = [argument.arg for argument in function.args.args]
        for call in ast.walk(function):
            given = self._statement_of(path, call, carriers)
            if given is None or self.is_fixed(given, (path, function)):
                continue
            if isinstance(given, ast.Name) and given.id in parameters and not _values(function, given.id):
                carriers[path, function.name] = parameters.index(given.id)
            else:
                yield f"{path}:{given.lineno}: {ast.unparse(given)}"

    def _statement_of(self, path: str, call: ast.AST, carriers: dict[Named, int]) -> ast.expr | None:
        """The argument of a call that is a statement."""
        if not isinstance(call, ast.Call) or not call.args:
            return None
        if isinstance(call.func, ast.Attribute):
            return call.args[0] if call.func.attr in ASKING else None
        name = getattr(call.func, "id", "")
        place = carriers.get(self.imported.get((path, name), (path, name)))
        return call.args[place] if place is not None and place < len(call.args) else None

    def is_fixed(self, node: ast.AST, scope: tuple[str, ast.AST], above: tuple[str, ...] = ()) -> bool:
        """Whether what a node says is in the source, but for names that went through the door."""
        if isinstance(node, ast.Name):
            return node.id in above or self._stands_for_fixed(node.id, scope, above)
        if isinstance(node, ast.Call):
            called = getattr(node.func, "id", "")
            if called in DOOR - {"statement"}:
                return True
            joins = isinstance(node.func, ast.Attribute) and node.func.attr == "join"
            return (called == "statement" or joins) and self.is_fixed(node.args[0], scope, above)
        parts = PARTS.get(type(node))
        return parts is not None and all(self.is_fixed(part, scope, above) for part in parts(node))

    def _stands_for_fixed(self, name: str, scope: tuple[str, ast.AST], above: tuple[str, ...]) -> bool:
        path, within = scope
        if values := _values(within, name):
            return all(self.is_fixed(value, scope, (*above, name)) for value in values)
        origin = self.imported.get((path, name), (path, name))
        written = self.constants.get(origin, []) if name.isupper() else []
        return bool(written) and all(self.is_fixed(value, (origin[0], value)) for value in written)


def _values(scope: ast.AST, name: str) -> list[ast.expr]:
    """What a name stands for in a scope: all that is assigned to it there, or what a comprehension takes it from."""
    values: list[ast.expr] = []
    for node in ast.walk(scope):
        if isinstance(node, ast.comprehension) and getattr(node.target, "id", "") == name:
            values.append(node.iter)
        for target in node.targets if isinstance(node, ast.Assign) else ():
            both = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            pairs = zip(target.elts, node.value.elts, strict=True) if both else [(target, node.value)]
            values += [value for each, value in pairs if getattr(each, "id", "") == name]
    return values


def test_statements_are_written_out_in_the_source_and_names_go_through_one_door() -> None:
    assert Source(dict(modules())).unfixed() == []


@pytest.mark.parametrize(
    "code",
    [
        "def f(c, name):\n    c.sql(f'FROM {name}')\nf(1, row['name'])",
        "def f(c, row):\n    c.execute('FROM ' + row)\ndef g(c):\n    f(c, input())",
        "def ask(c, query):\n    return c.sql(query)\ndef g(c, row):\n    ask(c, f'FROM {row.name}')",
        "def f(c, rows):\n    c.sql(' '.join(f'FROM {row}' for row in rows))",
        "def f(c, path):\n    text = open(path).read()\n    c.sql(text)",
        "def f(c, name):\n    text = 'FROM x'\n    text = name + text\n    c.sql(text)",
        "def f(c, name):\n    c.sql(statement(name, relation='a'))",
        "def f(c, name):\n    c.sql('FROM {}'.format(name))",
        "def f(c, name):\n    c.sql('FROM %s' % name)",
    ],
)
def test_the_search_finds_a_statement_that_is_made_of_a_value(code: str) -> None:
    assert Source({"made.py": ast.parse(code)}).unfixed()


@pytest.mark.parametrize(
    "code",
    [
        "Q = 'FROM a'\ndef f(c, name):\n    c.sql(Q, params=[name])",
        "def f(c, name):\n    c.sql(statement('FROM {a}', a=name))",
        "def ask(c, query):\n    return c.sql(query)\ndef g(c):\n    ask(c, 'FROM a')",
    ],
)
def test_the_search_passes_over_what_is_written_out(code: str) -> None:
    assert Source({"made.py": ast.parse(code)}).unfixed() == []


def test_duckdb_is_opened_in_one_place() -> None:
    used = {
        (path, ast.unparse(node))
        for path, tree in modules()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "duckdb")
        or (isinstance(node, ast.ImportFrom) and node.module == "duckdb")
    }
    harmless = {"duckdb.DuckDBPyConnection", "from duckdb import DuckDBPyConnection", "duckdb.Error"}
    errors = {name for _, name in used if name.endswith("Exception")}
    assert used - {(path, name) for path, name in used if name in harmless | errors} == {
        ("sql/connection.py", "duckdb.connect")
    }


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_name_is_a_name_and_a_text_a_text_whatever_they_hold(text: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(statement("CREATE TABLE {table} ({column} INTEGER)", table=text, column=text))
        (found,) = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
        assert found == (text, text)
        assert connection.execute(f"SELECT {literal(text)}, 1 AS {identifier(text)}").fetchall() == [(text, 1)]


@pytest.mark.parametrize(
    "asked",
    ["ATTACH 'other.duckdb'", "COPY (SELECT 1) TO 'out.csv'", "FROM read_text('/etc/passwd')", "LOAD httpfs",
     "SET enable_external_access = true", "SET lock_configuration = false", "INSTALL httpfs", "FROM glob('*')",
     "SELECT getenv('HOME')", "EXPORT DATABASE 'out'", "RESET autoload_known_extensions", "FROM text"],
)  # fmt: skip
def test_a_connection_is_locked_before_anything_can_be_asked_also_one_that_writes(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = {"a": [1]}
    for path in (":memory:", str(tmp_path / "new.duckdb")):
        with opened(path) as connection:
            with pytest.raises(duckdb.Error):
                connection.execute(asked).fetchall()
            connection.execute("CREATE TABLE a AS SELECT 1 AS a")
    assert text == {"a": [1]}
    assert [file.name for file in tmp_path.iterdir()] == ["new.duckdb"]
