"""Clean endings after SIGINT, SIGTERM and SIGHUP: temporary files are removed, the exit code is 128 plus the signal.

The signal is raised as an exception in the main thread, so that every ``with`` ends as it should. Code of a library
that does not return to Python in time is not waited for: then a thread removes the temporary folders that were made
known here, and ends the process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from gliolake.process.environment import variables_put_back

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SECONDS_TO_NOTICE = 3.0
"""A library may compute for so long after a signal before it is cut off."""

SECONDS_TO_END = 12.0
"""All that is opened may take so long to close after a signal; a cluster of processes takes a few seconds."""


class Stopped(SystemExit):
    """A signal came. Libraries let a SystemExit through, and so does an interpreter that is about to end."""


class _State:
    """What is known of signals; changed by the main thread alone, but for ``doomed``."""

    listening = False
    received = 0
    raised = False
    said = False
    unbroken = 0
    over = False
    doomed: set[Path] = set()  # noqa: RUF012 - there is one state


def listen() -> None:
    """From now on signals raise ``Stopped``. Those that whoever started us had us ignore (nohup) stay ignored."""
    if _State.listening:
        return
    _State.listening = True
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    atexit.register(_end)  # the first one to be registered is the last one to run
    for number in heard:
        signal.signal(number, _stop)
    sys.unraisablehook = _raise_again_or(sys.unraisablehook)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(reading, True)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, threading.get_ident()), name="signals", daemon=True).start()


def _end() -> None:
    if _State.received:
        _die(_State.received)


def stopped_by() -> int:
    """The number of the first signal that came; 0 where none did."""
    return _State.received


def command_is_over() -> None:
    """From now on a signal interrupts nothing, and is told by the exit code: the process is ending anyway."""
    _State.over = True


@contextmanager
def unbroken() -> Iterator[None]:
    """Inside, a few steps that belong together are not torn apart by a signal; it is raised afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.unbroken += 1
    try:
        yield
    finally:
        _State.unbroken -= 1
        _raise_if_due()


@contextmanager
def out_of_reach() -> Iterator[None]:
    """Threads and processes that are started inside are not reached by Ctrl-C in a terminal, or its end.

    These are sent to all processes at once; but workers are ended by the command, in order and without a word. Nor do
    they import anything from the current folder, where a script or a notebook of the user's may work.
    """
    from multiprocessing import resource_tracker

    with variables_put_back(["PYTHONSAFEPATH"]):
        os.environ["PYTHONSAFEPATH"] = "1"
        resource_tracker.ensure_running()  # whoever starts it first can be reached again afterwards
        reached = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, reached)


@contextmanager
def temporary_folder(purpose: str, within: str | Path | None = None) -> Iterator[Path]:
    """A folder for temporary files that only we can read (mode 0700), gone in the end, whatever the end is.

    within: where it is to lie, if not where the system's temporary files do.
    """
    with unbroken():
        folder = tempfile.TemporaryDirectory(prefix=f"gliolake-{purpose}-", dir=within, ignore_cleanup_errors=True)
    with folder as name, doomed(Path(name)):
        yield Path(name)


@contextmanager
def doomed(folder: Path) -> Iterator[None]:
    """Inside, this temporary folder is removed even where a signal leaves no time to end in order."""
    _State.doomed.add(folder)
    try:
        yield
    finally:
        _State.doomed.discard(folder)


def _stop(number: int, _frame: FrameType | None) -> None:
    _State.received = _State.received or number  # the first one is cleaned up after; the next ones change nothing
    _raise_if_due()


def _raise_if_due() -> None:
    if _State.received and not (_State.raised or _State.unbroken or _State.over):
        _State.raised = True
        raise Stopped(128 + _State.received)


def _raise_again_or(usual: Callable[[sys.UnraisableHookArgs], object]) -> Callable[[sys.UnraisableHookArgs], object]:
    """Python lets go of what is raised while it clears an object away; ``_watch`` then has the signal raised again."""

    def hook(ignored: sys.UnraisableHookArgs) -> None:
        if isinstance(ignored.exc_value, Stopped):
            _State.raised = False
        else:
            usual(ignored)

    return hook


def _watch(reading: int, main: int) -> None:
    """The thread that ends what does not end by itself."""
    while (number := os.read(reading, 1)[0]) not in SIGNALS:
        pass
    began = time.monotonic()
    while time.monotonic() - began < (SECONDS_TO_END if _State.raised else SECONDS_TO_NOTICE):
        time.sleep(0.1)
        if not _State.raised:
            signal.pthread_kill(main, number)
    if multiprocessing := sys.modules.get("multiprocessing"):
        for worker in multiprocessing.active_children():
            worker.kill()
    for folder in list(_State.doomed):
        shutil.rmtree(folder, ignore_errors=True)
    _die(number)


def _die(number: int) -> None:
    with suppress(OSError, ValueError):
        if not _State.said:
            print(f"gliolake: {in_words(number)}", file=sys.stderr, flush=True)
    os._exit(128 + number)


def in_words(number: int) -> str:
    """What ended the command, what is kept, and how to go on. Who asks for it says it."""
    _State.said = True
    name = {signal.SIGINT: "Ctrl-C", signal.SIGHUP: "the end of its terminal"}.get(signal.Signals(number), "")
    by = f"{name} ({signal.Signals(number).name})" if name else signal.Signals(number).name
    return f"Stopped by {by}. What was committed is kept; the same command again goes on from there."
