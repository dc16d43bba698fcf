"""Consoles of the command line: they escape control characters and apply only gliolake's own styles."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment

from gliolake.log.plain_text import shown


class Terminal(Console):
    """A console to which square brackets and colons in a text are no markup, and controls no controls."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **settings})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, with all text ``shown``: every renderable comes by here, and so do those within it."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else shown(text, lines=True), style, control)


def output(width: int) -> Terminal:
    """Standard output. Piped, it keeps lines of this width: a script's grep should not depend on a terminal's."""
    return Terminal() if sys.stdout.isatty() or "COLUMNS" in os.environ else Terminal(width=width)


def one_below_another(render: Callable[[Any], Iterator[RenderableType]]) -> Callable[[Any], RenderableType]:
    """The function that renders a report as one thing, of one that gives its parts."""
    return lambda report: Group(*render(report))
