"""One command at a time: a start that finds another at work says so and leaves.

Announce, then look: a process writes a file of its own beside the lake's temporary ones, and lists those of others. Of
two that start at once at least one sees the other; who sees one withdraws, waits a moment and looks again. No file has
two writers, so what a dead process left is cleared without hurting a living one, in a folder as in an object store.

It spares work and keeps logs readable. The lake needs no lock: two ingests at once both land (``lake.store``).
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from lake.files import TEMPORARY, Entry, Files

FOLDER = f"{TEMPORARY}/locks"
BEAT = 30.0
"""Seconds after which a holder writes its file again, so that other machines see that it lives."""

SILENT = 300.0
"""Seconds without a beat after which a holder on another machine is taken for dead."""

LOOKS = 4
"""Times that a start looks again, since who it saw may have been withdrawing too."""


@dataclass(frozen=True)
class Holder:
    """A process at work: its host, its id there, when it began, and by what the machine and its processes are known."""

    host: str
    pid: int
    since: str
    born: float
    place: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def alone(files: Files, name: str) -> Iterator[Holder | None]:
    """Inside, no other process is inside under this name. Yields None, or who is there already: then do nothing.

    A holder that died is passed over at once on its own machine, and after ``SILENT`` seconds on another.
    """
    own = f"{FOLDER}/{name}-{uuid.uuid4().hex}.json"
    data = json.dumps(asdict(_this_process())).encode()
    rival: Holder | None = None
    for look in range(LOOKS):
        if look:
            time.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - spreads rivals out, nothing more
        files.put(own, data)
        rival = _rival(files, name, own)
        if rival is None:
            break
        files.delete(own)
    if rival is not None:
        yield rival
        return
    over = Event()

    def beat() -> None:
        while not over.wait(BEAT):
            with suppress(OSError):  # the next beat may pass
                files.put(own, data)

    heart = Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield None
    finally:
        over.set()
        heart.join()
        files.delete(own)


def _rival(files: Files, name: str, own: str) -> Holder | None:
    """Another process that is inside or wants to be; files of dead ones are cleared."""
    for entry in sorted(files.list(FOLDER), key=lambda entry: entry.path):
        if entry.path == own or not entry.path.startswith(f"{FOLDER}/{name}-"):
            continue
        data = files.get(entry.path)
        if data is None:  # it has just left
            continue
        holder = Holder(**json.loads(data))
        if _lives(holder, entry):
            return holder
        files.delete(entry.path)
    return None


def _lives(holder: Holder, entry: Entry) -> bool:
    if not holder.place or holder.place != _place():
        return entry.age < SILENT
    import psutil

    try:  # another process may have its number by now
        return bool(abs(psutil.Process(holder.pid).create_time() - holder.born) < 1)
    except psutil.Error:
        return False


def _this_process() -> Holder:
    import psutil

    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(socket.gethostname(), os.getpid(), now, psutil.Process().create_time(), _place())


def _place() -> str:
    """What tells this running system and its table of processes from all others; "" where it does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
