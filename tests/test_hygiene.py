"""The tests' own rules: helpers stand in tests/support, names are short, and a private name of the product stays so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = [path for path in TESTS.rglob("*.py") if "corpus" not in path.parts]


def broken(source: str) -> list[str]:
    """What a module of tests must not have: imports of test modules or private names, names over 100 characters."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [alias.name for alias in node.names]
            parts = [*node.module.split("."), *names]
            if parts[0] == "tests" and any(part.startswith("test_") or part == "conftest" for part in parts):
                found.append(f"imports a module of tests: {node.module}")
            if parts[0] == "gliolake" and any(name.startswith("_") for name in names):
                found.append(f"imports a private name: {node.module}")
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and len(node.name) > 100:
            found.append(f"is too long a name: {node.name}")
    return found


def test_no_test_imports_another_or_a_private_name_and_names_are_short() -> None:
    assert {path.name: found for path in FILES if (found := broken(path.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    ["from tests.sql.test_query import x", "from tests.conftest import x", "from gliolake.atomic import _x",
     f"def test_{'x' * 100}(): pass"],
)  # fmt: skip
def test_a_broken_rule_is_found(source: str) -> None:
    assert broken(source)
