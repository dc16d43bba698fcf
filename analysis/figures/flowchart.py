"""Figure 2: flowchart of the scans of each cohort, with reasons for exclusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from gliolake.analysis.figures.style import BLUE, INK, PAPER, PENCIL, RED, WIDTH, Row, Sketch, blank, readable

LINE, PAD, GAP = 0.145, 0.07, 0.2
"""Inches: a line of a box, between its letters and its rim, and between boxes."""

MAIN, SIDE, BRANCH = 1.18, 1.3, 0.13
"""Inches across of a box of scans that remain, of one that says what was left out, and between the two."""

TITLE = 0.12
"""Inches that the name of a cohort takes, but for the gap below it."""

SIZE = 8

FIXED = "\N{NO-BREAK SPACE}"
ACROSS = 19
"""Letters of a line."""


@dataclass(frozen=True)
class Box:
    """Lines of text in a frame; the first is bold where it is of scans that remain."""

    kind: str
    lines: list[str]

    @property
    def height(self) -> float:
        """Inches."""
        return LINE * len(self.lines) + 2 * PAD


def flowchart(rows: Sequence[Row]) -> Sketch:
    """Rows of view figure_2, a column for each cohort; as many beside each other as there is room for."""
    cohorts = [list(of) for _, of in groupby(rows, key=lambda row: (row["role"], row["cohort"]))]
    bands: list[list[list[Row]]] = [[]]
    for of in cohorts:
        if bands[-1] and sum(map(_across, [*bands[-1], of])) > WIDTH + 0.02:
            bands.append([])
        bands[-1].append(of)
    heights = [_heights(band) for band in bands]
    total = sum(sum(of.values()) + TITLE + GAP for of in heights)
    figure, (axis,) = blank(total)
    axis.set(xlim=(0, WIDTH), ylim=(total, 0))
    axis.set_axis_off()
    top = 0.0
    for band, of_step in zip(bands, heights, strict=True):
        left = (WIDTH - sum(map(_across, band)) + 0.1) / 2
        for of in band:
            _column(axis, of, left, top, of_step)
            left += _across(of)
        top += sum(of_step.values()) + TITLE + GAP
    ends = [of[-1] for of in cohorts]
    told = "; ".join(
        f"{readable(of[-1]['cohort'])} ({of[-1]['role']}) "
        + " to ".join(str(row["scans"]) for row in of if row["kind"] in ("remaining", "final"))
        for of in cohorts
    )
    leaks = sum(row["scans"] for row in rows if row["kind"] == "leak stopped")
    return Sketch(figure, f"Scans that remain, step by step, of {len(ends)} cohorts: {told}; {leaks} leaks stopped.")


def _across(rows: Sequence[Row]) -> float:
    """Inches that a cohort's column takes."""
    return MAIN + 0.1 + (SIDE + BRANCH if any(row["kind"] in ("left out", "leak stopped") for row in rows) else 0)


def _boxes(rows: Sequence[Row], step: int) -> tuple[Box | None, Box | None]:
    """What was left out at a step, or which leaks were stopped at it; and who remains."""
    of = [row for row in rows if row["step"] == step]
    side = main = None
    if out := [row for row in of if row["kind"] == "left out"]:
        side = Box("left out", [line for row in out for line in _hung(row["what"], row["scans"])])
    elif leaks := [row for row in of if row["kind"] == "leak stopped"]:
        side = Box("leak stopped", _hung(f"leaks stopped, {leaks[0]['what']}", leaks[0]["scans"]))
    for row in of:
        if row["kind"] in ("remaining", "final"):
            main = _main(row)
    return side, main


def _hung(what: str, scans: int) -> list[str]:
    """A reason and its number, which stays with the last word; further lines begin with spaces that an SVG keeps."""
    return wrap(f"{readable(what, 60)}:{FIXED}{scans}", ACROSS, subsequent_indent=2 * FIXED)


def _main(row: Row) -> Box:
    lines = [f"{row['scans']:,}", *wrap(readable(row["what"], 60), ACROSS - 2)]
    if row["kind"] == "final":
        lines[0] = f"{'external' if row['role'] == 'external' else 'training'}: {lines[0]}"
        if row["scans"]:
            calls = sorted({row["methylated_brats21"], row["methylated_ucsf"]})
            lines += wrap(f"{' or '.join(map(str, calls))} methylated", ACROSS - 2)
    return Box(row["kind"], lines)


def _heights(band: Sequence[Sequence[Row]]) -> dict[int, float]:
    """Inches that each step takes, all cohorts of a band in step."""
    heights = {}
    for step in sorted({row["step"] for of in band for row in of}):
        found = [_boxes(of, step) for of in band]
        side = max((side.height for side, _ in found if side), default=0.0)
        heights[step] = max(max(main.height for _, main in found if main) + GAP, side + GAP / 2)
    return heights


def _column(axis: Axes, rows: Sequence[Row], left: float, top: float, heights: dict[int, float]) -> None:
    """A cohort from top to bottom: who remains after a step, and above it, branching off, what was left out."""
    middle, y = left + MAIN / 2, top + TITLE
    above: float | None = None
    axis.text(middle, top + 0.13, readable(rows[0]["cohort"], 18), ha="center", va="center", weight="bold", size=9)
    for step, height in heights.items():
        side, main = _boxes(rows, step)
        y += height
        if main is None:
            continue
        at = y - main.height
        if above is not None:
            _arrow(axis, (middle, above), (middle, at))
        if side is not None:
            level = at - GAP / 2
            _draw(axis, side, left + MAIN + BRANCH, max(level - side.height / 2, y - height), SIDE)
            _arrow(axis, (middle, level), (left + MAIN + BRANCH, level))
        _draw(axis, main, left, at, MAIN)
        above = y


def _draw(axis: Axes, box: Box, left: float, top: float, across: float) -> None:
    rim = {"final": BLUE, "leak stopped": RED}.get(box.kind, PENCIL)
    width = 0.7 if rim == PENCIL else 1.4
    axis.add_patch(Rectangle((left, top), across, box.height, fc=PAPER, ec=rim, lw=width, zorder=3, clip_on=False))
    main = box.kind in ("remaining", "final")
    for place, line in enumerate(box.lines):
        axis.text(
            left + (across / 2 if main else PAD), top + PAD + LINE * (place + 0.5), line, size=SIZE,
            ha="center" if main else "left", va="center", weight="bold" if main and not place else "normal",
            color=RED if box.kind == "leak stopped" else INK, zorder=4,
        )  # fmt: skip


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": PENCIL, "lw": 0.8, "shrinkA": 0, "shrinkB": 0,
                                    "mutation_scale": 7}, zorder=2,
    )  # fmt: skip
