"""Figure 3: three example cases with attention weights and slices through the tumour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Rectangle

from gliolake.analysis.figures.pictures import Slices, slices
from gliolake.analysis.figures.style import (
    BLUE,
    BROKEN,
    INK,
    ORANGE,
    PENCIL,
    SKY,
    WHITE,
    WIDTH,
    Row,
    Sketch,
    number,
    readable,
)
from gliolake.schema.vocabulary import MODALITIES

if TYPE_CHECKING:
    from gliolake.storage.lake import Lake


def cases(rows: Sequence[Row], lake: Lake) -> Sketch:
    """Rows of view figure_3, a strip for each case."""
    found = [list(of) for _, of in groupby(rows, key=lambda row: row["chosen_as"])]
    pictures = [slices(lake, of[0]["cohort"], of[0]["scan_id"]) for of in found]
    branches = max(len(of) for of in found)
    bars = 0.17 * branches + 0.3
    columns = 1 + len(MODALITIES) if any(pictures) else 1
    tall = max(bars, 1.05) if any(pictures) else bars
    figure = Figure(figsize=(WIDTH, (tall + 0.5) * len(found)), layout="constrained")
    grid = GridSpec(
        2 * len(found),
        columns,
        figure,
        width_ratios=[1.6, *[1] * (columns - 1)],
        height_ratios=[0.2, tall] * len(found),
    )
    longest = 1.3 * max(row["weight"] for row in rows)
    for place, (of, seen) in enumerate(zip(found, pictures, strict=True)):
        heading = figure.add_subplot(grid[2 * place, :])
        heading.set_axis_off()
        heading.text(0, 0, _told(of[0]), transform=heading.transAxes, weight="bold", in_layout=False)
        axis = figure.add_subplot(grid[2 * place + 1, 0])
        _bars(axis, of, longest)
        for column, modality in enumerate(MODALITIES[: columns - 1], start=1):
            _picture(figure, grid, (2 * place + 1, column), modality, seen)
    figure.axes[-columns].set_xlabel("attention")
    told = [
        f"{_told(of[0])}, attention " + ", ".join(f"{row['modality']} {number(row['weight'])}" for row in of)
        for of in found
    ]
    return Sketch(figure, "; ".join(told) + ".")


def _told(row: Row) -> str:
    truth = "methylated" if row["methylated"] else "unmethylated"
    right = "right" if (row["probability"] >= 0.5) == row["methylated"] else "wrong"
    return f"{readable(row['scan_id'], 24)}: {truth}, predicted {number(row['probability'])}, {right}"


def _bars(axis: Axes, rows: Sequence[Row], longest: float) -> None:
    axis.barh(range(len(rows)), [row["weight"] for row in rows], 0.72, color=BLUE)
    for place, row in enumerate(rows):
        axis.text(
            row["weight"] + 0.03 * longest, place, number(row["weight"]), size=8, va="center_baseline", bbox=WHITE
        )
    axis.axvline(1 / len(rows), color=INK, lw=0.8, ls=BROKEN)
    axis.set_yticks(range(len(rows)), [readable(row["modality"], 28) for row in rows])
    axis.invert_yaxis()
    axis.set_xlim(0, longest)
    axis.locator_params(axis="x", nbins=5)
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def _picture(figure: Figure, grid: GridSpec, place: tuple[int, int], modality: str, seen: Slices | None) -> None:
    axis = figure.add_subplot(grid[place])
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    if seen is None or modality not in seen.grey:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no image", color=PENCIL, ha="center", va="center", transform=axis.transAxes, size=8)
        return
    axis.imshow(seen.grey[modality], cmap="gray", vmin=0, vmax=255, interpolation="bilinear")
    if seen.mask is not None and seen.mask.any() and not seen.mask.all():
        axis.contour(seen.mask, levels=[0.5], colors=[ORANGE], linewidths=0.8)
    x, y, side = seen.box
    axis.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fc="none", ec=SKY, lw=0.9))
    rows, columns = seen.grey[modality].shape
    axis.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    axis.set_xlabel(modality, labelpad=2, size=8)
