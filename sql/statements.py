"""Builds statements from checked names. Values are never part of a statement: they are its parameters."""

from __future__ import annotations

from collections.abc import Iterable


def statement(template: str, **names: str | Iterable[str]) -> str:
    """A statement whose places in braces are filled with names, each of which DuckDB reads as a name and nothing else.

    Args:
        template: the statement, written out where this is called.
        names: by place the name of a relation or column, or several, which are parted by commas.
    """
    return template.format_map({place: _listed(name) for place, name in names.items()})


def identifier(name: str) -> str:
    """A name in double quotes, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in single quotes, for the few statements of DuckDB that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


def _listed(names: str | Iterable[str]) -> str:
    return identifier(names) if isinstance(names, str) else ", ".join(map(identifier, names))
