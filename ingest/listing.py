"""What folders hold, and how large and how old it is; of a large tree told by a process that goes ahead.

Half a million files take as long to ask for as to sort into scans, so two processes share that. The second is this
file, run by itself: it imports nothing of gliolake, and to lose it costs time alone.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import IO, TypeAlias

FILE, FOLDER, LINK, OTHER = range(4)
"""What an entry is by itself: a link is a link, wherever it leads."""

Entry: TypeAlias = tuple[str, int, int, int]
"""Name, kind, and of a file its bytes and when it was changed (mtime_ns); a tuple, since there are so many."""

TOGETHER = 256
"""Folders that are told of at once."""

PARTS = 6
"""What is told together: folders; names, both with a zero byte between them; the names' kinds; how many of them are in
each folder; their bytes and times."""


def entries_of(folder: str) -> list[Entry]:
    """What a folder holds, by name; nothing where it may not be listed.

    Raises:
        PermissionError: a file's size may not be asked for.
    """
    found: list[Entry] = []
    try:
        entries = os.scandir(folder)
    except OSError:
        return found
    with entries:
        for entry in entries:
            if entry.is_symlink():
                found.append((entry.name, LINK, 0, 0))
            elif entry.is_dir():
                found.append((entry.name, FOLDER, 0, 0))
            elif not entry.is_file():
                found.append((entry.name, OTHER, 0, 0))
            else:
                try:
                    status = entry.stat()
                except FileNotFoundError:  # it was deleted meanwhile
                    continue
                found.append((entry.name, FILE, status.st_size, status.st_mtime_ns))
    found.sort()
    return found


PIPE = 1 << 20
"""Bytes that the process may be ahead: all that Linux lets anybody have."""


class Ahead:
    """A process that lists folders and all below them, links aside, before they are asked for.

    Folders have to be asked for in its order: the last of those it was given first, each before what is in it, and that
    by name. Some may be left out.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pipesize=PIPE,
            )
        self._told = self._heard(folders)

    def entries_of(self, folder: str) -> list[Entry]:
        """As the function of this name, which is asked where the process does not get there."""
        for path, entries in self._told:
            if path == folder:
                return entries
        return entries_of(folder)

    def close(self) -> None:
        """End the process."""
        self._told = iter(())
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):  # what could not be told any more
                    pipe and pipe.close()

    def _heard(self, folders: Sequence[str]) -> Iterator[tuple[str, list[Entry]]]:
        if not self._process or not self._process.stdin or not self._process.stdout:
            return
        with suppress(OSError, EOFError):  # it was killed: the rest is asked for here
            _write(self._process.stdin, [_joined(folders)])
            self._process.stdin.close()
            while told := _read(self._process.stdout, PARTS):
                yield from _folders(told)


def _folders(told: list[bytes]) -> Iterator[tuple[str, list[Entry]]]:
    paths, names, kinds = told[0], told[1], told[2]
    counts, sizes, times = (array("q", part) for part in told[3:])
    entries = [*zip(_split(names), kinds, sizes, times, strict=False)]  # no names are told as one empty name
    start = 0
    for path, count in zip(_split(paths), counts, strict=True):
        yield path, entries[start : start + count]
        start += count


def _tell(folders: list[str], out: IO[bytes]) -> None:
    """List the folders and all below them, the last first."""
    while folders:
        paths: list[str] = []
        counts: list[int] = []
        every: list[Entry] = []
        while folders and len(paths) < TOGETHER:
            folder = folders.pop()
            entries = entries_of(folder)
            paths.append(folder)
            counts.append(len(entries))
            every += entries
            folders += [f"{folder}/{entry[0]}" for entry in reversed(entries) if entry[1] == FOLDER]
        names, kinds, sizes, times = zip(*every, strict=True) if every else ((), (), (), ())
        numbers = [array("q", part).tobytes() for part in (counts, sizes, times)]
        _write(out, [_joined(paths), _joined(names), bytes(kinds), *numbers])


def _joined(names: Iterable[str]) -> bytes:
    return os.fsencode("\0".join(names))


def _split(names: bytes) -> list[str]:
    return os.fsdecode(names).split("\0")


def _write(pipe: IO[bytes], parts: Sequence[bytes]) -> None:
    pipe.write(array("q", map(len, parts)).tobytes())
    pipe.writelines(parts)
    pipe.flush()


def _read(pipe: IO[bytes], number: int) -> list[bytes]:
    """So many parts, as they were written together; none at the end, and where the end came too early."""
    sizes = array("q")
    head = pipe.read(number * sizes.itemsize)
    if len(head) < number * sizes.itemsize:
        return []
    sizes.frombytes(head)
    parts = [pipe.read(size) for size in sizes]
    return parts if [*map(len, parts)] == [*sizes] else []


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who asked is gone
    gc.disable()  # there is no garbage but what goes by itself
    _tell(_split(_read(sys.stdin.buffer, 1)[0]), sys.stdout.buffer)
