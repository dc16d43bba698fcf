"""No module of the product imports, through others, itself: not lazily, and not for types alone."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gliolake

ROOT = Path(gliolake.__file__).parent


def imports(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Of each module, those of the others that it imports anywhere in its source, or runs with ``python -m``."""
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                wanted.add(node.value)  # the name of a program that is run in a process of its own
        graph[module] = wanted & sources.keys() - {module}
    return graph


def cycle(sources: Mapping[str, str]) -> list[str]:
    """The modules of a cycle of imports, or none."""
    try:
        TopologicalSorter(imports(sources)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_through_others() -> None:
    rooms = [path for path in ROOT.iterdir() if path.is_symlink()]  # rglob does not go through links
    files = {path for folder in (ROOT, *rooms) for path in folder.rglob("*.py") if path.name != "__init__.py"}
    sources = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path.read_text("utf-8") for path in files}
    assert {"gliolake.sql.query", "gliolake.storage.lake", "gliolake.analysis.case.answer"} <= sources.keys()
    assert cycle(sources) == []


@pytest.mark.parametrize(
    "back",
    ["import a", "def f():\n    from a import g", "if TYPE_CHECKING:\n    from a import T", "run(['-m', 'a'])"],
)
def test_a_cycle_is_found_however_it_is_closed(back: str) -> None:
    assert cycle({"a": "import b", "b": "from c import x", "c": back, "d": "import a"})
    assert not cycle({"a": "import b", "b": "from c import x", "c": "", "d": back})
