"""Parquet in memory: whose the bytes are that Arrow's threads read."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gliolake.storage.parquet import open_parquet

ROOMS = ("gliolake", "ingest", "features", "modeling", "analysis", "sql")


def written(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", use_dictionary=False, write_page_checksum=True)
    return bytes(sink.getvalue())


def test_arrow_holds_nothing_of_pythons_that_a_late_thread_could_let_go_of() -> None:
    rows = pa.table({"scan_id": [f"P{number}" for number in range(1000)], "number": range(1000)})
    data = written(rows)
    held = sys.getrefcount(data)
    opened = open_parquet(data)
    read = opened.read()
    assert sys.getrefcount(data) == held
    assert read.equals(rows)


def test_a_changed_byte_is_found_by_its_pages_checksum() -> None:
    data = bytearray(written(pa.table({"number": range(1000)})))
    data[100] ^= 1
    with pytest.raises(OSError, match="CRC"):
        open_parquet(bytes(data)).read()


def test_no_room_lets_arrow_read_from_bytes_of_python() -> None:
    root = Path(__file__).resolve().parents[2]
    readers = {
        str(file.relative_to(root))
        for room in ROOMS
        for file in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("BufferReader", "py_buffer", "read_table", "ParquetFile")
    }
    assert readers == {"gliolake/storage/parquet.py"}
