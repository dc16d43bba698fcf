"""Atomic outputs: a file or folder appears complete under its name, or not at all.

``gliolake.target`` decides whether an output may be written. Output is written to a private folder beside the target
(mode 0700), synced, and renamed to the target in one step. A killed process leaves that folder behind; the next process
that writes the same target removes it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gliolake.errors import InputError, StorageFull
from gliolake.log.journal import logger
from gliolake.process.signals import doomed, unbroken
from gliolake.target import STREAM, Own, check_target

NEW, FORMER = "new", "former"
"""Names in the private folder: of a folder that is being written, and of the one it replaces."""


@contextmanager
def replaced(target: Path, *, overwrite: bool = False, own: Own | None = None) -> Iterator[BinaryIO]:
    """A file to write to, which stands at ``target`` in the end; the former one does if anything fails.

    Raises:
        InputError: as ``check_target``.
        StorageFull: no space is left, or the file is larger than it may be.
    """
    if stream := STREAM.fullmatch(str(target)):
        with _named(target), _opened(target, stream["number"]) as file:
            yield file
        return
    with replaced_path(target, overwrite=overwrite, own=own) as part, part.open("xb") as file:
        yield file


@contextmanager
def replaced_path(target: Path, *, overwrite: bool = False, own: Own | None = None) -> Iterator[Path]:
    """As ``replaced``, for libraries that open files themselves: a name under which they make the file."""
    target = check_target(target, overwrite=overwrite, own=own)
    with _named(target), _private_folder(target) as folder:
        part = folder / target.name
        yield part
        _sync(part)
        check_target(target, overwrite=overwrite, own=own)
        if overwrite or not _linked(part, target):
            part.replace(target)
        _sync(target.parent)


@contextmanager
def replaced_folder(target: Path, *, overwrite: bool = False, own: Own) -> Iterator[Path]:
    """A folder to put files into, which stands at ``target`` in the end; the former one does if anything fails.

    Raises:
        InputError: as ``check_target``.
        StorageFull: no space is left.
    """
    target = check_target(target, overwrite=overwrite, own=own, folder=True)
    with _named(target), _private_folder(target) as private:
        part = private / NEW
        part.mkdir()
        yield part
        for path in (*part.rglob("*"), part):
            _sync(path)
        check_target(target, overwrite=overwrite, own=own, folder=True)
        if target.exists() and any(target.iterdir()):
            _swap(part, target, private / FORMER, own)
        else:
            part.rename(target)
        _sync(target.parent)


def _opened(stream: Path, number: str | None) -> BinaryIO:
    """A stream for writing. One that is open already is not opened by name, which would empty the file behind it."""
    handle = int(number) if number else {"stdout": 1, "stderr": 2}.get(stream.name)
    return stream.open("wb") if handle is None else os.fdopen(os.dup(handle), "wb")


@contextmanager
def _private_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target that only we can read, gone in the end. Its lock says that its process is alive."""
    prefix = f".gliolake-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}-"
    _clear_after_the_killed(target, prefix)
    with unbroken():
        while True:
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
            if (handle := _lock_new(folder)) is not None:
                break
    try:
        with doomed(folder):
            yield folder
    finally:
        with unbroken():
            if not (folder / FORMER).exists():
                shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def _lock_new(folder: Path) -> int | None:
    """Lock a folder that was just made; None where another process, which took it for one left behind, clears it."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:  # a file system without locks: there nobody clears what others left
        return handle
    if os.path.lexists(folder):
        return handle
    os.close(handle)
    return None


def _clear_after_the_killed(target: Path, prefix: str) -> None:
    """Remove what a killed process left of this target; where it was killed between two names, put the folder back."""
    for folder in [path for path in target.parent.iterdir() if path.name.startswith(prefix)]:
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or stat.S_IMODE(about.st_mode) & 0o077:
            continue
        with suppress(OSError), _locked(folder):
            if (folder / FORMER).is_dir() and not os.path.lexists(target):
                (folder / FORMER).rename(target)
                logger.info(f"An earlier run was killed as it replaced {target}; the former folder is back.")
            if {path.name for path in folder.iterdir()} <= {NEW, target.name, f"{target.name}.wal"}:
                shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Inside, the folder is ours. Raises OSError if a living process holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _swap(part: Path, target: Path, former: Path, own: Own) -> None:
    """Put the new folder in the place of the former one, which is looked at once more where nobody else reaches it."""
    with unbroken():
        target.rename(former)
        try:
            if not own.is_at(former):
                raise InputError(f"{target} was changed meanwhile, and is left as it is.", hint="Give another name.")
            part.rename(target)
        except BaseException:
            former.rename(target)
            raise
        shutil.rmtree(former, ignore_errors=True)
    if former.exists():
        logger.warning(f"The former {target} could not be removed whole; the rest of it is {former}.")


def _linked(part: Path, target: Path) -> bool:
    """Give the file its name, if nobody took it meanwhile; False where the file system has no hard links."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise InputError(f"{target} is there by now.", hint="Give another name, or --overwrite.") from None
    except OSError:
        return False
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some systems sync no folders
            raise
    finally:
        os.close(handle)


@contextmanager
def _named(target: Path) -> Iterator[None]:
    """Errors of writing name the target: a write knows no file, and nobody knows the private one."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename is not None and ".gliolake-" not in str(error.filename)):
            raise  # it is in words already, or of another file
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            large = error.errno == errno.EFBIG
            raise StorageFull(
                f"{target} is larger than a file may be here." if large else f"No space is left for {target}.",
                hint="What was there before is as it was. Free some space, or write to another disk.",
            ) from error
        error.filename, error.filename2 = str(target), None
        raise
