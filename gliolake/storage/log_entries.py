"""Format of the log's records and checkpoints, and checks of their statements about data files."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from gliolake import limits
from gliolake.schema.registry import TABLES
from gliolake.storage.layout import data_path
from gliolake.storage.snapshot import DataFile

MOST_ROWS = 1 << 32
"""Rows that a record may say a data file has; what they may take is held against the file
(``gliolake.storage.parquet``)."""

_SHA256 = re.compile("[0-9a-f]{64}")


def parse_files(entries: list[dict[str, Any]]) -> tuple[DataFile, ...]:
    """The data files that a record names. Raises KeyError, TypeError or ValueError where one is not as it has to be."""
    return tuple(_file(**entry) for entry in entries)


def _file(
    *, table: str, path: str, partition: dict[str, str], sha256: str, first: list[Any], last: list[Any], **counts: int
) -> DataFile:
    """A data file as a record describes it, which is as gliolake would have written it.

    A lake may come from a stranger: any other path could have other files read or moved in its name, and keys of other
    kinds than the table's could not be compared.
    """
    if not isinstance(table, str) or table not in TABLES:
        raise ValueError(f"it names a file of a table that there is not: {str(table)[:100]!r}")
    known = TABLES[table]
    if not isinstance(partition, dict) or partition.keys() != {*known.partition_by}:
        raise ValueError(f"the partition of a file is not one of table {table}")
    if not all(isinstance(text, str) for text in (sha256, *partition.values())) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"what it says of a file of table {table} is not text, or no sha256")
    partition = {column: partition[column] for column in known.partition_by}
    if path != data_path(known, partition, sha256):
        raise ValueError(f"it names {str(path)[:300]!r}, which is not the path of such a file of table {table}")
    rows, size = counts.pop("rows"), counts.pop("bytes")
    if counts or not _is_count(rows, MOST_ROWS) or not _is_count(size, limits.DATA_FILE):
        raise ValueError(f"{path} has no number of rows or bytes, or one that is too large")
    smallest, largest = tuple(first), tuple(last)
    numbers = (value for value in (*smallest, *largest) if not isinstance(value, str))
    if (
        not known.key_kinds == tuple(map(type, smallest)) == tuple(map(type, largest))
        or smallest > largest
        or any(abs(number) >= 1 << 63 for number in numbers)
    ):
        raise ValueError(f"the first and the last key of {path} are not keys of table {table}")
    for column, value in partition.items():
        if column in known.key and {key[known.key.index(column)] for key in (smallest, largest)} != {value}:
            raise ValueError(f"the keys of {path} are of another partition")
    return DataFile(table, path, partition, rows, size, sha256, smallest, largest)


def _is_count(number: object, most: int) -> bool:
    return type(number) is int and 0 < number <= most


def encode(content: dict[str, Any]) -> bytes:
    """A record as it is stored: canonical JSON, with the sha256 of the rest in it."""
    digest = hashlib.sha256(canonical(content)).hexdigest()
    return canonical({**content, "sha256": digest}) + b"\n"


def canonical(content: dict[str, Any]) -> bytes:
    """JSON without spaces, keys in order."""
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def digest_of_the_rest(data: bytes) -> str:
    """The sha256 of what ``encode`` wrote, without the one that it put in.

    It is cut out of the bytes: to encode the content again would cost as much as reading it. Its place is known, since
    data files, which have one too, come before it, and a quote within a text is never written without a backslash.
    """
    name = b',"sha256":"'
    begin = data.rfind(name)
    end = begin + len(name) + 64 + len(b'"')
    digest = hashlib.sha256(memoryview(data)[:begin])
    digest.update(data[end:].removesuffix(b"\n"))
    return digest.hexdigest()
