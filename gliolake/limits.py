"""Limits for untrusted files, all in one place, and one function that opens such a file.

A limit is about a hundred times the largest known value. A file that exceeds one is refused, with the limit in the
message, before it is read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

IMAGE = 2 << 30
"""Bytes of a scan's file, and of what it unpacks to: a clinical brain volume has about 20 MB."""

UNSUSPECTED = 256 << 20
"""Bytes that a scan's file may unpack to however small it is: a mask is nearly all zeros."""

INFLATION = 50
"""Times its own size that a file may unpack to beyond ``UNSUSPECTED``. Images shrink to a half or a fifth."""

GZIP_MEMBERS = 1 << 16
"""Parts that a gzip file may be made of: block gzip begins one every 64 kB."""

SLICES = 4096
"""Files in the folder of a DICOM series: a brain has a few hundred slices."""

ENTRIES = 2_000_000
"""Files and folders below an images folder: 2,000 scans of 1,000 slices."""

FOLDERS_DEEP = 32
"""Folders within folders, counted from the images folder."""

NAME = 200
"""Letters of a scan's name, of a column's, or of a cohort's pattern of names."""

REPEATS = 10_000
"""Times that a cohort's pattern of names may have a part repeated, repeats within repeats multiplied."""

TABLE = 16 << 20
"""Bytes of a CSV file: the largest label file known has 80 kB."""

COLUMNS = 1000
"""Columns of a CSV file."""

FIELD = 10_000
"""Letters of one field of a CSV file."""

DESCRIPTION = 1 << 20
"""Bytes of a TOML file; the shipped ones have about 3 kB."""

RECORDS = 1 << 30
"""Bytes of a TFRecord file; the study's have about 2 MB."""

RECORD = 1 << 20
"""Bytes of one TFRecord: five vectors of 400 numbers have 8 kB."""

WEIGHTS = 8 << 30
"""Bytes of a file of weights; the largest of the registered ones, with its optimiser's state, is below 5 GB."""

UNPACKED_WEIGHTS = 2 << 30
"""Bytes that an archive of weights may unpack to; the larger of the two files has a quarter of it."""

TENSORS = 1 << 16
"""Tensors of a file of weights, letters of a name, or numbers along an axis."""


DATA_FILE = 1 << 30
"""Bytes of a data file of a lake; files are merged up to 32 MiB, a kept volume has some 20."""

COMMIT = 16 << 20
"""Bytes of a commit's record, which has about 500 for each file that it names."""

CHECKPOINT = 128 << 20
"""Bytes of a checkpoint, which names every file of a lake."""

FOOTER = 1 << 20
"""Bytes of a data file's footer; most have some 10 kB."""

PARQUET_FIELDS = 256
"""Columns of a data file, and what is nested in them: tables have some 60 at most."""

PARQUET_PAGES = 1 << 16
"""Pages of a data file; there is one for each MiB of a column."""


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file to read it. A pipe is not waited for, a device not read.

    Raises:
        OSError: as ``open`` does; EINVAL where it is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "It is no regular file but a folder, a pipe or a device", str(path))
    return os.fdopen(handle, "rb")


def read_whole(path: str | Path, most: int) -> bytes:
    """The bytes of a regular file that has at most ``most`` of them.

    Raises:
        OSError: as ``open_regular``; EFBIG where it has more, of which nothing is read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"It has {size:,} bytes; the limit is {most:,}", str(path))
        return file.read(size)
