"""Outputs: a file or folder that stands whole under its name, or not at all. The rule for all commands that write some:

- A free name is taken. What is there is left as it is, and the command refuses, unless ``--overwrite`` asks for it.
- With it, what gliolake wrote is replaced, and nothing else: a file of a kind that can be recognised (``Own``) replaces
  a file of that kind only, a folder replaces one that holds exactly the files that gliolake writes.
  Tables for other programs (CSV, Parquet, JSON, workbooks) bear no mark: there the option alone decides.
- Never through a link, never over a folder, pipe or device, and never inside a lake. Output may go to ``/dev/stdout``
  and its like, which are written straight through.

All is written in a private folder beside the target (mode 0700), synced, and put in place in one step. A process that
is killed leaves that folder; the next process that writes the same target clears it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gliolake.errors import GliolakeError, InputError, StorageFull
from gliolake.log.journal import logger
from gliolake.process.signals import doomed, unbroken

STREAM = re.compile(r"/dev/(std(out|err)|null|tty|full)|(/dev|/proc/self)/fd/(?P<number>\d+)")
"""Outputs that are no files: what is written goes straight through."""

RECORD = re.compile(r"\d{20}\.json")
"""Name of a record in a lake's ``_log``."""

NEW, FORMER = "new", "former"
"""Names in the private folder: of a folder that is being written, and of the one it replaces."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """A kind of output that can be told from other people's files.

    Attributes:
        kind: What it is called, e.g. "a report".
        recognises: Whether the file or folder is one, whole. Where it is none, it may fail as parsers do.
    """

    kind: str
    recognises: Callable[[Path], bool]

    def is_at(self, path: Path) -> bool:
        """Whether one lies there."""
        try:
            return self.recognises(path)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, GliolakeError):
            return False  # it is read as what we write, and may be anything


def marked(kind: str, *, opens: bytes, bears: bytes, ends: bytes) -> Own:
    """Files that begin and end in a certain way, and bear a mark in their first 16 kB."""

    def recognises(path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(1 << 14)
            file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
            return head.startswith(opens) and bears in head and file.read().rstrip().endswith(ends)

    return Own(kind=kind, recognises=recognises)


PNG = marked("a picture", opens=b"\x89PNG\r\n\x1a\n", bears=b"Software\0gliolake", ends=b"IEND\xaeB`\x82")
"""Pictures whose text Software says gliolake."""


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


def check_target(
    target: Path,
    *,
    overwrite: bool = False,
    own: Own | None = None,
    folder: bool = False,
    new_parent: bool = False,
    inputs: Iterable[Path] = (),
) -> Path:
    """The absolute path, if an output may be written there.

    Args:
        target: Where.
        overwrite: What is there may be replaced.
        own: If it is of this kind. For folders it is needed.
        folder: The output is a folder; it may take the place of an empty one in any case.
        new_parent: The folder that it lies in may have to be made yet.
        inputs: Files that the command reads; none of them is replaced in any case.

    Raises:
        InputError: it may not; says why.
    """
    if STREAM.fullmatch(str(target)) and not folder:
        return target
    target = target.absolute()  # "." has no name
    if target.name in ("", ".."):
        raise InputError(f"{target} is no name for a {'folder' if folder else 'file'}.", hint="Give another name.")
    if not target.parent.is_dir() and (not new_parent or os.path.lexists(target.parent)):
        raise InputError(f"The folder {target.parent} does not exist.", hint="Make it, or give another name.")
    if lake := _lake_around(target):
        raise InputError(
            f"{target} lies in the lake {lake}, where only tables belong.", hint="Give a name outside of it."
        )
    if os.path.lexists(target):
        _check_former(target, overwrite=overwrite, own=own, folder=folder)
        if any(path.exists() and path.samefile(target) for path in inputs):
            raise InputError(f"{target} is a file that this command reads.", hint="Give another name.")
    return target


def _check_former(target: Path, *, overwrite: bool, own: Own | None, folder: bool) -> None:
    """That what is there may be replaced."""
    mode = target.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise InputError(
            f"{target} is a symbolic link, and outputs are not written through links.",
            hint=f"Give the name of what it leads to, {os.path.realpath(target)}, or another one.",
        )
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)):
        there = "a folder" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "a pipe or a device"
        raise InputError(f"{target} is {there} already.", hint="Give another name.")
    if folder and not any(target.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{target} is there already.", hint="Give another name, or --overwrite.")
    if own is not None and not own.is_at(target):
        raise InputError(
            f"{target} is not {own.kind} as gliolake writes it, and is left as it is.",
            hint="Give another name; --overwrite replaces what gliolake wrote, and nothing else.",
        )


def _lake_around(target: Path) -> Path | None:
    """The lake that a path lies in."""
    for folder in (target.parent.resolve(), *target.parent.resolve().parents):
        with suppress(OSError), os.scandir(folder / "_log") as entries:
            if any(RECORD.fullmatch(entry.name) for entry in entries):
                return folder
    return None


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
