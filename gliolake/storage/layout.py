"""Names of all files that gliolake writes into a lake. Any other file is foreign and never changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias
from urllib.parse import quote

from gliolake.schema.registry import TABLES
from gliolake.schema.types import Table

MARKER = "_gliolake.json"
"""The first file of a lake: it says that the folder is one, and of which format."""

LOG, TEMPORARY, QUARANTINE = "_log", "_tmp", "_quarantine"
"""Folders beside those of the tables; the leading underscore keeps them out of every reader's pattern."""

Kind: TypeAlias = Literal["marker", "record", "checkpoint", "newest", "data", "temporary", "quarantined", "foreign"]
"""What a path of a lake is by its name; ``newest`` is the file that names the newest checkpoint."""

_VALUE = r"(?:[A-Za-z0-9_.~ -]|%[0-9A-F]{2})*"
_FOLDER = "|".join("/".join([name, *(f"{c}={_VALUE}" for c in table.partition_by)]) for name, table in TABLES.items())
_MARK = "[0-9]+-[0-9a-f]{32}-[0-9]+"

_PATTERNS: dict[Kind, re.Pattern[str]] = {
    "data": re.compile(rf"(?:{_FOLDER})/[0-9a-f]{{32}}\.parquet"),
    "record": re.compile(rf"{LOG}/[0-9]{{20}}\.json"),
    "checkpoint": re.compile(rf"{LOG}/[0-9]{{20}}\.state\.json"),
    "newest": re.compile(rf"{LOG}/newest_checkpoint\.json"),
    "marker": re.compile(re.escape(MARKER)),
    "temporary": re.compile(
        rf"{TEMPORARY}/(?:{_MARK}|probe-[0-9a-f]{{32}}|runs/[^/]+\.json)|(?:(?:{LOG}|{_FOLDER})/)?{TEMPORARY}-{_MARK}"
    ),
    "quarantined": re.compile(rf"{QUARANTINE}/.+", re.DOTALL),
}

_ADDRESS = re.compile(rf"(?P<root>.*)/(?P<path>{_PATTERNS['data'].pattern})", re.DOTALL)


def data_path(table: Table, partition: Mapping[str, str], sha256: str) -> str:
    """Where the data file of a partition with these bytes lies; ``partition`` has the table's columns in order."""
    folders = [f"{column}={quote(value, safe=' ')}" for column, value in partition.items()]
    return "/".join([table.name, *folders, f"{sha256[:32]}.parquet"])


def split_address(address: str) -> tuple[str, str] | None:
    """The root of the lake and the path in it of a data file, by its whole address; None where it is not of one."""
    found = _ADDRESS.fullmatch(address)
    return (found["root"], found["path"]) if found else None


def kind(path: str) -> Kind:
    """What lies at this path of a lake, by its name alone. Nobody but gliolake makes names like these by chance."""
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(path)), "foreign")
