"""Parquet that is in memory, opened so that its pages' checksums are looked at and no thread outlives its bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq


def open_parquet(data: bytes) -> pq.ParquetFile:
    """The Parquet file that these bytes are. It reads from a copy of them that is Arrow's own.

    Arrow's threads let go of what they read from a moment after the reading has returned. To let go of Python's bytes
    they need the interpreter: a command that ended in that moment was aborted by it, with all its work done, in one of
    80 runs on a busy machine (https://github.com/apache/arrow/issues/34314).

    Raises:
        pyarrow.ArrowException: it is no Parquet.
        OSError: a page that is read has another checksum (raised by the reading).
    """
    own = pa.allocate_buffer(len(data))
    memoryview(own).cast("B")[:] = data
    return pq.ParquetFile(pa.BufferReader(own), page_checksum_verification=True)


def schema_of(data: bytes) -> pa.Schema:
    """Columns and types of the Parquet file that these bytes are; no copy, since no other thread reads a footer.

    Raises:
        pyarrow.ArrowException: it is no Parquet.
    """
    return pq.read_schema(pa.BufferReader(data))
