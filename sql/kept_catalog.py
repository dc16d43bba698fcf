"""The catalog of a lake, kept in it until what it was made of changes.

Patients and their calls are computed from all labels and links, which takes a large lake seconds. Whoever opens a
connection first leaves the catalog behind, compressed, behind the sha256 of all of it; who may not write to the lake
leaves nothing. It is named by the digest of what it was made of, so one of another day is never taken for today's, and
one that was damaged is as none. It lies in the lake since it holds patients' data, and nothing but what the lake holds.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pyarrow as pa

from lake import limits
from lake.errors import GliolakeError
from lake.files import CATALOG, Files

_CODEC = "zstd"
_DIGEST = 32
"""Bytes of a sha256."""

_SIZE = 8
"""Bytes of the number, little-endian, that says how long the catalog is when it is unpacked."""


def find(files: Files, key: str) -> bytes | None:
    """The catalog of this key; None where there is none that is whole."""
    try:
        data = files.get(path_of(key))
        if data is None or hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
            return None
        size = int.from_bytes(data[_DIGEST : _DIGEST + _SIZE], "little")
        if size > limits.CATALOG_INFLATION * len(data):
            return None
        return bytes(pa.decompress(data[_DIGEST + _SIZE :], size, codec=_CODEC, asbytes=True))
    except (GliolakeError, OSError, pa.ArrowException):
        return None


def keep(files: Files, key: str, catalog: bytes) -> None:
    """Leave a catalog in the lake in the place of all others, if that is allowed and there is room."""
    packed = len(catalog).to_bytes(_SIZE, "little") + pa.compress(catalog, codec=_CODEC, asbytes=True)
    with suppress(GliolakeError, OSError):
        files.put(path_of(key), hashlib.sha256(packed).digest() + packed)
        for entry in files.list(CATALOG):
            if entry.path != path_of(key):
                files.delete(entry.path)


def path_of(key: str) -> str:
    """Where the catalog of this key lies, if there is one."""
    return f"{CATALOG}/{key}.duckdb.{_CODEC}"
