"""What an installation without extras does, and what it says where a command needs one of them."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from gliolake.cluster.failures import fault_of_all
from gliolake.extras import EXTRAS, missing_extra
from gliolake.schema.registry import TABLES
from gliolake.storage.lake import Lake
from tests.support.rows import row

PROJECT = Path(__file__).parents[1]
ROOMS = ("gliolake", "ingest", "features", "sql", "modeling", "analysis")
BLOCKER = "import sys\nfor name in {names}:\n    sys.modules[name] = None\n"
"""A sitecustomize.py: the interpreter reads it first, in workers too."""


def imported(source: str) -> Iterator[str]:
    """The packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_the_extras_of_each_package_are_those_of_pyproject() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    del lists["dev"]
    asked = {extra: {re.split("[=<>]", one)[0] for one in listed} for extra, listed in lists.items()}
    modules = [path for room in ROOMS for path in (PROJECT / room).rglob("*.py")]
    used = {name for path in modules for name in imported(path.read_text("utf-8"))}
    installed = packages_distributions()
    found = {}
    for name in used:
        distributions = {one.lower().replace("_", "-") for one in installed.get(name, ())}
        extras = tuple(extra for extra, packages in asked.items() if packages & distributions)
        if extras and "" not in extras:
            found[name] = extras
    assert found == EXTRAS


class Bare:
    """The command line as if no package of an extra were installed."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(BLOCKER.format(names=[*EXTRAS]), "utf-8")
        self.environment = {**os.environ, "PYTHONPATH": str(folder), "GLIOLAKE_LAKE": str(folder / "lake")}

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code, and all that was printed."""
        command = [sys.executable, "-m", "gliolake", *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=PROJECT, capture_output=True, encoding="utf-8", timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def bare(tmp_path: Path, lake: Lake, label: Any) -> Bare:
    """A lake with a label and a scan, and a command line without extras."""

    def write(transaction: Any) -> None:
        transaction.upsert("labels", [label(1)])
        transaction.upsert("scans", [row(TABLES["scans"], 1)])

    lake.transact(write, run_id="made")
    return Bare(tmp_path)


def test_a_lake_is_asked_without_any_extra(bare: Bare) -> None:
    for arguments in (["--help"], ["status"]):
        code, said = bare.run(*arguments)
        assert code == 0, said
    code, said = bare.run("sql", "SELECT count(*) AS n FROM labels", "--format", "csv")
    assert (code, said.split()) == (0, ['"n"', "1"])


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["extract", "--workers", "1"], "extract"),
        (["preview", "scan-0001"], "report"),
        (["search", "--feature-set", "x"], "train"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(bare: Bare, arguments: list[str], extra: str) -> None:
    code, said = bare.run(*arguments)
    assert code == 2, said
    assert "is not installed" in said
    assert f"pip install 'gliolake[{extra}]'" in said
    assert "Traceback" not in said


def test_a_worker_that_lacks_an_extra_ends_the_run_with_the_same_words() -> None:
    error = fault_of_all(ModuleNotFoundError("No module named 'SimpleITK'", name="SimpleITK"))
    assert error is not None
    assert "SimpleITK" in str(error)
    assert "gliolake[extract]" in error.hint


def test_a_missing_module_of_our_own_is_a_fault_of_the_program() -> None:
    assert missing_extra(ModuleNotFoundError("No module named 'gliolake.none'", name="gliolake.none")) is None
