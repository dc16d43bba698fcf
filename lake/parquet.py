"""Parquet that is in memory, opened so that its pages' checksums are looked at and no thread outlives its bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from lake.errors import DamagedFile
from lake.rows import in_schema
from lake.state import DataFile
from lake.tables import Table


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


def rows_of(table: Table, file: DataFile, data: bytes, columns: Sequence[str]) -> pa.Table:
    """The rows in the bytes of a data file, with its partition columns, in the table's schema.

    Raises:
        DamagedFile: they are no rows of the table.
    """
    try:
        rows = open_parquet(data).read([name for name in columns if name not in file.partition])
        for name, value in file.partition.items():
            if name in columns:
                rows = rows.append_column(name, pa.repeat(pa.scalar(value, pa.string()), rows.num_rows))
        return in_schema(rows.select(columns), pa.schema([table.schema.field(column) for column in columns]))
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DamagedFile(f"{file.path} does not hold rows of table {table.name}: {error}.") from error
