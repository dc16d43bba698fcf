"""The SQL files of this package: their definitions, and the comment above each definition as its description.

The comment directly above a CREATE VIEW, TABLE or MACRO is its description. Columns that the view itself makes may be
described at its end, a line to a column, indented by three spaces, and by five where a line goes on::

    -- One row per thing.
    --   share: what it is, in its unit
    --     (0 to 1)
    CREATE VIEW things AS
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resource_files

_DEFINITION = re.compile(r"((?:^--.*\n)*)^CREATE (VIEW|TABLE|MACRO) (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Definition:
    """A view, a table that is computed when a connection opens, or a macro.

    kind: VIEW, TABLE or MACRO. doc: its description, on one line; empty where there is none.
    columns: descriptions of columns that it makes. reads: what stands after FROM or JOIN in its SQL, in order:
    relations, and its own common table expressions. ordered: whether its rows come in an order of its own.
    """

    kind: str
    name: str
    doc: str
    columns: Mapping[str, str]
    reads: tuple[str, ...]
    ordered: bool


@cache
def view_statements() -> tuple[tuple[str, str], ...]:
    """The SQL files of this package, name and text, in order."""
    folder = resource_files("gliolake.sql").joinpath("views")
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return tuple((name, folder.joinpath(name).read_text("utf-8")) for name in names)


@cache
def definitions() -> Mapping[str, Definition]:
    """All definitions by name, in order."""
    return {each.name: each for _, text in view_statements() for each in parse(text)}


def parse(text: str) -> list[Definition]:
    """The definitions of one SQL file, in order."""
    heads = list(_DEFINITION.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return [_definition(head, text[head.end() : end]) for head, end in zip(heads, ends, strict=True)]


def _definition(head: re.Match[str], body: str) -> Definition:
    comment, kind, name = head.groups()
    doc, *lines = re.split(r"^--   (?=\w+: )", comment, flags=re.MULTILINE)
    columns = dict(_one_line(line).split(": ", 1) for line in lines)
    code = re.sub(r"'[^']*'", "''", re.sub(r"--.*", "", body))
    reads = tuple(dict.fromkeys(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", code)))
    return Definition(kind, name, _one_line(doc), columns, reads, "ORDER BY" in _outermost(code))


def _one_line(comment: str) -> str:
    return " ".join(re.sub(r"^--", "", comment, flags=re.MULTILINE).split())


def _outermost(code: str) -> str:
    """SQL without what stands in parentheses."""
    while (less := re.sub(r"\([^()]*\)", "", code)) != code:
        code = less
    return code
