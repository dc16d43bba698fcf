"""One command at a time: a start that finds another at work says so and leaves.

Announce, then look: a process writes a file of its own beside the lake's temporary ones, and lists those of others. Of
two that start at once at least one sees the other; it goes in only once the other has left, and leaves once the other
is in. So that not all wait for all, who sees a file with a smaller name withdraws at once. No file has two writers, so
what a dead process left is cleared without hurting a living one, in a folder as in an object store.

It spares work and keeps logs readable. The lake needs no lock: two ingests at once both land (``lake.store``).
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from lake.files import TEMPORARY, Entry, Files

FOLDER = f"{TEMPORARY}/locks"
BEAT = 30.0
"""Seconds after which a holder writes its file again, so that other machines see that it lives."""

SILENT = 300.0
"""Seconds without a beat after which a holder on another machine is taken for dead."""

LOOK = 0.1
"""Seconds between looks."""

PATIENCE = 30.0
"""Seconds for which a start looks until others that want to go in are in, or have left."""


@dataclass(frozen=True)
class Holder:
    """A process at work: its host, its id there, when it began, and by what the machine and its processes are known.

    inside: whether it is in, or only wants to be.
    """

    host: str
    pid: int
    since: str
    born: float
    place: str
    inside: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


@contextmanager
def alone(files: Files, name: str) -> Iterator[Holder | None]:
    """Inside, no other process is inside under this name. Yields None, or who is there already: then do nothing.

    A holder that died is passed over at once on its own machine, and after ``SILENT`` seconds on another.
    """
    own = f"{FOLDER}/{name}-{uuid.uuid4().hex}.json"
    process = _this_process()
    rival = _go_in(files, name, own, process)
    if rival is not None:
        yield rival
        return
    data = _encoded(replace(process, inside=True))
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


def _go_in(files: Files, name: str, own: str, process: Holder) -> Holder | None:
    """Go in, or leave no trace and return who is in the way."""
    deadline = time.monotonic() + PATIENCE
    announced = False
    while True:
        rivals = _rivals(files, name, own)
        inside = [holder for holder in rivals.values() if holder.inside]
        late = bool(rivals) and time.monotonic() > deadline
        if announced and not rivals:
            files.put(own, _encoded(replace(process, inside=True)))
            return None
        if announced and (inside or late or min(rivals) < own):
            files.delete(own)
            announced = False
        if inside or late:
            return [*inside, *rivals.values()][0]
        if not announced and not rivals:
            files.put(own, _encoded(process))
            announced = True
            continue
        time.sleep(LOOK)


def _encoded(process: Holder) -> bytes:
    return json.dumps(asdict(process)).encode()


def _rivals(files: Files, name: str, own: str) -> dict[str, Holder]:
    """By file the other processes that are in or want to be; files of dead ones are cleared."""
    found = {}
    for entry in sorted(files.list(FOLDER), key=lambda entry: entry.path):
        if entry.path == own or not entry.path.startswith(f"{FOLDER}/{name}-"):
            continue
        data = files.get(entry.path)
        if data is None:  # it has just left
            continue
        holder = Holder(**json.loads(data))
        if _lives(holder, entry):
            found[entry.path] = holder
        else:
            files.delete(entry.path)
    return found


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
