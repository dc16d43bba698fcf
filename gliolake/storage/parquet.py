"""Parquet in memory: its uncompressed size is checked before a row is read.

A lake may be untrusted, and a few bytes of Parquet can stand for any number of rows: by a dictionary that every
row repeats, by runs of nulls, by a page that says it unpacks to gigabytes. What a reader allocates follows from the
headers of the pages, which the footer need not agree with; so each page's header is looked at (``_pages``). gliolake
writes without dictionaries: then all that is read lies in the pages, and their sizes are a limit for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from gliolake import limits
from gliolake.errors import DamagedFile, InputError
from gliolake.schema.types import Table
from gliolake.storage.rows import in_schema
from gliolake.storage.snapshot import DataFile

MAGIC = b"PAR1"
CODECS = ("ZSTD", "UNCOMPRESSED")
DATA_PAGES = {0: 5, 3: 8}
"""Types of pages that hold values, and the field of a page's header that says more of such a page."""

PLAIN, RUNS, SPLIT = 0, 3, 9
"""Encodings by which a value takes as much in a page as in memory, but for runs of true and false."""


class Page(NamedTuple):
    """What a page says of itself: how many values it has, and the bytes that it unpacks to."""

    values: int
    unpacked: int


def write_parquet(rows: pa.Table) -> bytes:
    """The bytes of a Parquet file of these rows.

    Raises:
        InputError: they are so many, and so alike, that nobody would read them again.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", write_page_checksum=True, use_dictionary=False)
    data: bytes = sink.getvalue().to_pybytes()
    if rows.nbytes > limits.UNSUSPECTED // 4:
        try:
            open_parquet(data)
        except pa.ArrowInvalid as error:
            raise InputError(f"These rows cannot be written into a single file: {error}") from error
    return data


def open_parquet(data: bytes, rows: int | None = None, schema: pa.Schema | None = None) -> pq.ParquetFile:
    """The Parquet file that these bytes are. It reads from a copy of them that is Arrow's own.

    Arrow's threads let go of what they read from a moment after the reading has returned. To let go of Python's bytes
    they need the interpreter: a command that ended in that moment was aborted by it, with all its work done, in one of
    80 runs on a busy machine (https://github.com/apache/arrow/issues/34314).

    Args:
        data: the bytes.
        rows: how many rows there have to be.
        schema: the columns that there have to be.

    Raises:
        pyarrow.ArrowInvalid: it is no Parquet as gliolake writes it, has other rows or columns, or would unpack to more
            than a file of its size may.
        OSError: a page that is read has another checksum (raised by the reading).
    """
    footer = check_parquet(data, rows, schema)
    own = pa.allocate_buffer(len(data))
    memoryview(own).cast("B")[:] = data
    return pq.ParquetFile(pa.BufferReader(own), metadata=footer, page_checksum_verification=True)


def rows_of(table: Table, file: DataFile, data: bytes, columns: Sequence[str]) -> pa.Table:
    """The rows in the bytes of a data file, with its partition columns, in the table's schema.

    Raises:
        DamagedFile: they are no rows of the table, or not as many as the file's record says.
    """
    try:
        rows = open_parquet(data, file.rows, table.file_schema).read([c for c in columns if c not in file.partition])
        for name, value in file.partition.items():
            if name in columns:
                rows = rows.append_column(name, pa.repeat(pa.scalar(value, pa.string()), rows.num_rows))
        return in_schema(rows.select(columns), pa.schema([table.schema.field(column) for column in columns]))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise _contradicts(table, file, error) from error


def check_file(table: Table, file: DataFile, data: bytes) -> None:
    """See that others can read these bytes as the data file that its record tells of.

    Raises:
        DamagedFile: as ``rows_of``.
    """
    try:
        check_parquet(data, file.rows, table.file_schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _contradicts(table, file, error) from error


def _contradicts(table: Table, file: DataFile, error: Exception) -> DamagedFile:
    return DamagedFile(
        f"{file.path} does not hold the rows of table {table.name} that its record tells of: {error}.",
        hint="`gliolake verify` lists all damage; with --repair it takes damaged files out, to be computed again.",
    )


def check_parquet(data: bytes, rows: int | None = None, schema: pa.Schema | None = None) -> pq.FileMetaData:
    """The footer of the Parquet file that these bytes are, which is one that ``open_parquet`` would open."""
    _check_footer(data)
    footer = pq.read_metadata(pa.BufferReader(data))
    if rows is not None and footer.num_rows != rows:
        raise pa.ArrowInvalid(f"it has {footer.num_rows:,} rows, not {rows:,}")
    if schema is not None and not footer.schema.to_arrow_schema().equals(schema):
        raise pa.ArrowInvalid("its columns are not those of the table")
    most = min(limits.IMAGE, max(limits.UNSUSPECTED, limits.INFLATION * len(data)))
    unpacked = counted = pages = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        counted += group.num_rows
        for column in range(group.num_columns):
            chunk, values = group.column(column), 0
            if chunk.compression not in CODECS or chunk.has_dictionary_page or chunk.file_path:
                raise pa.ArrowInvalid("gliolake does not write such Parquet")
            for page in _pages(data, chunk.data_page_offset, chunk.total_compressed_size):
                pages += 1
                values += page.values
                unpacked += page.unpacked + 8 * page.values  # where it is null, a value takes nothing in a page
                if unpacked > most or pages > limits.PARQUET_PAGES:
                    raise pa.ArrowInvalid(f"its {len(data):,} bytes would unpack to more than {most:,}")
            if values != chunk.num_values or values < group.num_rows:
                raise pa.ArrowInvalid("its footer and its pages contradict each other")
    if counted != footer.num_rows:
        raise pa.ArrowInvalid("its footer contradicts itself")
    return footer


def _check_footer(data: bytes) -> None:
    """See that it is Parquet, with a footer that may be given to a reader: it goes as deep as columns are nested."""
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    if data[:4] != MAGIC or data[-4:] != MAGIC or begin < 4:
        raise pa.ArrowInvalid("it is no Parquet file")
    if len(data) - begin > limits.FOOTER:
        raise pa.ArrowInvalid(f"its footer has more than {limits.FOOTER:,} bytes")
    try:
        at = _varint(data, begin + 1)[1]
        size = data[at + 1] >> 4
        elements = size if size < 15 else _varint(data, at + 2)[0]
        if data[begin] != 0x15 or data[at] != 0x19 or data[at + 1] & 15 != 12:  # a number, then a list of structs
            raise pa.ArrowInvalid("gliolake does not write such a footer")
    except IndexError as error:
        raise pa.ArrowInvalid("its footer is cut off") from error
    if elements > limits.PARQUET_FIELDS:
        raise pa.ArrowInvalid(f"it has {elements:,} columns")


def _pages(data: bytes, begin: int, size: int) -> Iterator[Page]:
    """The pages of a column in a row group, which lie one behind another in these bytes."""
    end, at = begin + size, begin
    if begin < 4 or end > len(data) - 8:
        raise pa.ArrowInvalid("a column of it lies outside")
    while at < end:
        try:
            header, at = _struct(data, at)
            kind, unpacked, packed = header[1], header[2], header[3]
            about = header[DATA_PAGES[kind]]
            values, encoding = about[1], about[4 if kind else 2]
        except (IndexError, KeyError, TypeError) as error:
            raise pa.ArrowInvalid("gliolake does not write such pages") from error
        if not all(type(number) is int and number >= 0 for number in (unpacked, packed, values)):
            raise pa.ArrowInvalid("a page of it says impossible sizes")
        if encoding not in (PLAIN, RUNS, SPLIT):
            raise pa.ArrowInvalid("gliolake does not encode pages so")
        at += packed
        yield Page(values, unpacked)
    if at != end:
        raise pa.ArrowInvalid("a page of it is longer than its column")


def _struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The numbers and structs of a struct in Thrift's compact protocol, by field, and where it ends.

    Raises:
        IndexError: it ends too late, or holds what a page's header does not.
    """
    fields: dict[int, Any] = {}
    last = 0
    while head := data[at]:
        at += 1
        last, at = (last + (head >> 4), at) if head >> 4 else _number(data, at)
        kind = head & 15
        if kind in (1, 2):
            fields[last] = kind == 1
        elif kind in (4, 5, 6):
            fields[last], at = _number(data, at)
        elif kind == 8:
            size, at = _varint(data, at)
            at += size
        elif kind == 12 and depth < 2:
            fields[last], at = _struct(data, at, depth + 1)
        else:
            raise IndexError(kind)
    return fields, at + 1


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at + shift // 7]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + shift // 7 + 1
    raise IndexError(at)
