"""A file, or a folder of files, written for a person: whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.errors import InputError, StorageFull


@contextmanager
def written(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A name to write to; what is there in the end takes the target's place, unless an error came first.

    Raises:
        InputError: the target is there and ``overwrite`` is off, or its folder is not.
        StorageFull: no space is left.
    """
    target = target.absolute()  # "." has no name
    if target.exists() and not overwrite:
        raise InputError(f"{target} is there already.", hint="Give another name, or --overwrite.")
    if not target.parent.is_dir():
        raise InputError(f"The folder {target.parent} does not exist.")
    # Of two processes that write it at once, the last one's stays, and neither is handed a part of the other's.
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    _remove(part)
    try:
        yield part
        if part.is_dir():
            _remove(target)
        part.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"No space is left for {target}.", hint="Nothing was written. Free some space."
            ) from error
        raise
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
