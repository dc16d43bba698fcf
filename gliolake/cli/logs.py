"""Log messages and progress of a command, on standard error, so that pipes get only its output.

People see messages and, in a terminal, progress bars; elsewhere a line now and then. ``GLIOLAKE_LOG=json`` has a
journal kept instead (``gliolake.log.journal``).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gliolake.errors import check_choice
from gliolake.log.journal import begin_journal, logger
from gliolake.log.plain_text import shown
from gliolake.log.progress import install, logged

VARIABLE = "GLIOLAKE_LOG"
FORMS = ("text", "json")

SHORT = 2.0
"""Seconds; nothing is said of the progress of work that took less."""


class Messages(logging.Handler):
    """Prints messages for people; of events, how far the work is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one, in text that steers no terminal. That nobody listens is for the command to see."""
        if "fields" not in record.__dict__:
            text = record.getMessage()
            if record.levelno == logging.ERROR:
                text = f"gliolake: {text}\n{record.__dict__.get('hint', '')}".rstrip()
                text = text.replace("\n", "\n  ")  # no line of a stranger's text begins where ours do
            elif record.levelno == logging.WARNING:
                text = f"Warning: {text}"
        elif record.__dict__["event"] == "progress" and record.__dict__["fields"]["seconds"] >= SHORT:
            text = "{doing}: {done:,} of {total:,} in {seconds:.0f} s".format(**record.__dict__["fields"])
        else:
            return
        print(shown(text, lines=True), file=sys.stderr)


def begin_logging(command: str) -> None:
    """Say what a command does in the form that the environment asks for.

    Raises:
        InputError: there is no such form.
    """
    logger.handlers[:] = [Messages()]
    logger.setLevel(logging.INFO)
    install(_bar if sys.stderr.isatty() else logged)
    hint = f"{VARIABLE} says how a command tells what it does."
    if check_choice("form of log", os.environ.get(VARIABLE) or "text", FORMS, hint=hint) == "json":
        logger.handlers.clear()
        install(logged)
        begin_journal(command)


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

    from gliolake.cli.console import Terminal

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
