"""Endings of a command: every error or signal becomes a message on standard error and an exit code.

The codes are those of docs/command-line.md. Only a bug of the program itself ends with a traceback.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from gliolake.errors import GliolakeError, InputError, first_line, within
from gliolake.extras import missing_extra
from gliolake.log.journal import logger
from gliolake.process.signals import in_words, listen, stopped_by

DONE, REFUSED, READER_GONE = 0, 2, 128 + 13
"""Exit codes; 1 is for what a command found, and 128 and a signal's number for the signal that ended it."""

_HINTS = {
    errno.ENOSPC: "Free some space, then run the same command again.",
    errno.EDQUOT: "Your quota is used up there: have it raised, or free some space.",
    errno.EFBIG: "Raise the limit on a file's size (ulimit -f), or use another disk.",
    errno.EROFS: "Mount it writable, or use another place.",
    errno.EACCES: "Be given the right to it, or use another place.",
    errno.EPERM: "Be given the right to it, or use another place.",
    errno.EIO: "The disk or the network share failed: look after it (`dmesg` may say more).",
    errno.ESTALE: "The network share was mounted anew: run the same command again.",
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
    errno.ENFILE: "Too many files are open on this machine: end other programs.",
    errno.ENAMETOOLONG: "Give a shorter name.",
    errno.ELOOP: "Links there lead round in a circle: give the name of what they should lead to.",
    errno.ENOMEM: "End other programs, or use fewer --workers.",
}


def begin() -> None:
    """Make the process of a command one that ends in words, first of all. Workers, which come here too, are spared."""
    if "multiprocessing.spawn" in sys.modules:
        return
    _open_standard_streams()
    listen()


def _open_standard_streams() -> None:
    """Give a command that was started without standard streams (``>&-``) empty ones.

    Else the next file that is opened would be taken for standard output, and printed into.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def choose_temporary_folder() -> None:
    """Temporary files go where TMPDIR says and nowhere else: Python would pass over one that cannot be used.

    Raises:
        InputError: it cannot be used.
    """
    if not (named := os.environ.get("TMPDIR")):
        return
    if not Path(named).is_dir() or not os.access(named, os.W_OK | os.X_OK):
        why = "cannot be written to" if Path(named).exists() else "does not exist"
        raise InputError(
            f"The folder for temporary files, {named} (TMPDIR), {why}.",
            hint="Set TMPDIR to another folder, or unset it.",
        )
    tempfile.tempdir = str(Path(named).absolute())


def explained(error: BaseException) -> int | None:
    """Say what ended the command. The exit code; None where it is a fault of the program, which nothing explains."""
    if number := stopped_by() or isinstance(error, KeyboardInterrupt) * signal.SIGINT:  # whatever a library made of it
        return _said(in_words(number), "", 128 + number)
    if _is_of_a_reader_gone(error):
        _silence(1)
        return READER_GONE
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else _said(str(error.code), "", 1) if error.code else DONE
    said = _words(error)
    return _said(*said, REFUSED) if said else None


def flushed() -> int:
    """Write what is still to be written to standard output; an exit code if that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(1)  # or Python would try again as it ends, and complain in its own way
        return READER_GONE
    except OSError as error:
        _silence(1)
        return _said(*_words_of_the_system(error, "Standard output"), REFUSED)
    return DONE


def _said(text: str, hint: str, code: int) -> int:
    try:
        logger.error(text, extra={"hint": hint})
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody listens
        _silence(2)
    return code


def _words(error: BaseException) -> tuple[str, str] | None:
    """What went wrong, and what to do about it."""
    match error:
        case GliolakeError():
            return str(error), error.hint
        case OSError():
            return _words_of_the_system(error)
        case MemoryError():
            return "The memory of this machine does not suffice.", "Use fewer --workers, or a larger machine."
        case ModuleNotFoundError():
            return missing_extra(error)
    if type(error).__module__ in ("duckdb", "_duckdb"):
        ours = within(str(error))
        return (str(ours), ours.hint) if ours else (f"DuckDB: {first_line(str(error))}", "")
    return None


def _words_of_the_system(error: OSError, where: str = "") -> tuple[str, str]:
    """What the system said of which file."""
    if "No usable temporary directory" in str(error):
        return "There is no folder for temporary files.", "Set TMPDIR to a folder that exists and can be written to."
    where, hint = where or str(error.filename or ""), _HINTS.get(error.errno or 0, "")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO) and _is_temporary(error.filename):
        hint = f"Temporary files go to {tempfile.gettempdir()}: free some space there, or set TMPDIR to another folder."
    return f"{where}: {error.strerror or error}.".removeprefix(": "), hint


def _is_temporary(name: object) -> bool:
    """Whether a file is one of our temporary files; where nothing names it, whether their folder takes no more."""
    if name:
        return str(name).startswith(tempfile.gettempdir() + os.sep)
    with suppress(OSError):
        found = os.statvfs(tempfile.gettempdir())
        return found.f_bavail * found.f_frsize < 1 << 16
    return False


def _is_of_a_reader_gone(error: BaseException) -> bool:
    """Whether standard output's reader went away, which libraries turn into an exit of their own."""
    cause: BaseException | None = error
    while isinstance(cause, SystemExit):
        cause = cause.__context__
    return isinstance(cause, BrokenPipeError) and (cause is not error or _has_no_reader(1) or _has_no_reader(2))


def _has_no_reader(number: int) -> bool:
    """Whether a stream is a pipe whose other end is closed."""
    looking = select.poll()
    looking.register(number, 0)
    return any(found & select.POLLERR for _, found in looking.poll(0))


def _silence(number: int) -> None:
    """What is yet to be written to a stream goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
