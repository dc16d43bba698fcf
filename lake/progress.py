"""Progress bars, on standard error so that a command's output stays clean for pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def track(description: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar with count, rate and time left; call what it yields once per finished item."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, rate="")

        def advance() -> None:
            progress.advance(task)
            speed = progress.tasks[task].finished_speed or progress.tasks[task].speed
            if speed:
                progress.update(task, rate=f"{speed:.2g}/s" if speed < 10 else f"{speed:.0f}/s")

        yield advance


def note(text: str) -> None:
    """A line for the person who waits."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(text, markup=False, highlight=False)
