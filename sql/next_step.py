"""Suggests the next command: after an empty table, and for the lake as a whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gliolake.schema.registry import TABLES
from gliolake.sql.definitions import definitions


def why_empty(relations: Iterable[str], filled: Collection[str]) -> str:
    """What a query that found nothing is waiting for, in a sentence; empty where it is not for want of a command.

    Args:
        relations: tables and views that the query reads.
        filled: tables that have rows.
    """
    for table in _tables_below(relations):
        if table not in filled and not TABLES[table].may_be_empty:
            commands = " or ".join(f"`{command}`" for command in TABLES[table].made_by)
            return f"Table {table} is empty: {commands} fills it."
    return ""


def next_step(filled: Collection[str]) -> str:
    """The first command whose table is still empty, on the way from files to results; empty at its end."""
    if "scans" not in filled and "features" not in filled:
        return TABLES["labels"].made_by[0] if "labels" not in filled else TABLES["scans"].made_by[0]
    for table in ("labels", "features", "study_rows"):
        if table not in filled:
            return TABLES[table].made_by[0]
    return ""


def _tables_below(relations: Iterable[str]) -> list[str]:
    """The lake's tables that these relations rest on: the nearest first, then in the order of the registry."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    layer = list(relations)
    while layer:
        found.update(dict.fromkeys(name for name in TABLES if name in layer))
        seen.update(layer)
        below = [name for view in layer if view in definitions() for name in definitions()[view].reads]
        layer = [name for name in dict.fromkeys(below) if name not in seen]
    return list(found)
