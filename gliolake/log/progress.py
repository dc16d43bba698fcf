"""What a command says while it works: on standard error, so that its output stays clean for pipes.

People see notes and progress bars. Where a journal is kept (``gliolake.log.journal``), its lines take their place.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gliolake.log.journal import is_kept, tell
from gliolake.log.plain_text import shown, without_passwords

INTERVAL = 30.0
"""Seconds between lines of a journal that tell how far the work is."""


@contextmanager
def track(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Tell how far the work is; call what it yields once per finished item."""
    with (_lines if is_kept() else _bar)(description, total) as advance:
        yield advance


@contextmanager
def _bar(description: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar with count, rate and time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from gliolake.log.console import Terminal

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Terminal(stderr=True)) as progress:
        task = progress.add_task(shown(description), total=total, rate="")

        def advance() -> None:
            progress.advance(task)
            speed = progress.tasks[task].finished_speed or progress.tasks[task].speed
            if speed:
                progress.update(task, rate=f"{speed:.2g}/s" if speed < 10 else f"{speed:.0f}/s")

        yield advance


@contextmanager
def _lines(description: str, total: int) -> Iterator[Callable[[], None]]:
    """A line every ``INTERVAL`` seconds in which something was finished, and one in the end."""
    begun = told = time.monotonic()
    done = 0

    def line(now: float) -> None:
        tell("progress", doing=description, done=done, total=total, seconds=round(now - begun, 1))

    def advance() -> None:
        nonlocal done, told
        done += 1
        now = time.monotonic()
        if now - told >= INTERVAL and done < total:
            line(now)
            told = now

    try:
        yield advance
    finally:
        line(time.monotonic())


def note(text: str) -> None:
    """A line for the person who waits."""
    _say(text, "note", logging.INFO)


def warn(text: str) -> None:
    """A line on what went wrong and stops nothing."""
    _say(text, "warning", logging.WARNING)


def _say(text: str, event: str, level: int) -> None:
    text = without_passwords(text)
    if is_kept():
        tell(event, level, message=text)
        return
    from gliolake.log.console import Terminal

    said = f"Warning: {text}" if level == logging.WARNING else text
    Terminal(stderr=True, soft_wrap=True).print(shown(said, lines=True), highlight=False)


def complain(text: str, hint: str = "") -> None:
    """What ends a command, and what to do next."""
    text = without_passwords(text)
    if is_kept():
        tell("error", logging.ERROR, message=text, hint=hint)
        return
    said = shown(f"gliolake: {text}\n{hint}".rstrip(), lines=True)
    print(said.replace("\n", "\n  "), file=sys.stderr)  # no line of a stranger's text begins where ours do
