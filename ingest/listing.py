"""What folders hold, how large and how old it is, and what its path says: told by a process that goes ahead.

Half a million files take as long to ask for as to sort into scans, so two processes share that. The second is this
file, run by itself: it imports nothing of gliolake, and to lose it costs time alone.
"""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import IO, TypeAlias

FILE, FOLDER, LINK, OTHER = range(4)
"""What an entry is by itself: a link is a link, wherever it leads."""

Entry: TypeAlias = tuple[str, int, int, int, str, str]
"""Name, kind, of a file its bytes and when it was changed (mtime_ns), and of what is no folder the name of a scan and
the role that its path tells, or "". A tuple, since there are so many."""

Patterns: TypeAlias = Sequence[re.Pattern[str]]
"""Expressions with groups ``scan_id`` and ``role``, searched for in a path from the images folder on."""

TOGETHER = 256
"""Folders that are told of at once."""

PARTS = 8
"""What is told together: folders; names; the scans and the roles that they tell, all with a zero byte between them; the
names' kinds; how many of them are in each folder; their bytes and times."""


def entries_of(folder: str, below: str = "", patterns: Patterns = ()) -> list[Entry]:
    """What a folder holds, by name; nothing where it may not be listed.

    Args:
        folder: its path.
        below: its path from the images folder on, with a / at the end; "" for that folder itself.
        patterns: what paths may say; the first that fits counts.

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
            name = entry.name
            if entry.is_file(follow_symlinks=False):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # it was deleted meanwhile
                    continue
                found.append((name, FILE, status.st_size, status.st_mtime_ns, *_said(below + name, patterns)))
            elif entry.is_dir(follow_symlinks=False):
                found.append((name, FOLDER, 0, 0, "", ""))
            else:
                kind = LINK if entry.is_symlink() else OTHER
                found.append((name, kind, 0, 0, *_said(below + name, patterns)))
    found.sort()
    return found


def _said(path: str, patterns: Patterns) -> tuple[str, str]:
    for pattern in patterns:
        if match := pattern.search(path):
            return match["scan_id"], match["role"]
    return "", ""


class Ahead:
    """A process that lists a folder and all below it, links aside, before it is asked for.

    Folders have to be asked for in its order: each before what is in it, and that by name. Some may be left out.
    """

    def __init__(self, root: str, patterns: Patterns) -> None:
        """It begins at once. ``patterns``: as for ``entries_of``."""
        self._patterns = patterns
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        self._heard = self._hear()
        if self._process and self._process.stdin:
            with suppress(OSError):
                _write(self._process.stdin, [_joined([root]), _joined(one.pattern for one in patterns)])
                self._process.stdin.close()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._heard = iter(())
        if self._process:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):  # what could not be told any more
                    pipe and pipe.close()

    def entries_of(self, folder: str, below: str) -> list[Entry]:
        """As the function of this name, which is asked where the process does not get there."""
        for path, entries in self._heard:
            if path == folder:
                return entries
        return self.linked(folder, below)

    def linked(self, folder: str, below: str) -> list[Entry]:
        """The same, of a folder that only a link leads to: the process knows nothing of it."""
        return entries_of(folder, below, self._patterns)

    def _hear(self) -> Iterator[tuple[str, list[Entry]]]:
        with suppress(OSError):  # it was killed: the rest is asked for here
            while self._process and self._process.stdout and (parts := _read(self._process.stdout, PARTS)):
                yield from _folders(parts)


def _folders(parts: list[bytes]) -> Iterator[tuple[str, list[Entry]]]:
    paths, names, scans, roles = map(_split, parts[:4])
    counts, sizes, times = (array("q", part) for part in parts[5:])
    entries = [*zip(names, parts[4], sizes, times, scans, roles, strict=False)]  # no names are told as one empty name
    start = 0
    for path, count in zip(paths, counts, strict=True):
        yield path, entries[start : start + count]
        start += count


def _tell(root: str, patterns: Patterns, out: IO[bytes]) -> None:
    """List the folder and all below it. A thread writes, so that nothing waits for who listens."""
    ready: SimpleQueue[Sequence[bytes]] = SimpleQueue()

    def write() -> None:
        while parts := ready.get():
            _write(out, parts)

    writer = Thread(target=write)
    writer.start()
    try:
        for parts in _listed(root, patterns):
            ready.put(parts)
    finally:
        ready.put(())
    writer.join()


def _listed(root: str, patterns: Patterns) -> Iterator[list[bytes]]:
    folders = [root]
    while folders:
        paths: list[str] = []
        counts: list[int] = []
        every: list[Entry] = []
        while folders and len(paths) < TOGETHER:
            folder = folders.pop()
            entries = entries_of(folder, f"{folder[len(root) + 1 :]}/".lstrip("/"), patterns)
            paths.append(folder)
            counts.append(len(entries))
            every += entries
            folders += [f"{folder}/{entry[0]}" for entry in reversed(entries) if entry[1] == FOLDER]
        names, kinds, sizes, times, scans, roles = zip(*every, strict=True) if every else ((),) * 6
        numbers = [array("q", part).tobytes() for part in (counts, sizes, times)]
        yield [*map(_joined, (paths, names, scans, roles)), bytes(kinds), *numbers]


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
    (its_root,), its_patterns = map(_split, _read(sys.stdin.buffer, 2))
    _tell(its_root, [re.compile(one) for one in its_patterns if one], sys.stdout.buffer)
