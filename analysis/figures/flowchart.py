"""Figure 2: who is in the study, cohort by cohort, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from analysis.figures.style import BLUE, INK, PAPER, PENCIL, RED, WIDTH, Row, Sketch, blank, readable

LINE, PAD, GAP = 0.14, 0.07, 0.16
"""Inches: a line of a box, between its letters and its rim, and between boxes."""

MAIN, SIDE = 1.18, 1.28
"""Inches across of a box of scans that remain, and of one that says what was left out."""

SIZE = 7.5

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
    heights = [_rows_of(band) for band in bands]
    total = sum(sum(of.values()) + 0.45 for of in heights)
    figure, (axis,) = blank(total)
    axis.set(xlim=(0, WIDTH), ylim=(total, 0))
    axis.set_axis_off()
    top = 0.0
    for band, of_step in zip(bands, heights, strict=True):
        left = (WIDTH - sum(map(_across, band))) / 2
        for of in band:
            _column(axis, of, left, top, of_step)
            left += _across(of)
        top += sum(of_step.values()) + 0.45
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
    return MAIN + 0.12 + (SIDE + 0.16 if any(row["kind"] in ("left out", "leak stopped") for row in rows) else 0)


def _boxes(rows: Sequence[Row], step: int) -> tuple[list[Box], Box | None]:
    """What was left out at a step, and who remains."""
    of = [row for row in rows if row["step"] == step]
    out = [row for row in of if row["kind"] == "left out"]
    sides = []
    if out:
        lines = [line for row in out for line in _hung(f"{readable(row['what'], 60)}: {row['scans']}")]
        sides.append(Box("left out", lines))
    for row in of:
        if row["kind"] == "leak stopped":
            sides.append(Box(row["kind"], _hung(f"leaks stopped, {row['what']}: {row['scans']}")))
    main = [row for row in of if row["kind"] in ("remaining", "final")]
    return sides, _main(main[0]) if main else None


def _hung(text: str) -> list[str]:
    return wrap(text, ACROSS, subsequent_indent="  ")


def _main(row: Row) -> Box:
    lines = [f"{row['scans']:,}", *wrap(readable(row["what"], 60), ACROSS)]
    if row["kind"] == "final":
        lines += ["test from outside" if row["role"] == "external" else "train"]
        if row["scans"]:
            calls = sorted({row["methylated_brats21"], row["methylated_ucsf"]})
            lines.append(f"{' or '.join(map(str, calls))} methylated")
    return Box(row["kind"], lines)


def _rows_of(band: Sequence[Sequence[Row]]) -> dict[int, float]:
    """Inches that each step takes, all cohorts of a band in step."""
    steps = sorted({row["step"] for of in band for row in of})
    heights = {}
    for step in steps:
        found = [_boxes(of, step) for of in band]
        side = max(sum(box.height + GAP / 2 for box in sides) for sides, _ in found)
        heights[step] = max(max(main.height for _, main in found if main) + GAP, side + GAP / 2)
    return heights


def _column(axis: Axes, rows: Sequence[Row], left: float, top: float, heights: dict[int, float]) -> None:
    """A cohort from top to bottom. Each step's strip holds its side boxes, and at its lower end who remains."""
    middle = left + MAIN / 2
    axis.text(middle, top + 0.13, readable(rows[0]["cohort"], 18), ha="center", va="center", weight="bold", size=9)
    y, above = top + 0.27, None
    for step, height in heights.items():
        sides, main = _boxes(rows, step)
        if main is None:
            y += height
            continue
        end = y + height
        at = end - main.height
        if above is not None:
            _arrow(axis, (middle, above), (middle, at))
        place = at - 0.5 * GAP - (sum(side.height + GAP / 2 for side in sides) - GAP / 2) / 2
        place = max(place, y - 0.2 * GAP) if sides else place
        for side in sides:
            x = left + MAIN + 0.16
            _draw(axis, side, x, place, SIDE)
            level = min(max(place + side.height / 2, at if above is None else above), at)
            _arrow(axis, (middle, level), (x, level))
            place += side.height + GAP / 2
        _draw(axis, main, left, at, MAIN)
        y, above = end, end


def _draw(axis: Axes, box: Box, left: float, top: float, across: float) -> None:
    rim = {"final": BLUE, "leak stopped": RED}.get(box.kind, PENCIL)
    width = 0.7 if rim == PENCIL else 1.4
    axis.add_patch(Rectangle((left, top), across, box.height, fc=PAPER, ec=rim, lw=width, zorder=3))
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
