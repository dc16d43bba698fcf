"""Progress of long tasks. The command line installs a function that shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from gliolake.log.journal import logger

INTERVAL = 30.0
"""Seconds between events that tell how far the work is."""

Display = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""From what is being done, and of how many items, to what is called once per finished item."""

_installed: list[Display] = []


def track(description: str, total: int) -> AbstractContextManager[Callable[[], None]]:
    """Tell how far the work is; call what it yields once per finished item."""
    return (_installed[-1] if _installed else logged)(description, total)


def install(display: Display) -> None:
    """From now on progress shows so."""
    _installed[:] = [display]


@contextmanager
def logged(description: str, total: int) -> Iterator[Callable[[], None]]:
    """An event every ``INTERVAL`` seconds in which something was finished, and one in the end."""
    begun = last = time.monotonic()
    done = 0

    def log(now: float) -> None:
        fields = {"doing": description, "done": done, "total": total, "seconds": round(now - begun, 1)}
        logger.info("progress", extra={"fields": fields})

    def advance() -> None:
        nonlocal done, last
        done += 1
        now = time.monotonic()
        if now - last >= INTERVAL and done < total:
            log(now)
            last = now

    try:
        yield advance
    finally:
        log(time.monotonic())
