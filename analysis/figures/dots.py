"""Dots with intervals, one line each: what forest plots, agreements and subgroups share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gliolake.analysis.figures.style import BLUE, BROKEN, INK, PAPER, PENCIL, VERMILION, WHITE, blank, number

LINE = 0.2
"""Inches between two lines."""

COLUMN = 34
"""Points that a column of numbers takes."""


@dataclass(frozen=True)
class Line:
    """A line of the plot.

    Attributes:
        label: What it is of. value, ci_low, ci_high: Reproduced here, with its interval.
        published, sem: As published, with the standard error of the mean.
        cells: Numbers to the right, one for each column.
        hollow: Its dot is a ring, as of external figures. faint: Its label is grey, as of what was not computed.
        note: Written in grey where there is nothing to draw.
    """

    label: str
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    published: float | None = None
    sem: float | None = None
    cells: tuple[str, ...] = ()
    hollow: bool = False
    faint: bool = False
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Lines under a heading."""

    heading: str
    lines: list[Line]


def dots(
    groups: Sequence[Group], columns: Sequence[str], *, measure: str, reference: float, means: str, within: float = 0.0
) -> Figure:
    """The plot.

    Args:
        groups: What is drawn, from the top.
        columns: Titles of the columns of numbers at the right.
        measure: What is measured, for the axis. reference: Where nothing is found. means: That, in a word.
        within: The least value that is possible; the largest is 1.
    """
    height = sum(len(group.lines) + 1.3 for group in groups)
    figure, (axis,) = blank(LINE * (height + 0.6) + 0.75)
    ticks: list[tuple[float, str, str, str]] = []
    y = 0.0
    for group in groups:
        ticks.append((y, group.heading, INK, "bold"))
        for place, line in enumerate(group.lines, start=1):
            ticks.append((y + place, line.label, PENCIL if line.faint else INK, "normal"))
            _line(axis, y + place, line)
        y += len(group.lines) + 1.3
    axis.axvline(reference, color=INK, lw=0.8, ls=BROKEN, zorder=1)
    axis.set_ylim(y - 0.3, -1.1)
    axis.set_xlim(*_limits([line for group in groups for line in group.lines], reference, within))
    axis.set_yticks([place for place, *_ in ticks], [label for _, label, *_ in ticks])
    for tick, (*_, color, weight) in zip(axis.get_yticklabels(), ticks, strict=True):
        tick.set(color=color, fontweight=weight, fontsize=8)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(measure)
    for place, title in enumerate(columns, start=1):
        _cell(axis, -0.85, place, title, PENCIL)
    _legend(figure, [line for group in groups for line in group.lines], means)
    return figure


def _line(axis: Axes, y: float, line: Line) -> None:
    both = line.value is not None and line.published is not None
    if line.published is not None:
        at = y + 0.22 * both
        if line.sem is not None:
            axis.plot([line.published - line.sem, line.published + line.sem], [at, at], color=VERMILION, lw=0.8)
        axis.plot(line.published, at, marker="D", ms=4, mfc=PAPER, mec=VERMILION, mew=1.1, ls="")
    if line.value is not None:
        at = y - 0.18 * both
        if line.ci_low is not None and line.ci_high is not None:
            axis.plot([line.ci_low, line.ci_high], [at, at], color=BLUE, lw=1.4, solid_capstyle="butt")
        axis.plot(line.value, at, marker="o", ms=5.2, mfc=PAPER if line.hollow else BLUE, mec=BLUE, mew=1.3, ls="")
    elif line.note:
        axis.annotate(
            line.note, (0, y), xycoords=axis.get_yaxis_transform(), xytext=(4, 0), textcoords="offset points",
            color=PENCIL, style="italic", size=8, va="center", bbox=WHITE,
        )  # fmt: skip
    for place, cell in enumerate(line.cells, start=1):
        _cell(axis, y, place, cell, INK)


def _cell(axis: Axes, y: float, place: int, text: str, color: str) -> None:
    axis.annotate(
        text, (1, y), xycoords=axis.get_yaxis_transform(), xytext=(COLUMN * place + 2, 0),
        textcoords="offset points", ha="right", va="center_baseline", color=color, size=8, annotation_clip=False,
    )  # fmt: skip


def _limits(lines: Sequence[Line], reference: float, within: float) -> tuple[float, float]:
    """The twentieths around all that is drawn."""
    ends = chain.from_iterable(
        (line.value, line.ci_low, line.ci_high, line.published)
        + ((line.published - line.sem, line.published + line.sem) if line.published and line.sem else ())
        for line in lines
    )
    known = np.array([end for end in ends if end is not None] + [reference, reference + 0.05])
    low, high = max(within, np.floor(known.min() * 20) / 20), min(1.0, np.ceil(known.max() * 20) / 20)
    return low - 0.02 * (high - low), high + 0.02 * (high - low)


def _legend(figure: Figure, lines: Sequence[Line], means: str) -> None:
    drawn = [line for line in lines if line.value is not None]
    entries = []
    for hollow, name in ((False, "here, 95 % interval"), (True, "here, external scans")):
        if any(line.hollow == hollow for line in drawn):
            entries.append(
                (Line2D([], [], marker="o", ms=5.2, mfc=PAPER if hollow else BLUE, mec=BLUE, color=BLUE), name)
            )
    if any(line.published is not None for line in lines):
        look = Line2D([], [], marker="D", ms=4, mfc=PAPER, mec=VERMILION, color=VERMILION, lw=0.8)
        entries.append((look, "published, SEM" if any(line.sem is not None for line in lines) else "published"))
    entries.append((Line2D([], [], color=INK, lw=0.8, ls=BROKEN), means))
    figure.legend(
        *zip(*entries, strict=True), loc="outside lower center", ncols=2 if len(entries) > 3 else len(entries)
    )


def told(lines: Sequence[Line], most: int = 6, style: str = ".2f") -> str:
    """The first few lines in words, for those who cannot see them."""
    known = [line for line in lines if line.value is not None or line.published is not None]
    words = [
        f"{line.label} {number(line.value, style)}"
        + ("" if line.published is None else f" (published {number(line.published, style)})")
        for line in known[:most]
    ]  # fmt: skip
    return ", ".join(words) + (f", and {len(known) - most} more" if len(known) > most else "")
